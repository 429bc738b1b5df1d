"""Table `across`: over all datasets, aggregates of the final scores, and the probability that one algorithm scores higher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.cross_task import (
    Phase,
    Scores,
    aggregates,
    has_online_phase,
    improvements,
    ranks,
    scores_across,
)
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.naming import metric_label
from seqeval_rl.plots.analysis.statistics import ACROSS, GAP, Cell
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, row_of
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult

_LEADING = ("dataset", "algorithm", "runs", "dataset mean")  # a row's runs are those of all its datasets


@table("across", help="aggregates over all datasets, and probabilities of improvement")
def across_tables(results: Sequence[RunResult], *, share: float = 1.0, seed: int = 0) -> tuple[Table, ...]:
    """`across_table` and `improvement_table`; with runs that have an online phase, first at its begin and then at its end.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        seed: of the bootstrap.

    Raises:
        UsageError: as `scores_across`.
    """
    phases: tuple[Phase, ...] = (
        ("offline", "online") if share == 1 and has_online_phase(collect(results)) else ("offline",)
    )
    return tuple(
        make(results, share=share, phase=phase, seed=seed)
        for phase in phases
        for make in (across_table, improvement_table)
    )


def across_table(results: Sequence[RunResult], *, share: float = 1.0, phase: Phase = "offline", seed: int = 0) -> Table:
    """Interquartile mean, median, mean, optimality gap and mean rank of the scores.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        phase: "offline", or "online": the scores at the end of the online phase.
        seed: of the bootstrap.

    Raises:
        UsageError: as `scores_across`.
    """
    scores = scores_across(results, share, phase)
    columns = [*aggregates(scores, seed).values(), ranks(scores, seed)]  # [quantity][algorithm]
    caption = (
        f"{metric_label([scores.metric]).capitalize()}s {scores.place} with 95 % stratified bootstrap intervals. "
        f"{scores.sentence()}"
        "IQM: interquartile mean over runs and datasets (mean below 4 scores); "
        "median and mean: over datasets of the mean over runs; "
        "optimality gap: mean shortfall below 100; rank: mean over datasets of the rank by the mean over runs. "
        "Bold: best, and values within its interval."
    )
    kinds = {name: Kind(better="lower" if name == GAP else "higher") for name in ACROSS}
    kinds["rank"] = Kind("rank", "lower")
    return _table(results, scores, zip(*columns, strict=True), kinds, caption, "across")


def improvement_table(
    results: Sequence[RunResult], *, share: float = 1.0, phase: Phase = "offline", seed: int = 0
) -> Table:
    """Probability that a run of the row's algorithm scores higher than one of the column's, averaged over datasets.

    Arguments and errors are those of `across_table`.
    """
    scores = scores_across(results, share, phase)
    caption = (
        f"Probability that a run of the row's algorithm scores higher {scores.place} than one of the "
        f"column's, averaged over datasets, with 95 % stratified bootstrap intervals. {scores.sentence()}"
    ).rstrip()
    kinds = {f"P(> {entry.label})": Kind("probability", None) for entry in scores.entries}
    return _table(results, scores, improvements(scores, seed), kinds, caption, "improvement")


def _table(
    results: Sequence[RunResult],
    scores: Scores,
    cells: Iterable[Sequence[Cell]],
    kinds: dict[str, Kind],
    caption: str,
    name: str,
) -> Table:
    """The table with these cells [algorithm][quantity]; its caption ends with the number of seeds and what is left out."""
    title = f"{len(scores.datasets)} dataset{'s' if len(scores.datasets) > 1 else ''}, {scores.place}"
    name += "-online" * (scores.phase == "online")
    rows = tuple(
        row_of(title, scores.dataset_mean, entry.groups, row) for entry, row in zip(scores.entries, cells, strict=True)
    )
    groups = [pair for entry in scores.entries for pair in zip(scores.datasets, entry.groups, strict=True)]
    caption += table_notes(results, groups)
    return Table(tuple(kinds), rows, caption, tuple(kinds.values()), name, _LEADING)
