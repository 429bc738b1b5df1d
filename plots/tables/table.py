"""Quantities as a table, and four ways of writing it; the scores at shares of the data, best, and area under the curve.

Only numbers that were measured: the score at a share of the data is that of the last evaluation at or before it. The
tables of other measures are in `measure_tables` and `across`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.plots.analysis.grouping import Group
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Cell, Statistic, bootstrap_interval
from seqeval_rl.plots.tables.writers import latex, markdown_text, number_text

SHARES = (0.25, 0.5, 0.75, 1.0)
_NAMES = 2  # columns that hold names: dataset and algorithm
_LEADING = 4  # columns before the quantities: those, runs, and the log's mean


@dataclass(frozen=True)
class Kind:
    """What sort of number a quantity is: how it is written, and which is put in bold."""

    unit: Literal["score", "transitions", "probability", "rank"] = "score"
    better: Literal["higher", "lower"] | None = "higher"  # None: no number is better than another


@dataclass(frozen=True)
class Row:
    """One algorithm on one dataset."""

    dataset: str
    algorithm: str
    dataset_mean: float | None  # mean score of the log
    cells: tuple[Cell, ...]  # one per quantity
    finished: int  # runs
    failed: int
    unfinished: int

    @property
    def runs(self) -> int:
        """All of them."""
        return self.finished + self.failed + self.unfinished


@dataclass(frozen=True)
class Table:
    """The data, rows by dataset and then in the figures' order of algorithms, and four ways of writing them."""

    quantities: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str
    kinds: tuple[Kind, ...] = ()  # one per quantity; none: scores, of which the highest is best
    name: str = "scores"  # in LaTeX's label
    leading: tuple[str, str, str, str] = ("dataset", "algorithm", "seeds", "log's mean")  # headers of a row's beginning

    def kind(self, place: int) -> Kind:
        """Of the quantity at that place."""
        return self.kinds[place] if self.kinds else Kind()

    def text(self) -> str:
        """For a terminal: aligned columns without intervals, each dataset's name on a line of its own."""
        lines = [self._header()[1:], *(self._texts(row, intervals=False)[1:] for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        aligned = [
            "  ".join(
                [line[0].ljust(widths[0]), *(text.rjust(size) for text, size in zip(line[1:], widths[1:], strict=True))]
            )
            for line in lines
        ]
        shown = [aligned[0], "-" * len(aligned[0])]
        for place, (row, line) in enumerate(zip(self.rows, aligned[1:], strict=True)):
            if not place or row.dataset != self.rows[place - 1].dataset:
                shown += ["", row.dataset] if place else [row.dataset]
            shown.append(line)
        return "\n".join(line.rstrip() for line in shown) + "\n"

    def markdown(self, intervals: bool = True) -> str:
        """GitHub-flavoured; bold: the best of a dataset, and values within the best one's interval."""
        lines = [
            [markdown_text(text) for text in self._header()],
            ["---"] * _NAMES + ["---:"] * (_LEADING - _NAMES + len(self.quantities)),
        ]
        for row in self.rows:
            plain = self._texts(row, intervals)
            texts = [markdown_text(text) for text in plain[:_NAMES]] + plain[_NAMES:]
            for place in self.bold(row):
                texts[_LEADING + place] = f"**{texts[_LEADING + place]}**"
            lines.append(texts)
        return (
            "\n".join(f"| {' | '.join(line)} |" for line in lines)
            + f"\n\n{markdown_text(self.caption_with(intervals))}\n"
        )

    def latex(self, intervals: bool = True) -> str:
        r"""A `table` for `\input`, or several (`latex_table`); bold as in Markdown. Needs `\usepackage{booktabs}` alone."""
        return latex(self, intervals)

    def csv(self) -> str:
        """One line per dataset, algorithm and quantity, in full precision; a number that is not there is empty."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        counts = ("finished", "failed", "unfinished")
        writer.writerow((*self.leading[:_NAMES], "quantity", "value", "low", "high", "runs", *counts, "dataset_mean"))
        for row in self.rows:
            dataset_mean = "" if row.dataset_mean is None else row.dataset_mean
            for name, cell in zip(self.quantities, row.cells, strict=True):
                numbers = ["" if np.isnan(number) else number for number in (cell.value, cell.low, cell.high)]
                made_of = (cell.runs, row.finished, row.failed, row.unfinished)
                writer.writerow((row.dataset, row.algorithm, name, *numbers, *made_of, dataset_mean))
        return file.getvalue()

    def _header(self) -> list[str]:
        return [*self.leading, *self.quantities]

    def _texts(self, row: Row, intervals: bool = True) -> list[str]:
        """The row as plain text."""
        dataset_mean = "–" if row.dataset_mean is None else number_text(row.dataset_mean, "score")
        runs, *others = self.runs_texts(row)
        runs += f" ({', '.join(others)})" if others else ""
        cells = (self.cell_texts(row, place, intervals) for place in range(len(row.cells)))
        return [row.dataset, row.algorithm, runs, dataset_mean, *(" ".join(texts) for texts in cells)]

    def runs_texts(self, row: Row) -> list[str]:
        """How many runs the row has, and how many of them have failed and are unfinished, if any."""
        counts = ((row.failed, "failed"), (row.unfinished, "unfinished"))
        return [str(row.runs), *(f"{number} {word}" for number, word in counts if number)]

    def cell_texts(self, row: Row, place: int, intervals: bool = True) -> list[str]:
        """A quantity of the row: its value; its interval, if it has one; of how many runs it is, if not of all."""
        cell, unit = row.cells[place], self.kind(place).unit
        texts = ["–" if np.isnan(cell.value) else number_text(cell.value, unit)]
        if intervals and not np.isnan(cell.low):
            texts.append(f"[{number_text(cell.low, unit)}, {number_text(cell.high, unit)}]")
        if 0 < cell.runs < row.runs:
            texts.append(f"({cell.runs} of {row.runs})")
        return texts

    def caption_with(self, intervals: bool) -> str:
        """The caption of the table with its intervals, or without them."""
        shown = intervals or all(np.isnan(cell.low) for row in self.rows for cell in row.cells)
        return self.caption if shown else f"{self.caption} Intervals are not shown."

    def bold(self, row: Row) -> list[int]:
        """Quantities, with all runs in, in which the row is its dataset's best or within the best one's interval."""
        bold = []
        for place, cell in enumerate(row.cells):
            better = self.kind(place).better
            rivals = [
                other.cells[place]
                for other in self.rows
                if other.dataset == row.dataset
                and other.cells[place].runs == other.runs
                and not np.isnan(other.cells[place].value)
            ]
            if len(rivals) < 2 or cell not in rivals or better is None:
                continue
            if better == "higher":
                best = max(rivals, key=lambda rival: rival.value)
                within = cell.value >= (best.value if np.isnan(best.low) else best.low)
            else:
                best = min(rivals, key=lambda rival: rival.value)
                within = cell.value <= (best.value if np.isnan(best.high) else best.high)
            if within:
                bold.append(place)
        return bold


def make_row(
    dataset: str, dataset_mean: float | None, group: Group, values: NDArray[np.float64], statistic: Statistic, seed: int
) -> Row:
    """The group's row from `values` [run, quantity], NaN where a run has none."""
    return Row(
        dataset=dataset,
        algorithm=group.label,
        dataset_mean=dataset_mean,
        cells=tuple(_cell(column[np.isfinite(column)], statistic, seed) for column in values.T),
        finished=len(group.having("finished")),
        failed=len(group.having("failed")),
        unfinished=len(group.having("unfinished")),
    )


def _cell(values: NDArray[np.float64], statistic: Statistic, seed: int) -> Cell:
    if not len(values):
        return Cell(np.nan, np.nan, np.nan, 0)
    scores = values[:, None, None]  # [run, task, point]
    aggregate = AGGREGATES[statistic]
    low, high = bootstrap_interval(scores, aggregate, seed=seed) if len(values) > 1 else ([np.nan], [np.nan])
    return Cell(float(aggregate(scores)[0]), float(low[0]), float(high[0]), len(values))


def statistic_name(rows: Sequence[Row], statistic: Statistic) -> str:
    """What the cells are, for a caption."""
    if statistic == "iqm" and max(row.runs for row in rows) >= 4:
        return "interquartile mean over seeds (mean below 4)"
    return "mean over seeds"
