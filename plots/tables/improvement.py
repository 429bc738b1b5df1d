"""Table `improvement`: the probability that one algorithm scores higher than another, over all datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqeval_rl.plots.analysis.cross_task import improvements, scores_across
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.across import LEADING, across_table, entry_row, notes
from seqeval_rl.plots.tables.table import Kind, Table

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


def improvement_table(results: Sequence[RunResult], *, share: float = 1.0, seed: int = 0) -> Table:
    """Probability that a run of the row's algorithm scores higher than one of the column's, averaged over datasets.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken.
        seed: of the bootstrap.

    Raises:
        UsageError: as `scores_across`.
    """
    scores = scores_across(results, share)
    rows = tuple(
        entry_row(scores, entry, cells) for entry, cells in zip(scores.entries, improvements(scores, seed), strict=True)
    )
    caption = (
        f"Probability that a run of the row's algorithm scores higher at {100 * share:g} % of the data than one of the "
        f"column's, averaged over datasets, with 95 % stratified bootstrap intervals. {scores.sentence()}"
    ).rstrip() + notes(results, scores)
    quantities = tuple(f"P(> {entry.label})" for entry in scores.entries)
    return Table(quantities, rows, caption, (Kind("probability", None),) * len(rows), "improvement", LEADING)


@table("across", help="aggregates over all datasets, and probabilities of improvement")
def across_tables(results: Sequence[RunResult], *, share: float = 1.0, seed: int = 0) -> tuple[Table, Table]:
    """`across_table` and `improvement_table`, which `seqeval table` prints one after the other.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken.
        seed: of the bootstrap.

    Raises:
        UsageError: as `scores_across`.
    """
    return across_table(results, share=share, seed=seed), improvement_table(results, share=share, seed=seed)
