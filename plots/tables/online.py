"""Table `online`: score before and after the online phase, dip after the switch, recovery, regret."""

from __future__ import annotations

from collections.abc import Sequence

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.grouping import Panel, collect
from seqeval_rl.plots.analysis.metrics import change, measured, regret, score_at_share
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, measured_rows, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult


@table("online", help="before, after, dip and regret of the online phase")
def online_table(results: Sequence[RunResult], *, statistic: Statistic = "iqm", seed: int = 0) -> Table:
    """Score before and after the online phase, gain, dip after the switch, recovery, regret.

    Args:
        results: from `seqeval_rl.read_results`; runs without an online phase are left out.
        statistic: over seeds, "iqm" (below four runs the mean) or "mean".
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
    rows = measured_rows(pairs, _online, statistic, seed)
    caption = (
        "Score before the online phase (the last evaluation on the dataset) and after it (the last); gain: after less "
        "before; dip: how far it falls below the score before; back after: transitions until an evaluation is there again "
        "(0 if it never falls); "
        f"regret: mean over the phase of 100 less the score. Numbers: {statistic_text(rows, statistic)}. "
        "Bold: best of the dataset, and values within its interval."
        f"{table_notes(results, [(panel.title, group) for panel, group in pairs])}"
    )
    quantities = ("before", "after", "gain", "dip", "back after", "regret")
    score, loss = Kind(), Kind(better="lower")
    kinds = (score, score, Kind(better=None), loss, Kind("transitions", "lower"), loss)
    return Table(quantities, rows, caption, kinds, "online")


def _online(panel: Panel, run: RunResult) -> tuple[float, ...]:
    switch, stop = panel.transitions, panel.transitions + run.online
    curve = measured(run)
    at_switch = change(*curve, switch, stop)
    # Online RL without a dataset has nothing before; its score after is that of its end.
    after = at_switch.after if switch else score_at_share(*curve, 1.0, stop)
    before, dip, recovery = at_switch.before, at_switch.dip, at_switch.recovery
    return before, after, after - before, dip, recovery, regret(*curve, switch, stop)
