"""Table `data`: scores at shares of the data, best score, and area under the curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqeval_rl.plots.analysis.captions import NEAREST, table_notes
from seqeval_rl.plots.analysis.grouping import Panel, collect
from seqeval_rl.plots.analysis.metrics import area_under_curve, check_share, measured, part, reached, run_at_share
from seqeval_rl.plots.analysis.naming import metric_label
from seqeval_rl.plots.analysis.reference import with_reference
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import SHARES, measured_rows, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult


@table("data", help="scores at shares of the data, best score, area under the curve")
def score_table(
    results: Sequence[RunResult],
    *,
    shares: Sequence[float] = SHARES,
    statistic: Statistic = "iqm",
    seed: int = 0,
    reference: bool = False,
) -> Table:
    """Score at shares of the data, best, and area under the curve, per dataset and algorithm, over seeds.

    A share counts the runs that have reached it, whether or not they finished; best (the highest evaluation of a run)
    and area (divided by its width) those that have got to the end of the data.

    Args:
        results: from `seqeval_rl.read_results`.
        shares: of the data, above 0 and at most 1.
        statistic: "iqm", the interquartile mean (below four runs it is the mean), or "mean".
        seed: of the bootstrap.
        reference: add the reference results that come with seqeval-rl to runs on the same data with the same settings.

    Raises:
        UsageError: no run, a share outside (0, 1], or an unknown statistic.
    """
    check_share(*shares)
    pairs, reference_note = with_reference(collect(results), reference)
    rows = measured_rows(pairs, lambda panel, run: _scores(panel, run, shares), statistic, seed)
    caption = (
        f"{metric_label(panel.metric for panel, _ in pairs).capitalize()}, {statistic_text(rows, statistic)}. "
        f"{NEAREST} Best: a run's highest evaluation; "
        "area: under the curve, divided by its width. "
        "Bold: highest of the dataset, and values within its interval."
    )
    note = ""
    if any(panel.transitions and group.online for panel, group in pairs):
        note = "All on the dataset alone, without the online phase after it."
        caption += f" {note}"
    if reference:
        caption, note = f"{caption} {reference_note}", f"{note} {reference_note}".strip()
    caption += table_notes(results, [(panel.title, group) for panel, group in pairs])
    return Table(
        (*(f"{100 * share:g} %" for share in shares), "best", "area"), rows, caption, statistic=statistic, note=note
    )


def _scores(panel: Panel, run: RunResult, shares: Sequence[float]) -> list[float]:
    """The run's score at each share, its best and its area; NaN where the run has not reached it."""
    at_shares = [run_at_share(run, share) for share in shares]
    total = panel.transitions or run.online
    transitions, scores = part(*measured(run), total)
    if reached(run) < total:
        return [*at_shares, np.nan, np.nan]
    return [*at_shares, float(np.nanmax(scores, initial=-np.inf)), float(area_under_curve(transitions, scores))]
