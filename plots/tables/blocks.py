"""Table `blocks`: recovery, score lost and forgetting at each change of block in a mixed stream."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.metrics import change, measured
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, make_row, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult


@table("blocks", help="recovery and loss after block changes")
def block_table(results: Sequence[RunResult], *, statistic: Statistic = "iqm", seed: int = 0) -> Table:
    """Score before and after each block boundary, dip, recovery, score lost, forgetting, as in `plots.change`.

    A row is an algorithm at a boundary; its dataset mean is that of the block that begins there. Static controls, which see
    all blocks from the start, are left out.

    Args:
        results: from `seqeval_rl.read_results`.
        statistic: over seeds, "iqm" (below four runs the mean) or "mean".
        seed: of the bootstrap.

    Raises:
        UsageError: no run, none on a mixed stream, or an unknown statistic.
    """
    rows, groups = [], []
    for panel in collect(results):
        for block, next_block in pairwise(panel.blocks):
            boundary = f"{panel.title}: {block.label} → {next_block.label}"
            for group in panel.groups:
                if group.control:
                    continue
                changes = [change(*measured(run), next_block.start, next_block.stop) for run in group.runs]
                values = [(c.before, c.after, c.dip, c.recovery, c.lost, c.forgotten) for c in changes]
                rows.append(make_row(boundary, next_block.mean_score, group, values, statistic, seed))
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
        f"boundary less the score at the block's end. Numbers: {statistic_text(rows, statistic)}. "
        "Bold: best at the boundary, and values within its interval."
        f"{table_notes(results, groups)}"
    )
    quantities = ("before", "after", "dip", "back after", "lost", "forgotten")
    score, loss = Kind(), Kind(better="lower")
    kinds = (score, score, loss, Kind("transitions", "lower"), loss, loss)
    return Table(quantities, tuple(rows), caption, kinds, "blocks")
