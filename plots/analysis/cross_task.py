"""All datasets together: the runs' scores as arrays, and aggregates, ranks and improvements with their intervals.

Algorithms are compared on the datasets that all of them have, and on no others; each dataset counts as much as any other,
whatever its number of runs. The runs of each algorithm are drawn independently of those of the others, within each task.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.captions import listed
from seqeval_rl.plots.analysis.comparison import (
    improvement_interval,
    mean_ranks,
    probability_of_improvement,
    rank_intervals,
)
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import check_share, run_at_end, run_at_share
from seqeval_rl.plots.analysis.naming import by_value, legend_order
from seqeval_rl.plots.analysis.statistics import (
    ACROSS,
    GAP,
    Cell,
    Floats,
    bootstrap_interval,
)
from seqeval_rl.results.read import RunResult
from seqeval_rl.utils.text import some

Phase = Literal["offline", "online"]


def has_online_phase(panels: Sequence[Panel]) -> bool:
    """Whether some run has an online phase after its dataset."""
    return any(panel.transitions and group.online for panel in panels for group in panel.groups)


def place_text(panels: Sequence[Panel], share: float, phase: Phase = "offline") -> str:
    """Where scores are taken, for labels and captions: `at 50 % of the data`, `at the end of the online phase`."""
    if phase == "online":
        return "at the end of the online phase"
    if has_online_phase(panels):
        return "at the end of the offline part" if share == 1 else f"at {100 * share:g} % of the offline part"
    return (
        f"at {100 * share:g} % of the {'data' if any(panel.transitions for panel in panels) else 'online transitions'}"
    )


def comparable(panels: Sequence[Panel]) -> list[Panel]:
    """The panels whose values have one meaning: those with scores, or where none has any all of them, with returns."""
    return [panel for panel in panels if panel.metric == "score"] or list(panels)


def without_references(panels: Sequence[Panel]) -> str:
    """For a caption, with a blank at its end: the panels that `comparable` leaves out."""
    left_out = [panel.title for panel in panels if panel not in comparable(panels)]
    return f"Left out, since the task has no reference returns: {listed(left_out)}. " if left_out else ""


def check_common_unit(panels: Iterable[Panel]) -> None:
    """Raise `UsageError` for returns of different tasks, which have no common unit: they can be ranked, not averaged."""
    tasks = {panel.task for panel in panels if panel.metric == "return"}
    if len(tasks) > 1:
        raise UsageError(
            f"results: expected scores to average over tasks, found returns of {listed(sorted(tasks))}, which have no common "
            "unit. Run them with --reference-returns, or give the results of one task."
        )


@dataclass(frozen=True)
class AlgorithmScores:
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
    dataset_mean: float | None  # mean of the datasets' mean scores
    left_out: tuple[str, ...]  # datasets on which some algorithm has no score
    entries: tuple[AlgorithmScores, ...]  # in the legend's order
    panels: tuple[Panel, ...]  # one per dataset
    place: str  # where they are taken, see `place_text`
    phase: Phase
    online: bool  # whether some run has an online phase after its dataset, so that there are two ends

    @property
    def metric(self) -> str:
        """What the scores are: `return` where no task has reference returns."""
        return self.panels[0].metric

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
        if self.phase == "online":
            without = [entry.label for entry in self.entries if not all(group.online for group in entry.groups)]
            text += f"; at the end of the dataset where runs have no online phase: {listed(without)}" if without else ""
        return f"{text}. " + (f"Runs that have not got there: {listed(missing)}. " if missing else "")


def scores_across(results: Sequence[RunResult], share: float = 1.0, phase: Phase = "offline") -> Scores:
    """Scores at `share` of the data (of the online transitions where there is no dataset), by algorithm, run and task.

    Datasets whose task has no reference returns count only where no dataset has any; then scores are returns.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data, above 0 and at most 1.
        phase: "offline", or "online": the scores at the end of the online phase, and at the end of the dataset of runs that
            have none.

    Raises:
        UsageError: no run, a share outside (0, 1], no dataset on which every algorithm has a score, an unknown phase, or
            "online" with a share below 1 or without a run that has an online phase after its dataset.
    """
    check_share(share)
    panels = collect(results)
    if phase not in ("offline", "online"):
        raise unknown("phase", phase, ("offline", "online"))
    if phase == "online" and share != 1:
        raise UsageError(f"share of the data: expected none with phase online, found {share:g}. Leave one of them out.")
    if phase == "online" and not has_online_phase(panels):
        raise UsageError(
            "results: expected runs with an online phase after their dataset, found none. Leave out phase online."
        )
    place = place_text(panels, share, phase)
    values: dict[str, dict[str, list[float]]] = defaultdict(dict)
    groups: dict[str, dict[str, Group]] = defaultdict(dict)
    for panel in panels:
        for group in panel.groups:
            at_share = [run_at_end(run) if phase == "online" else run_at_share(run, share) for run in group.runs]
            groups[group.label][panel.title] = group
            values[group.label][panel.title] = [score for score in at_share if np.isfinite(score)]
    datasets = [panel for panel in comparable(panels) if all(of.get(panel.title) for of in values.values())]
    if not datasets:
        raise UsageError(
            f"results: expected a dataset on which each of {some([*values])} has a score {place}, "
            "found none. Run what is missing, or give the results of fewer algorithms."
        )
    titles = [panel.title for panel in datasets]
    means = [panel.mean_score for panel in datasets if panel.mean_score is not None]
    algorithms = {label: next(iter(of.values())).algorithm for label, of in groups.items()}
    order = legend_order(algorithms.values())
    entries = []
    for label in sorted(groups, key=lambda label: (order.index(algorithms[label]), by_value(label))):
        columns = [values[label][title] for title in titles]
        scores = np.array(list(itertools.zip_longest(*columns, fillvalue=np.nan)))
        members = tuple(groups[label][title] for title in titles)
        entries.append(AlgorithmScores(label, members[0].style, scores, members))
    return Scores(
        tuple(titles),
        float(np.mean(means)) if len(means) == len(datasets) else None,
        tuple(panel.title for panel in panels if panel.title not in titles),
        tuple(entries),
        tuple(datasets),
        place,
        phase,
        has_online_phase(panels),
    )


def aggregates(scores: Scores, seed: int = 0) -> dict[str, list[Cell]]:
    """Each aggregate across tasks (`statistics.ACROSS`), of each algorithm, with its 95 % interval.

    Raises:
        UsageError: returns of different tasks.
    """
    check_common_unit(scores.panels)
    by_name: dict[str, list[Cell]] = defaultdict(list)
    for name, aggregate in ACROSS.items():
        for entry in scores.entries:
            if scores.metric == "return" and name == GAP:  # there is no 100 to fall short of
                by_name[name].append(Cell(np.nan, np.nan, np.nan, 0))
                continue
            points = entry.scores[:, :, None]  # [run, task, point]
            low, high = bootstrap_interval(points, aggregate, seed=seed) if entry.has_interval else ([np.nan], [np.nan])
            by_name[name].append(Cell(float(aggregate(points)[0]), float(low[0]), float(high[0]), entry.runs))
    return by_name


def ranks(scores: Scores, seed: int = 0) -> list[Cell]:
    """Mean rank over the datasets of each algorithm, with its 95 % interval where all have one."""
    arrays = [entry.scores for entry in scores.entries]
    several = all(entry.has_interval for entry in scores.entries)
    lows, highs = rank_intervals(arrays, seed=seed) if several else np.full((2, len(arrays)), np.nan)
    parts = zip(mean_ranks(arrays), lows, highs, scores.entries, strict=True)
    return [Cell(float(mean), float(low), float(high), entry.runs) for mean, low, high, entry in parts]


def improvements(scores: Scores, seed: int = 0) -> list[list[Cell]]:
    """Probability that a run of [algorithm] is better than one of [other algorithm], with its 95 % interval."""
    return [[_improvement(x, y, seed) for y in scores.entries] for x in scores.entries]


def _improvement(x: AlgorithmScores, y: AlgorithmScores, seed: int) -> Cell:
    if x is y:
        return Cell(np.nan, np.nan, np.nan, 0)
    several = x.has_interval and y.has_interval
    low, high = improvement_interval(x.scores, y.scores, seed=seed) if several else (np.nan, np.nan)
    return Cell(probability_of_improvement(x.scores, y.scores), low, high, x.runs)


def interval_sentence(scores: Scores, what: str) -> str:
    """For a caption: what `what` (bars, bands) are, and which algorithms have none."""
    single = [entry.label for entry in scores.entries if not entry.has_interval]
    if len(single) == len(scores.entries):
        return "A dataset has one run, so no interval."
    none = f"; none for {listed(single)} (one run on a dataset)" if single else ""
    return f"{what}: 95 % stratified bootstrap interval{none}."
