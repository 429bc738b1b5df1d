"""Tables of what `measures` finds in each run: when a level is reached, what a block change costs, the online phase."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.grouping import Panel, collect
from seqeval_rl.plots.analysis.metrics import change, forgetting, measured, part, reach, regret, score_at_share
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.table import Kind, Row, Table, make_row, statistic_name

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


FINAL_SHARE = 0.9  # of the final score
_SCORE, _LOSS = Kind(), Kind(better="lower")
_NEUTRAL = Kind(better=None)
_SOON, _WHEN = Kind("transitions", "lower"), Kind("transitions", None)


@table("reach", help="transitions to the dataset's mean score and to 90 % of the final score")
def reach_table(results: Sequence[RunResult], *, statistic: Statistic = "iqm", seed: int = 0) -> Table:
    """Transitions to reach the log's mean score and 90 % of the run's own final score, for the first time and for good.

    Over the log alone. A run that has not reached a level has no number there, and the cell counts those that have. 90 % of
    the final score needs a finished run that ended above 0; how soon it comes says nothing about how good the end is,
    so nothing is in bold there.

    Args:
        results: of `seqeval_rl.read_results`.
        statistic: over seeds, "iqm" (below four runs the mean) or "mean".
        seed: of the bootstrap.

    Raises:
        UsageError: no run, or an unknown statistic.
    """
    rows, groups = [], []
    for panel in _panels(results, statistic):
        for group in panel.groups:
            values = [_reached(panel, run) for run in group.runs]
            rows.append(make_row(panel.title, panel.mean_score, group, _array(values), statistic, seed))
            groups.append((panel.title, group))
    final = f"{100 * FINAL_SHARE:g} % of final"
    caption = (
        f"Transitions until the score is at the log's mean, and at {final} (the run's own), at an evaluation for the first "
        f"time, and from which on it stays there (kept); fall from best: highest score less the last. "
        f"{_over(rows, statistic)} Over the runs that reach it: others have no number. "
        "Bold: fewest of the dataset, and values within its interval."
        f"{table_notes(results, groups)}"
    )
    quantities = ("to log's mean", "kept", f"to {final}", f"{final} kept", "fall from best")
    return Table(quantities, tuple(rows), caption, (_SOON, _SOON, _WHEN, _WHEN, _LOSS), "reach")


@table("blocks", help="recovery and loss after block changes")
def block_table(results: Sequence[RunResult], *, statistic: Statistic = "iqm", seed: int = 0) -> Table:
    """What each change of block in a mixed stream costs: recovery, score lost, forgetting; see `measures.change`.

    A row is an algorithm at a boundary; its log's mean is that of the block that begins there. Static controls, which see
    all blocks from the start, are left out.

    Args:
        results: of `seqeval_rl.read_results`.
        statistic: over seeds, "iqm" (below four runs the mean) or "mean".
        seed: of the bootstrap.

    Raises:
        UsageError: no run, none on a mixed stream, or an unknown statistic.
    """
    rows, groups = [], []
    for panel in _panels(results, statistic):
        for block, following in zip(panel.blocks, panel.blocks[1:], strict=False):
            place = f"{panel.title}: {block.label} → {following.label}"
            for group in panel.groups:
                if group.runs[0].static:
                    continue
                changes = [change(*measured(run), following.start, following.stop) for run in group.runs]
                values = [(c.before, c.after, c.dip, c.recovery, c.lost, c.forgotten) for c in changes]
                rows.append(make_row(place, following.mean_score, group, _array(values), statistic, seed))
                groups.append((panel.title, group))
    if not rows:
        raise UsageError(
            "results: expected runs on a mixed stream with block boundaries, found none. "
            "Other measures: --measures data or reach."
        )
    caption = (
        "Score before a block boundary and at the end of the block after it; dip: how far it falls below the score before; "
        "back after: transitions until an evaluation is there again (0 if it never falls); lost: area between the score "
        "before and the curve below it until then, divided by the block's width; forgotten: highest score up to the "
        f"boundary less the score at the block's end. {_over(rows, statistic)} "
        "Bold: best at the boundary, and values within its interval."
        f"{table_notes(results, groups)}"
    )
    quantities = ("before", "after", "dip", "back after", "lost", "forgotten")
    return Table(quantities, tuple(rows), caption, (_SCORE, _SCORE, _LOSS, _SOON, _LOSS, _LOSS), "blocks")


@table("online", help="before, after, dip and regret of the online phase")
def online_table(results: Sequence[RunResult], *, statistic: Statistic = "iqm", seed: int = 0) -> Table:
    """What the online phase brings: score before → after, dip after the switch, regret; see `measures`.

    Args:
        results: of `seqeval_rl.read_results`; runs without an online phase are left out.
        statistic: over seeds, "iqm" (below four runs the mean) or "mean".
        seed: of the bootstrap.

    Raises:
        UsageError: no run, none with an online phase, or an unknown statistic.
    """
    rows, groups = [], []
    for panel in _panels(results, statistic):
        for group in panel.groups:
            if group.runs[0].online:
                values = [_online(panel, run) for run in group.runs]
                rows.append(make_row(panel.title, panel.mean_score, group, _array(values), statistic, seed))
                groups.append((panel.title, group))
    if not rows:
        raise UsageError(
            "results: expected runs with an online phase (protocol.online above 0), found none. "
            "Other measures: --measures data or reach."
        )
    caption = (
        "Score before the online phase (the last evaluation on the log) and after it (the last); gain: after less before; "
        "dip: how far it falls below the score before; back after: transitions until an evaluation is there again "
        "(0 if it never falls); "
        f"regret: mean over the phase of 100 less the score. {_over(rows, statistic)} "
        "Bold: best of the dataset, and values within its interval."
        f"{table_notes(results, groups)}"
    )
    quantities = ("before", "after", "gain", "dip", "back after", "regret")
    return Table(quantities, tuple(rows), caption, (_SCORE, _SCORE, _NEUTRAL, _LOSS, _SOON, _LOSS), "online")


def _panels(results: Sequence[RunResult], statistic: Statistic) -> list[Panel]:
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    return collect(results)


def _reached(panel: Panel, run: RunResult) -> tuple[float, ...]:
    total = panel.transitions or run.online
    curve = part(*measured(run), total)
    final = score_at_share(*curve, 1.0, total)
    mean = reach(*curve, np.nan if panel.mean_score is None else panel.mean_score, total)
    own = reach(*curve, FINAL_SHARE * final if final > 0 else np.nan, total)
    return mean.first, mean.kept, own.first, own.kept, forgetting(*curve, total)


def _online(panel: Panel, run: RunResult) -> tuple[float, ...]:
    switch, stop = panel.transitions, panel.transitions + run.online
    curve = measured(run)
    found = change(*curve, switch, stop)
    # Plain online RL has nothing before; its score after is that of its end.
    after = found.after if switch else score_at_share(*curve, 1.0, stop)
    return found.before, after, after - found.before, found.dip, found.recovery, regret(*curve, switch, stop)


def _array(values: Iterable[Sequence[float]]) -> NDArray[np.float64]:
    """[run, quantity]."""
    return np.array(list(values), np.float64)


def _over(rows: Sequence[Row], statistic: Statistic) -> str:
    name = statistic_name(rows, statistic)
    return f"{name[0].upper()}{name[1:]} with its 95 % bootstrap interval."
