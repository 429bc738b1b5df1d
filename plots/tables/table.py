"""A table of results: quantities with intervals by dataset and algorithm, written as text, Markdown, LaTeX, HTML or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np

from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.tables.latex import latex
from seqeval_rl.plots.tables.rows import FormattedRow, Kind, Row, formatted_row, statistic_name


@dataclass(frozen=True, repr=False)
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
    statistic: Statistic | None = None  # over seeds, that the numbers are; None where their names say it
    note: str = ""  # a sentence of the caption that the text for a terminal shows too

    @property
    def headers(self) -> tuple[str, ...]:
        """One per column."""
        return (*self.leading, *self.quantities)

    def kind(self, column: int) -> Kind:
        """Unit and direction of the quantity in that column."""
        return self.kinds[column] if self.kinds else Kind()

    def text(self) -> str:
        """For a terminal: aligned columns without intervals, under the name of each dataset; below them the statistic."""
        rows = self.formatted(intervals=False)
        lines = [self.headers[1:], *(row.texts()[1:] for row in rows)]
        first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
        header, *body = ("  ".join([line[0].ljust(first), *map(str.rjust, line[1:], widths)]) for line in lines)
        shown = [header, "-" * len(header)]
        returns = {row.dataset for row in self.rows if row.metric == "return"}
        for dataset, members in groupby(zip(rows, body, strict=True), lambda member: member[0].dataset):
            unit = " (returns, not scores)" * (dataset in returns)
            shown += [dataset + unit, *(line for _, line in members), ""]
        numbers = f"Numbers: {statistic_name(self.rows, self.statistic)}." if self.statistic else ""
        shown.append(" ".join(part for part in (numbers, self.note) if part))
        return "\n".join(line.rstrip() for line in shown).rstrip("\n") + "\n"

    def markdown(self, intervals: bool = True) -> str:
        """GitHub-flavored Markdown with the caption below the table."""
        lines = [[*map(markdown_text, self.headers)], ["---"] * 2 + ["---:"] * (len(self.headers) - 2)]
        lines += [row.texts(markdown_text, "**{}**") for row in self.formatted(intervals)]
        caption = markdown_text(self._caption(intervals))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{caption}\n"

    def latex(self, intervals: bool = True, long: bool = False) -> str:
        r"""One or more `table` environments for `\input`, split to fit a page; they need `\usepackage{booktabs}` only.

        With `long` what is higher than a page is a `longtable`, which needs the package of that name too.
        """
        return latex(self.name, self.headers, self.formatted(intervals), self._caption(intervals), long)

    def csv(self) -> str:
        """One line per dataset, algorithm and quantity at full precision; missing numbers are empty.

        Columns: dataset, algorithm (or as in `leading`), quantity, value, low and high (of the 95 % interval), runs (with
        a value), finished, failed, unfinished, dataset_mean, mark ("> limit" where the value is only known to be above it, "↓" of
        a decline).
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        counts = ("finished", "failed", "unfinished")
        writer.writerow(
            (
                *self.leading[:2],
                "quantity",
                "value",
                "low",
                "high",
                "runs",
                *counts,
                "dataset_mean",
                "mark",
                "statistic",
            )
        )
        for row in self.rows:
            for name, cell in zip(self.quantities, row.cells, strict=True):
                numbers = [number if number < cell.limit else "" for number in (cell.value, cell.low, cell.high)]
                mark = "↓" if cell.falls else f"> {cell.limit:g}" if cell.value >= cell.limit else ""
                # Below four runs the interquartile mean is the mean.
                statistic = "mean" if self.statistic == "iqm" and cell.runs < 4 else self.statistic
                run_counts = (cell.runs, row.finished, row.failed, row.unfinished)
                writer.writerow(
                    (row.dataset, row.algorithm, name, *numbers, *run_counts, row.dataset_mean, mark, statistic)
                )
        return file.getvalue()

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__  # what a Python prompt shows

    def _repr_html_(self) -> str:
        """How notebooks show the table."""

        def line(tag: str, texts: Iterable[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"

        header = line("th", map(escape, self.headers))
        rows = "".join(line("td", row.texts(escape, "<b>{}</b>")) for row in self.formatted())
        caption = escape(self.caption)
        return f"<table><caption>{caption}</caption><thead>{header}</thead><tbody>{rows}</tbody></table>"

    def formatted(self, intervals: bool = True) -> list[FormattedRow]:
        """The rows with every number as text."""
        columns = range(len(self.quantities))
        kinds = [self.kind(column) for column in columns]
        return [
            formatted_row(row, kinds, {column for column in columns if self._is_best(row, column)}, intervals)
            for row in self.rows
        ]

    def _caption(self, intervals: bool) -> str:
        hidden = not intervals and any(not np.isnan(cell.low) for row in self.rows for cell in row.cells)
        return self.caption + (" Intervals are not shown." if hidden else "")

    def _is_best(self, row: Row, column: int) -> bool:
        """Whether the row has the best value of its dataset or one within its interval; only rows without missing runs count."""
        cell, kind = row.cells[column], self.kind(column)
        better = kind.better
        others = [
            other for other in self.rows if other.dataset == row.dataset and other.cells[column].runs == other.runs
        ]
        # The lag of a curve that overshoots may be below 0, which is not fast.
        least = 0.0 if kind.unit == "transitions" else -np.inf
        rivals = [one for other in others if (one := other.cells[column]).value >= least and not one.falls]
        if len(rivals) < 2 or cell not in rivals or better is None or cell.value >= cell.limit:
            return False
        sign = 1 if better == "higher" else -1
        best = max(rivals, key=lambda rival: sign * rival.value)
        end = best.low if better == "higher" else best.high
        return sign * cell.value >= sign * (best.value if np.isnan(end) else end)


def markdown_text(text: str) -> str:
    """Text escaped for a cell of a GitHub-flavored Markdown table."""
    return re.sub(r"([\\`*_\[\]<>|$#~&])", r"\\\1", " ".join(text.split()))
