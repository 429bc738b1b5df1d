"""Table `reach`: how many transitions it takes to reach the dataset's mean score and most of the final score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import forgetting, measured, reach, reached, run_at_share
from seqeval_rl.plots.analysis.reference import with_reference
from seqeval_rl.plots.analysis.statistics import NOTHING, SAMPLES, Cell, Floats, Statistic, draws
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, Row, make_row, statistic_name, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult

FINAL_SHARE = 0.9  # of the final score


@table("reach", help="transitions to the dataset's mean score and to 90 % of the final score")
def reach_table(
    results: Sequence[RunResult], *, statistic: Statistic = "iqm", seed: int = 0, reference: bool = False
) -> Table:
    """Transitions to reach the dataset's mean score and 90 % of the run's own final score, for the first time and for good.

    Over the dataset alone, without an online phase. Medians over seeds, in which a run that never gets there counts as more than
    all transitions: means over those that do would reward the others' failure. An unfinished run that has not got there yet has
    no number. 90 % of the final score needs a finished run that ended above 0; how soon it comes says nothing
    about how good the end is, so nothing is bold there.

    Args:
        results: from `seqeval_rl.read_results`.
        statistic: of the fall from the best score over seeds, "iqm" (below four runs the mean) or "mean".
        seed: of the bootstrap.
        reference: add the reference results that come with seqeval-rl to runs on the same data with the same settings.

    Raises:
        UsageError: no run, or an unknown statistic.
    """
    pairs, reference_note = with_reference(collect(results), reference)
    rows = tuple(_row(panel, group, statistic, seed) for panel, group in pairs)
    final = f"{100 * FINAL_SHARE:g} % of final"
    caption = (
        f"Transitions until an evaluation is at or above the dataset's mean score, and {final} (the run's own final score), "
        "for the first time; kept: from which on every evaluation is; fall from best: highest score less the last. "
        "Transitions: median over seeds with its 95 % bootstrap interval; a run that never gets there counts as more than all, "
        f"shown as > N. Fall from best: {statistic_text(rows, statistic)}. "
        "Bold: fewest of the dataset, and values within its interval."
        f"{table_notes(results, [(panel.title, group) for panel, group in pairs])}"
    )
    said = f" {reference_note}" * reference
    caption += said
    note = f"Transitions: median over seeds; fall from best: {statistic_name(rows, statistic)}.{said}"
    quantities = ("to dataset mean", "kept", f"to {final}", f"{final} kept", "fall from best")
    soon, neutral = Kind("transitions", "lower"), Kind("transitions", None)
    return Table(quantities, rows, caption, (soon, soon, neutral, neutral, Kind(better="lower")), "reach", note=note)


def _row(panel: Panel, group: Group, statistic: Statistic, seed: int) -> Row:
    values = [_reached(panel, run) for run in group.runs]
    row = make_row(panel.title, panel.mean_score, group, values, statistic, seed)
    total = panel.transitions or group.online
    medians = [median_cell(np.array(column), total, seed) for column in list(zip(*values, strict=True))[:-1]]
    return replace(row, cells=(*medians, row.cells[-1]))


def median_cell(values: Floats, total: float, seed: int = 0) -> Cell:
    """The median over runs of when they get somewhere, with its 95 % interval.

    Args:
        values: [run], transitions; infinite for a run that never gets there, NaN for one of which it is not known.
        total: transitions at the end, which a run may just reach.
        seed: of the bootstrap.
    """
    known = np.sort(values[~np.isnan(values)])
    number = len(known)
    if not number:
        return NOTHING
    middle = [(number - 1) // 2, number // 2]
    low = high = np.nan
    if number > 1:
        drawn = np.cumsum(draws(np.ones((number, 1), bool), SAMPLES, seed)[:, :, 0], axis=1)  # [sample, run]
        medians = np.mean([known[(drawn > place).argmax(axis=1)] for place in middle], axis=0)
        # Of what may be infinite nothing can be interpolated.
        low, high = np.quantile(medians, [0.025, 0.975], method="inverted_cdf")
    limit = float(np.nextafter(total, np.inf))
    return Cell(float(known[middle].mean()), float(low), float(high), number, limit)


def _reached(panel: Panel, run: RunResult) -> tuple[float, ...]:
    """Transitions to reach and to keep each level, infinite where a run never does; and the fall from the best score."""
    total = panel.transitions or run.online
    curve, final, end = measured(run), run_at_share(run, 1.0), reached(run)
    places = []
    for level in (
        np.nan if panel.mean_score is None else panel.mean_score,
        FINAL_SHARE * final if final > 0 else np.nan,
    ):
        never = np.inf if end >= total and np.isfinite(level) else np.nan
        found = reach(*curve, level, total, end)
        places += [never if np.isnan(place) else place for place in (found.first, found.kept)]
    return *places, forgetting(*curve, total, end)
