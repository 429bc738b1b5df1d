"""Table `reach`: how many transitions it takes to reach the dataset's mean score and most of the final score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.grouping import Panel, collect
from seqeval_rl.plots.analysis.metrics import forgetting, measured, reach, reached, run_at_share
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, measured_rows, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult

FINAL_SHARE = 0.9  # of the final score


@table("reach", help="transitions to the dataset's mean score and to 90 % of the final score")
def reach_table(results: Sequence[RunResult], *, statistic: Statistic = "iqm", seed: int = 0) -> Table:
    """Transitions to reach the dataset's mean score and 90 % of the run's own final score, for the first time and for good.

    Over the dataset alone, without an online phase. A run that has not reached a level has no number there, and the cell
    counts those that have. 90 % of the final score needs a finished run that ended above 0; how soon it comes says nothing
    about how good the end is, so nothing is bold there.

    Args:
        results: from `seqeval_rl.read_results`.
        statistic: over seeds, "iqm" (below four runs the mean) or "mean".
        seed: of the bootstrap.

    Raises:
        UsageError: no run, or an unknown statistic.
    """
    pairs = [(panel, group) for panel in collect(results) for group in panel.groups]
    rows = measured_rows(pairs, _reached, statistic, seed)
    final = f"{100 * FINAL_SHARE:g} % of final"
    caption = (
        f"Transitions until an evaluation is at or above the dataset's mean score, and {final} (the run's own final score), "
        "for the first time; kept: from which on every evaluation is; fall from best: highest score less the last. "
        f"Numbers: {statistic_text(rows, statistic)}. Over the runs that reach it: others have no number. "
        "Bold: fewest of the dataset, and values within its interval."
        f"{table_notes(results, [(panel.title, group) for panel, group in pairs])}"
    )
    quantities = ("to dataset mean", "kept", f"to {final}", f"{final} kept", "fall from best")
    soon, neutral = Kind("transitions", "lower"), Kind("transitions", None)
    return Table(
        quantities, rows, caption, (soon, soon, neutral, neutral, Kind(better="lower")), "reach", statistic=statistic
    )


def _reached(panel: Panel, run: RunResult) -> tuple[float, ...]:
    total = panel.transitions or run.online
    curve, final, end = measured(run), run_at_share(run, 1.0), reached(run)
    mean = reach(*curve, np.nan if panel.mean_score is None else panel.mean_score, total, end)
    own = reach(*curve, FINAL_SHARE * final if final > 0 else np.nan, total, end)
    return mean.first, mean.kept, own.first, own.kept, forgetting(*curve, total, end)
