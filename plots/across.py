"""All datasets together: the runs' final scores as arrays, and the table of aggregates with their intervals.

Algorithms are compared on the datasets that all of them have, and on no others; each dataset counts as much as any other,
whatever its number of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.caption import listed, table_notes
from seqeval_rl.plots.groups import Group, collect
from seqeval_rl.plots.measures import measured, score_at_share
from seqeval_rl.plots.statistics import (
    ACROSS,
    Floats,
    bootstrap_interval,
    improvement_interval,
    mean_ranks,
    probability_of_improvement,
    rank_intervals,
)
from seqeval_rl.plots.style import by_value, legend_order
from seqeval_rl.plots.tables import Cell, Kind, Row, Table

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


_LEADING = ("dataset", "algorithm", "runs", "log's mean")  # a row's runs are those of all its datasets


@dataclass(frozen=True)
class Entry:
    """One algorithm (with the same settings) on all datasets."""

    label: str
    style: str  # key for `style.line_styles`
    scores: Floats  # [run, task]; NaN where a task has fewer runs, or a run has not got there
    groups: tuple[Group, ...]  # one per task

    @property
    def runs(self) -> int:
        """How many have a score."""
        return int(np.isfinite(self.scores).sum())

    @property
    def has_interval(self) -> bool:
        """Whether every task has at least two runs: of one run alone the spread is not known."""
        return bool((np.isfinite(self.scores).sum(axis=0) >= 2).all())


@dataclass(frozen=True)
class Scores:
    """Every algorithm's scores on the datasets that all have."""

    datasets: tuple[str, ...]
    log_mean: float | None  # mean over the datasets of the logs' mean scores
    left_out: tuple[str, ...]  # datasets on which some algorithm has no score
    entries: tuple[Entry, ...]  # in the legend's order

    def sentence(self) -> str:
        """For a caption: which datasets are in, which are not, and how many runs are missing."""
        text = f"Over {len(self.datasets)} dataset{'s' if len(self.datasets) > 1 else ''}"
        if self.left_out:
            text += f"; left out, since not every algorithm has a score there: {listed(self.left_out)}"
        missing = [
            f"{entry.label} {absent}"
            for entry in self.entries
            if (absent := sum(len(group.runs) for group in entry.groups) - entry.runs)
        ]
        return f"{text}. " + (f"Runs that have not got there: {listed(missing)}. " if missing else "")


def scores_across(results: Sequence[RunResult], share: float = 1.0) -> Scores:
    """Scores at `share` of the log (of the online transitions where there is no log), by algorithm, run and task.

    Args:
        results: of `seqeval_rl.read_results`.
        share: of the data, above 0 and at most 1.

    Raises:
        UsageError: no run, a share outside (0, 1], or no dataset on which every algorithm has a score.
    """
    if not 0 < share <= 1:
        raise UsageError(f"share of the data: expected above 0 and at most 1, found {share}. Give 0.5 for half.")
    panels = collect(results)
    values: dict[str, dict[str, list[float]]] = {}
    groups: dict[str, dict[str, Group]] = {}
    for panel in panels:
        for group in panel.groups:
            found = [score_at_share(*measured(run), share, panel.transitions or run.online) for run in group.runs]
            groups.setdefault(group.label, {})[panel.title] = group
            values.setdefault(group.label, {})[panel.title] = [score for score in found if np.isfinite(score)]
    datasets = [panel for panel in panels if all(of.get(panel.title) for of in values.values())]
    if not datasets:
        raise UsageError(
            f"results: expected a dataset on which each of {', '.join(values)} has got to {100 * share:g} % of the data, "
            "found none. Run what is missing, or give the results of fewer algorithms."
        )
    titles = [panel.title for panel in datasets]
    logs = [panel.mean_score for panel in datasets if panel.mean_score is not None]
    entries = []
    order = legend_order(group.algorithm for of in groups.values() for group in of.values())
    place = {label: order.index(next(iter(of.values())).algorithm) for label, of in groups.items()}
    for label in sorted(groups, key=lambda label: (place[label], by_value(label))):
        most = max(len(values[label][title]) for title in titles)
        scores = np.full((most, len(titles)), np.nan)
        for task, title in enumerate(titles):
            scores[: len(values[label][title]), task] = values[label][title]
        members = tuple(groups[label][title] for title in titles)
        entries.append(Entry(label, members[0].style, scores, members))
    return Scores(
        tuple(titles),
        float(np.mean(logs)) if len(logs) == len(datasets) else None,
        tuple(panel.title for panel in panels if panel.title not in titles),
        tuple(entries),
    )


def aggregates(scores: Scores, seed: int = 0) -> dict[str, list[Cell]]:
    """Each aggregate across tasks (`statistics.ACROSS`), of each algorithm, with its 95 % interval."""
    found: dict[str, list[Cell]] = {}
    for name, aggregate in ACROSS.items():
        cells = []
        for entry in scores.entries:
            points = entry.scores[:, :, None]  # [run, task, point]
            low, high = bootstrap_interval(points, aggregate, seed=seed) if entry.has_interval else ([np.nan], [np.nan])
            cells.append(Cell(float(aggregate(points)[0]), float(low[0]), float(high[0]), entry.runs))
        found[name] = cells
    return found


def ranks(scores: Scores, seed: int = 0) -> list[Cell]:
    """Mean rank over the datasets of each algorithm, with its 95 % interval where all have one."""
    arrays = [entry.scores for entry in scores.entries]
    means = mean_ranks(arrays)
    nothing = np.full(len(means), np.nan)
    several = all(entry.has_interval for entry in scores.entries)
    low, high = rank_intervals(arrays, seed=seed) if several else (nothing, nothing)
    return [
        Cell(float(means[place]), float(low[place]), float(high[place]), entry.runs)
        for place, entry in enumerate(scores.entries)
    ]


def improvements(scores: Scores, seed: int = 0) -> list[list[Cell]]:
    """Probability that a run of [algorithm] is better than one of [other algorithm], with its 95 % interval."""
    nothing = (float("nan"), float("nan"))
    return [
        [
            Cell(*(float("nan"), *nothing), 0)
            if x is y
            else Cell(
                probability_of_improvement(x.scores, y.scores),
                *(
                    improvement_interval(x.scores, y.scores, seed=seed)
                    if x.has_interval and y.has_interval
                    else nothing
                ),
                x.runs,
            )
            for y in scores.entries
        ]
        for x in scores.entries
    ]


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
        log_mean=scores.log_mean,
        cells=tuple(cells),
        unfinished=every - sum(count.values()),
        **count,
    )
