"""Table `online`: score before and after the online phase, dip after the switch, regret."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.changes import change, group_curve
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import regret
from seqeval_rl.plots.analysis.statistics import Cell, Floats, Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, row_of, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult


@table("online", help="before, after, dip and regret of the online phase")
def online_table(results: Sequence[RunResult], *, statistic: Statistic = "mean", seed: int = 0) -> Table:
    """Score before and after the online phase, gain, dip after the switch, regret.

    Numbers are of the curve of the mean over the runs that have got to their end.

    Args:
        results: from `seqeval_rl.read_results`; runs without an online phase are left out.
        statistic: over seeds, "mean" or "iqm" (below four runs the mean).
        seed: of the bootstrap.

    Raises:
        UsageError: no run, none with an online phase, or an unknown statistic.
    """
    pairs = [(panel, group) for panel in collect(results) for group in panel.groups if group.online]
    if not pairs:
        raise UsageError(
            "results: expected runs with an online phase (protocol.online above 0), found none. "
            "Other measures: --measures data or reach."
        )
    rows = tuple(
        row_of(panel.title, panel.mean_score, [group], _cells(panel, group, statistic, seed)) for panel, group in pairs
    )
    caption = (
        f"Of the curve of the {statistic_text(rows, statistic)}, over the runs that have got to their end. Score before the "
        "online phase (the last evaluation on the dataset) and after it (the last); gain: after less before; dip: before less "
        "the lowest score in the phase, at least 0; regret: mean over the phase of 100 less the score (of returns none). "
        "Bold: best of the dataset, and values within its interval."
        f"{table_notes(results, [(panel.title, group) for panel, group in pairs])}"
    )
    quantities = ("before", "after", "gain", "dip", "regret")
    score, loss = Kind(), Kind(better="lower")
    kinds = (score, score, Kind(better=None), loss, loss)
    return Table(quantities, rows, caption, kinds, "online", statistic=statistic)


def _cells(panel: Panel, group: Group, statistic: Statistic, seed: int) -> list[Cell]:
    switch, stop = panel.transitions, panel.transitions + group.online
    curve = group_curve(group, switch, stop, statistic=statistic, seed=seed)

    target = np.nan if panel.metric == "return" else 100.0

    def measure(values: Floats) -> list[Floats]:
        # Online RL without a dataset has nothing before.
        found = change(curve.transitions, values, switch, stop, curve.evaluated_to)
        lost = regret(curve.transitions, values, switch, stop, target, evaluated_to=curve.evaluated_to)
        return [found.before, found.after, found.after - found.before, found.dip, np.asarray(lost)]

    return curve.cells(measure)
