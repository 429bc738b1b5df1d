"""Table `blocks`: score before and after each change of block in a mixed stream, level, dip and forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.changes import change_of, group_curve
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.reference import with_reference
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, row_of, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult


@table("blocks", help="score before and after block changes, dip and forgetting")
def block_table(
    results: Sequence[RunResult], *, statistic: Statistic = "mean", seed: int = 0, reference: bool = False
) -> Table:
    """Score before and after each block boundary, level, dip and forgetting, as in `plots.change`.

    A row is an algorithm at a boundary; its block mean is the mean score of the block that begins there. Numbers are of the
    curve of the mean over the runs that have got to the block's end. Static controls, which see all blocks from the start,
    are left out.

    Args:
        results: from `seqeval_rl.read_results`.
        statistic: over seeds, "mean" or "iqm" (below four runs the mean).
        seed: of the bootstrap.
        reference: add the reference results that come with seqeval-rl to runs on the same data with the same settings.

    Raises:
        UsageError: no run, none on a mixed stream, or an unknown statistic.
    """
    rows, groups = [], []
    panels = collect(results)
    pairs, reference_note = with_reference(panels, reference)
    for panel in panels:
        for block, next_block in pairwise(panel.blocks):
            boundary = f"{panel.title}: {block.label} → {next_block.label}"
            for group in (group for each, group in pairs if each is panel):
                if group.control:
                    continue
                change = (next_block.start, next_block.stop)
                cells = change_of(group_curve(group, *change, statistic=statistic, seed=seed), *change)
                rows.append(row_of(boundary, next_block.mean_score, [group], cells))
                groups.append((panel.title, group))
    if not rows:
        raise UsageError(
            "results: expected runs on a mixed stream with block boundaries, found none. "
            "Other measures: --measures data or reach."
        )
    caption = (
        f"Of the curve of the {statistic_text(rows, statistic)}, over the runs that have got to the block's end. Before: the "
        "last evaluation at or before the block boundary; after: the last at or before the end of the block that begins there; "
        "level: mean over the last fifth of its evaluations, at least two; dip: before less the lowest score in the block, at "
        "least 0; forgotten: highest score up to the boundary less after, at least 0. "
        "Bold: best at the boundary, and values within its interval."
        f"{table_notes(results, groups)}{f' {reference_note}' * reference}"
    )
    score, loss = Kind(), Kind(better="lower")
    quantities = ("before", "after", "level", "dip", "forgotten")
    kinds = (score, score, score, loss, loss)
    leading = ("dataset", "algorithm", "seeds", "block mean")
    return Table(
        quantities, tuple(rows), caption, kinds, "blocks", leading=leading, statistic=statistic, note=reference_note
    )
