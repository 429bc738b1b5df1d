"""Tables over all datasets: aggregates with intervals, and probabilities of improvement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.cross_task import Entry, Scores, aggregates, improvements, ranks, scores_across
from seqeval_rl.plots.analysis.statistics import ACROSS, Cell
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.table import Kind, Row, Table

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


_LEADING = ("dataset", "algorithm", "runs", "log's mean")  # a row's runs are those of all its datasets


@table("across", help="aggregates and probabilities of improvement over all datasets")
def across_tables(results: Sequence[RunResult], *, share: float = 1.0, seed: int = 0) -> tuple[Table, Table]:
    """`across_table` and `improvement_table`, with their arguments and errors.

    Args:
        results: of `seqeval_rl.read_results`.
        share: of the data at which the scores are taken.
        seed: of the bootstrap.
    """
    return across_table(results, share=share, seed=seed), improvement_table(results, share=share, seed=seed)


def across_table(results: Sequence[RunResult], *, share: float = 1.0, seed: int = 0) -> Table:
    """Interquartile mean, median, mean, optimality gap and mean rank of the final scores of all datasets.

    Args:
        results: of `seqeval_rl.read_results`.
        share: of the data at which the scores are taken.
        seed: of the bootstrap.

    Raises:
        UsageError: as `scores_across`.
    """
    scores = scores_across(results, share)
    of = aggregates(scores, seed)
    ranked = ranks(scores, seed)
    rows = [
        _row(
            scores,
            entry,
            [
                *(of[name][place] for name in ACROSS),
                ranked[place],
            ],
        )
        for place, entry in enumerate(scores.entries)
    ]
    caption = (
        f"Normalised scores at {100 * share:g} % of the data with 95 % stratified bootstrap intervals. {scores.sentence()}"
        "IQM: interquartile mean over runs and datasets (mean below 4 scores); "
        "median and mean: over datasets of the mean over runs; "
        "optimality gap: mean shortfall below 100; rank: mean over datasets of the rank by the mean over runs. "
        "Bold: best, and values within its interval."
        f"{_notes(results, scores)}"
    )
    lower = Kind(better="lower")
    kinds = tuple(lower if name == "optimality gap" else Kind() for name in ACROSS)
    return Table((*ACROSS, "rank"), tuple(rows), caption, (*kinds, Kind("rank", "lower")), "across", _LEADING)


def improvement_table(results: Sequence[RunResult], *, share: float = 1.0, seed: int = 0) -> Table:
    """Probability of improvement: of the row's algorithm over the column's; arguments and errors as `across_table`'s."""
    scores = scores_across(results, share)
    rows = tuple(
        _row(scores, entry, cells) for entry, cells in zip(scores.entries, improvements(scores, seed), strict=True)
    )
    caption = (
        f"Probability that a run of the row's algorithm scores higher at {100 * share:g} % of the data than one of the "
        f"column's, averaged over datasets, with 95 % stratified bootstrap intervals. {scores.sentence()}"
    ).rstrip() + _notes(results, scores)
    quantities = tuple(f"P(> {entry.label})" for entry in scores.entries)
    return Table(quantities, rows, caption, (Kind("probability", None),) * len(rows), "improvement", _LEADING)


def _notes(results: Sequence[RunResult], scores: Scores) -> str:
    pairs = [
        (title, group) for entry in scores.entries for title, group in zip(scores.datasets, entry.groups, strict=True)
    ]
    return table_notes(results, pairs)


def _row(scores: Scores, entry: Entry, cells: Sequence[Cell]) -> Row:
    count = {status: sum(len(group.having(status)) for group in entry.groups) for status in ("finished", "failed")}
    every = sum(len(group.runs) for group in entry.groups)
    return Row(
        dataset=f"{len(scores.datasets)} dataset{'s' if len(scores.datasets) > 1 else ''}",
        algorithm=entry.label,
        dataset_mean=scores.dataset_mean,
        cells=tuple(cells),
        unfinished=every - sum(count.values()),
        **count,
    )
