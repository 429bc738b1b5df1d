"""A table of results: quantities with intervals by dataset and algorithm, written as text, Markdown, LaTeX, HTML or CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seqeval_rl.plots.analysis.statistics import Cell
from seqeval_rl.plots.tables import latex, writers
from seqeval_rl.plots.tables.writers import FormattedCell, FormattedRow, FormattedTable, number_text


@dataclass(frozen=True)
class Kind:
    """The unit of a quantity, and whether higher or lower numbers are better."""

    unit: Literal["score", "transitions", "probability", "rank"] = "score"
    better: Literal["higher", "lower"] | None = "higher"  # None: no number is better than another


@dataclass(frozen=True)
class Row:
    """One algorithm on one dataset."""

    dataset: str
    algorithm: str
    dataset_mean: float | None  # mean normalised score of the dataset's own episodes; None where unknown
    cells: tuple[Cell, ...]  # one per quantity
    finished: int  # number of runs
    failed: int
    unfinished: int

    @property
    def runs(self) -> int:
        """Number of runs, whatever their status."""
        return self.finished + self.failed + self.unfinished


@dataclass(frozen=True)
class Table:
    """Rows ordered by dataset and, within a dataset, by algorithm as in the figures.

    In Markdown, LaTeX and HTML the best value of a dataset is bold, and so are values within the best one's interval.
    """

    quantities: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str
    kinds: tuple[Kind, ...] = ()  # one per quantity; empty: scores, of which the highest is best
    name: str = "scores"  # part of the LaTeX label
    leading: tuple[str, str, str, str] = (
        "dataset",
        "algorithm",
        "seeds",
        "dataset mean",
    )  # headers before the quantities

    def kind(self, column: int) -> Kind:
        """Unit and direction of the quantity in that column."""
        return self.kinds[column] if self.kinds else Kind()

    def text(self) -> str:
        """For a terminal: aligned columns without intervals, under the name of each dataset."""
        return writers.text(self.formatted(intervals=False))

    def markdown(self, intervals: bool = True) -> str:
        """GitHub-flavored Markdown with the caption below the table."""
        return writers.markdown(self.formatted(intervals))

    def latex(self, intervals: bool = True) -> str:
        r"""One or more `table` environments for `\input`, split to fit a page; they need `\usepackage{booktabs}` only."""
        return latex.latex(self.formatted(intervals))

    def csv(self) -> str:
        """One line per dataset, algorithm and quantity at full precision; missing numbers are empty.

        Columns: dataset, algorithm (or as in `leading`), quantity, value, low and high (of the 95 % interval), runs (with
        a value), finished, failed, unfinished, dataset_mean.
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        counts = ("finished", "failed", "unfinished")
        writer.writerow((*self.leading[:2], "quantity", "value", "low", "high", "runs", *counts, "dataset_mean"))
        for row in self.rows:
            dataset_mean = "" if row.dataset_mean is None else row.dataset_mean
            for name, cell in zip(self.quantities, row.cells, strict=True):
                numbers = ["" if np.isnan(number) else number for number in (cell.value, cell.low, cell.high)]
                run_counts = (cell.runs, row.finished, row.failed, row.unfinished)
                writer.writerow((row.dataset, row.algorithm, name, *numbers, *run_counts, dataset_mean))
        return file.getvalue()

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """How notebooks show the table."""
        return writers.html(self.formatted())

    def formatted(self, intervals: bool = True) -> FormattedTable:
        """Every number as text: the input of the writers."""
        caption = self.caption
        if not intervals and any(not np.isnan(cell.low) for row in self.rows for cell in row.cells):
            caption += " Intervals are not shown."
        rows = [self._formatted_row(row, intervals) for row in self.rows]
        return FormattedTable(self.name, (*self.leading, *self.quantities), rows, caption)

    def _formatted_row(self, row: Row, intervals: bool) -> FormattedRow:
        counts = ((row.failed, "failed"), (row.unfinished, "unfinished"))
        return FormattedRow(
            dataset=row.dataset,
            algorithm=row.algorithm,
            runs=(str(row.runs), *(f"{number} {status}" for number, status in counts if number)),
            dataset_mean="–" if row.dataset_mean is None else number_text(row.dataset_mean, "score"),
            cells=tuple(self._formatted_cell(row, column, intervals) for column in range(len(row.cells))),
            bold=frozenset(column for column in range(len(row.cells)) if self._is_best(row, column)),
        )

    def _formatted_cell(self, row: Row, column: int, intervals: bool) -> FormattedCell:
        cell, unit = row.cells[column], self.kind(column).unit
        value, low, high = ("–" if np.isnan(n) else number_text(n, unit) for n in (cell.value, cell.low, cell.high))
        interval = f"[{low}, {high}]" if intervals and not np.isnan(cell.low) else ""
        return FormattedCell(value, interval, f"{cell.runs} of {row.runs}" if 0 < cell.runs < row.runs else "")

    def _is_best(self, row: Row, column: int) -> bool:
        """Whether the row has the best value of its dataset or one within its interval; only rows without missing runs count."""
        cell, better = row.cells[column], self.kind(column).better
        rivals = [
            other.cells[column]
            for other in self.rows
            if other.dataset == row.dataset
            and other.cells[column].runs == other.runs
            and not np.isnan(other.cells[column].value)
        ]
        if len(rivals) < 2 or cell not in rivals or better is None:
            return False
        if better == "higher":
            best = max(rivals, key=lambda rival: rival.value)
            return cell.value >= (best.value if np.isnan(best.low) else best.low)
        best = min(rivals, key=lambda rival: rival.value)
        return cell.value <= (best.value if np.isnan(best.high) else best.high)
