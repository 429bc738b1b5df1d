"""The table of scores: at shares of the data, best, and area under the curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import area_under_curve, measured, part, score_at_share
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.table import SHARES, Row, Table, make_row, statistic_name

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


@table("data", help="scores at shares of the data, best, area under the curve")
def score_table(
    results: Sequence[RunResult],
    *,
    shares: Sequence[float] = SHARES,
    statistic: Statistic = "iqm",
    seed: int = 0,
) -> Table:
    """Score at shares of the data, best, and area under the curve, per dataset and algorithm, over seeds.

    A share counts the runs that have got that far, whether or not they finished; best (the highest evaluation of a run)
    and area (divided by its width) count finished runs only.

    Args:
        results: of `seqeval_rl.read_results`.
        shares: of the data, above 0 and at most 1.
        statistic: "iqm", the interquartile mean (below four runs it is the mean), or "mean".
        seed: of the bootstrap.

    Raises:
        UsageError: no run, a share outside (0, 1], or an unknown statistic.
    """
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    for share in shares:
        if not 0 < share <= 1:
            raise UsageError(
                f"shares of the data: expected numbers above 0 and at most 1, found {share}. Give 0.5 for half."
            )
    panels = collect(results)
    rows = tuple(_row(panel, group, shares, statistic, seed) for panel in panels for group in panel.groups)
    caption = (
        f"Normalised score, {statistic_name(rows, statistic)} with its 95 % bootstrap interval. "
        "Shares of the data: the last evaluation at or before; best: a run's highest evaluation; "
        "area: under the curve, divided by its width. "
        "Bold: highest of the dataset, and values within its interval."
    )
    if any(panel.transitions and run.online for panel in panels for group in panel.groups for run in group.runs):
        caption += " All of the log alone, without the online phase after it."
    caption += table_notes(results, [(panel.title, group) for panel in panels for group in panel.groups])
    return Table((*(f"{100 * share:g} %" for share in shares), "best", "area"), rows, caption)


def _row(panel: Panel, group: Group, shares: Sequence[float], statistic: Statistic, seed: int) -> Row:
    # [run, quantity]; NaN where a run has not got there.
    values = np.full((len(group.runs), len(shares) + 2), np.nan)
    for run, line in zip(group.runs, values, strict=True):
        total = panel.transitions or run.online
        transitions, scores = part(*measured(run), total)
        line[:-2] = [score_at_share(transitions, scores, share, total) for share in shares]
        if run.status == "finished" and len(scores):
            line[-2:] = np.nanmax(scores, initial=-np.inf), area_under_curve(transitions, scores)
    return make_row(panel.title, panel.mean_score, group, values, statistic, seed)
