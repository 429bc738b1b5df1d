"""The rows of tables: from groups of runs to numbers with intervals and run counts, and from these to text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from seqeval_rl.errors import unknown
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Cell, Floats, Statistic, bootstrap_interval
from seqeval_rl.results.read import RunResult

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the data, at which tables show scores by default


@dataclass(frozen=True)
class Kind:
    """The unit of a quantity, and whether higher or lower numbers are better."""

    unit: Literal["score", "transitions", "probability", "rank", "count"] = "score"
    better: Literal["higher", "lower"] | None = "higher"  # None: no number is better than another


@dataclass(frozen=True)
class Row:
    """One algorithm on one dataset."""

    dataset: str
    algorithm: str
    dataset_mean: float | None  # mean normalized score (or return) of the dataset's own episodes; None where unknown
    cells: tuple[Cell, ...]  # one per quantity
    finished: int  # number of runs
    failed: int = 0
    unfinished: int = 0
    metric: str = (
        "score"  # what the cells with the unit of a score are: "return" where the task has no reference returns
    )

    @property
    def runs(self) -> int:
        """Number of runs, whatever their status."""
        return self.finished + self.failed + self.unfinished


def make_row(
    dataset: str,
    dataset_mean: float | None,
    group: Group,
    values: Iterable[Sequence[float]],
    statistic: Statistic = "iqm",
    seed: int = 0,
) -> Row:
    """The group's row: the statistic of each quantity over its runs, with a 95 % bootstrap interval.

    Args:
        dataset: name that the row is shown under.
        dataset_mean: mean score of the dataset, if known.
        group: one algorithm's runs on the dataset.
        values: per run, one number per quantity; NaN where the run has none.
        statistic: "iqm" (interquartile mean; below four runs the mean) or "mean".
        seed: of the bootstrap.

    Raises:
        UsageError: an unknown statistic.
    """
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    columns = np.array(list(values), np.float64).T  # [quantity, run]
    cells = [_cell(column[np.isfinite(column)], statistic, seed) for column in columns]
    return row_of(dataset, dataset_mean, [group], cells)


def measured_rows(
    pairs: Iterable[tuple[Panel, Group]],
    measure: Callable[[Panel, RunResult], Sequence[float]],
    statistic: Statistic,
    seed: int,
) -> tuple[Row, ...]:
    """For each group the row of what `measure` returns for its runs, one number per quantity; see `make_row`."""
    return tuple(
        make_row(panel.title, panel.mean_score, group, [measure(panel, run) for run in group.runs], statistic, seed)
        for panel, group in pairs
    )


def row_of(dataset: str, dataset_mean: float | None, groups: Sequence[Group], cells: Iterable[Cell]) -> Row:
    """The row of one algorithm's groups from cells that are computed already; adds its label and run counts."""
    finished, failed, unfinished = (
        sum(len(group.having(status)) for group in groups) for status in ("finished", "failed", "unfinished")
    )
    metric = groups[0].metric
    return Row(dataset, groups[0].label, dataset_mean, tuple(cells), finished, failed, unfinished, metric)


def _cell(values: Floats, statistic: Statistic, seed: int) -> Cell:
    if not len(values):
        return Cell(np.nan, np.nan, np.nan, 0)
    scores = values[:, None, None]  # [run, task, point]
    aggregate = AGGREGATES[statistic]
    low, high = bootstrap_interval(scores, aggregate, seed=seed) if len(values) > 1 else ([np.nan], [np.nan])
    return Cell(float(aggregate(scores)[0]), float(low[0]), float(high[0]), len(values))


def statistic_name(rows: Sequence[Row], statistic: Statistic) -> str:
    """What the numbers are over seeds: the interquartile mean of fewer than four is the mean."""
    several = statistic == "iqm" and max((row.runs for row in rows), default=0) >= 4
    return "interquartile mean over seeds (mean below 4)" if several else "mean over seeds"


def statistic_text(rows: Sequence[Row], statistic: Statistic) -> str:
    """Names the statistic and its interval, for a caption."""
    return f"{statistic_name(rows, statistic)} with its 95 % bootstrap interval"


class FormattedCell(NamedTuple):
    """One quantity of a row as text."""

    text: str  # of the value; "–" where there is none
    interval: str  # "[low, high]"
    runs: str  # "2 of 3": how many of the row's runs have the quantity; empty if all

    @property
    def parts(self) -> list[str]:
        """What is shown in the cell, in order."""
        return [part for part in (self.text, self.interval, f"({self.runs})" if self.runs else "") if part]


class FormattedRow(NamedTuple):
    """One algorithm on one dataset as text."""

    dataset: str
    algorithm: str
    runs: list[str]  # "3", "1 failed", "1 unfinished"
    dataset_mean: str
    cells: list[FormattedCell]
    bold: set[int]  # columns of `cells`

    def texts(self, escape: Callable[[str], str] = str, bold: str = "{}") -> list[str]:
        """One text per column, in the order of the headers; `escape` applies to names, `bold` formats bold cells."""
        runs, *others = self.runs
        runs += f" ({', '.join(others)})" if others else ""
        cells = [" ".join(cell.parts) for cell in self.cells]
        shown = [bold.format(text) if column in self.bold else text for column, text in enumerate(cells)]
        return [escape(self.dataset), escape(self.algorithm), runs, self.dataset_mean, *shown]


def formatted_row(row: Row, kinds: Sequence[Kind], bold: set[int], intervals: bool) -> FormattedRow:
    """The row's numbers as text, with a unit per quantity; `bold` are the columns whose value is among the best."""
    cells = []
    for cell, kind in zip(row.cells, kinds, strict=True):
        unit = row.metric if kind.unit == "score" else kind.unit
        value, low, high = (_cell_text(n, cell.limit, unit) for n in (cell.value, cell.low, cell.high))
        value = f"↓ {value}" if cell.falls else value
        interval = f"[{low}, {high}]" if intervals and cell.low < cell.limit else ""
        cells.append(FormattedCell(value, interval, f"{cell.runs} of {row.runs}" if 0 < cell.runs < row.runs else ""))
    counts = ((row.failed, "failed"), (row.unfinished, "unfinished"))
    runs = [str(row.runs), *(f"{number} {status}" for number, status in counts if number)]
    dataset_mean = "–" if row.dataset_mean is None else number_text(row.dataset_mean, row.metric)
    return FormattedRow(row.dataset, row.algorithm, runs, dataset_mean, cells, bold)


def _cell_text(value: float, limit: float, unit: str) -> str:
    if np.isnan(value):
        return "–"
    return number_text(value, unit) if value < limit else f"> {number_text(limit, unit)}"


def number_text(value: float, unit: str) -> str:
    """A number for people: a score as `12.3`, a return with four digits, a count as `12.3k`, a probability or rank as `0.12`;
    never `-0.0`."""
    if unit in ("transitions", "count"):
        sizes = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if unit == "count" else ((1e6, "M"), (1e3, "k"))
        for size, suffix in sizes:
            if abs(value) >= 0.9995 * size:
                return f"{value / size:.3g}{suffix}"
        return f"{value:.3g}"
    if unit == "return":
        return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.4g}"
    text = f"{value:.1f}" if unit == "score" else f"{value:.2f}"
    return text.removeprefix("-") if not float(text) else text
