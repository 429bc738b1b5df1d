"""Rows of tables from groups of runs: the statistic over seeds with its bootstrap interval, run counts, checked arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.bootstrap import bootstrap_interval
from seqeval_rl.plots.analysis.grouping import Group
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Cell, Floats, Statistic
from seqeval_rl.plots.tables.table import Row

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the data, at which tables show scores by default


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
    return row_of(
        dataset, dataset_mean, group, [_cell(column[np.isfinite(column)], statistic, seed) for column in columns]
    )


def row_of(dataset: str, dataset_mean: float | None, group: Group, cells: Sequence[Cell]) -> Row:
    """The group's row from cells that are computed already; adds its label and run counts."""
    return Row(
        dataset=dataset,
        algorithm=group.label,
        dataset_mean=dataset_mean,
        cells=tuple(cells),
        finished=len(group.having("finished")),
        failed=len(group.having("failed")),
        unfinished=len(group.having("unfinished")),
    )


def _cell(values: Floats, statistic: Statistic, seed: int) -> Cell:
    if not len(values):
        return Cell(np.nan, np.nan, np.nan, 0)
    scores = values[:, None, None]  # [run, task, point]
    aggregate = AGGREGATES[statistic]
    low, high = bootstrap_interval(scores, aggregate, seed=seed) if len(values) > 1 else ([np.nan], [np.nan])
    return Cell(float(aggregate(scores)[0]), float(low[0]), float(high[0]), len(values))


def check_shares(shares: Sequence[float]) -> None:
    """Raises `UsageError` unless all shares of the data are above 0 and at most 1."""
    for share in shares:
        if not 0 < share <= 1:
            raise UsageError(
                f"shares of the data: expected numbers above 0 and at most 1, found {share}. Give 0.5 for half."
            )


def statistic_text(rows: Sequence[Row], statistic: Statistic) -> str:
    """Names the statistic and its interval, for a caption."""
    several = statistic == "iqm" and max(row.runs for row in rows) >= 4
    name = "interquartile mean over seeds (mean below 4)" if several else "mean over seeds"
    return f"{name} with its 95 % bootstrap interval"
