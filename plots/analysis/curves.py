"""Learning curves: the statistic over a group's runs, in segments over which the same runs have a value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import align, last_values, measured
from seqeval_rl.plots.analysis.published import PublishedCurve, behind
from seqeval_rl.plots.analysis.reference import check_comparable, reference_groups
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Floats, Mask, Statistic, bootstrap_interval
from seqeval_rl.results.read import PREQUENTIAL, RunResult


@dataclass(frozen=True)
class Axis:
    """An x-axis."""

    label: str
    of_data: bool  # whether a transition has the same place on it in all runs

    def place(self, panel: Panel, transitions: float) -> float:
        """The place of so many transitions, on an axis of data."""
        return transitions if self is AXES["transitions"] else 100 * transitions / (panel.transitions or panel.online)


AXES = {
    "transitions": Axis("transitions", of_data=True),
    "share": Axis("share of the dataset (%)", of_data=True),
    "gradient_steps": Axis("gradient steps", of_data=False),
    "wall_time": Axis("wall time (s)", of_data=False),
}


def placed(run: RunResult, metric: str | None, x: str) -> tuple[Floats, Floats]:
    """The run's curve over the axis `x`: places [P], increasing, and values [P]; empty where they were not recorded.

    Args:
        run: from `seqeval_rl.read_results`.
        metric: of its evaluations; None: its main one, see `measured`.
        x: one of `AXES`. `gradient_steps` are the run's own, for a static control too; `wall_time` needs recorded times.
    """
    if AXES[x].of_data:
        transitions, values = measured(run, metric)
        total = run.manifest["dataset"]["transitions"] or run.online
        return (transitions if x == "transitions" else 100 * transitions / total).astype(np.float64), values
    metric = metric or run.main_metric
    places: list[float] = []
    recorded: list[float] = []
    wall = 0.0
    for entry in run.evaluations:
        if x == "wall_time":
            if "seconds" not in entry["metrics"]:
                continue
            wall += entry["metrics"]["seconds"]
        if metric in entry["metrics"]:
            places.append(wall if x == "wall_time" else entry["gradient_steps"])
            recorded.append(entry["metrics"][metric])
    return last_values(np.array(places, np.float64), np.array(recorded, np.float64))


@dataclass(frozen=True)
class Segment:
    """A part of a curve over which the same runs have a value."""

    transitions: Floats  # [point], or places on another x-axis
    centre: Floats  # [point]
    interval: tuple[Floats, Floats] | None  # low and high [point]; None for one run of a dataset
    runs: int
    complete: bool  # whether every run has a value, and of a single dataset at least one has finished


def segments(
    group: Group, metric: str | None = None, statistic: Statistic = "iqm", seed: int = 0, x: str = "transitions"
) -> list[Segment]:
    """The group's curve in segments, by transitions; empty where no run has been evaluated.

    Args:
        group: runs that differ only in seed.
        metric: of the runs' evaluations; None: their main one, see `measured`.
        statistic: `iqm` (below four runs the mean) or `mean`.
        seed: of the bootstrap.
        x: the x-axis, one of `AXES`; `Segment.transitions` are places on it.
    """
    curves = [placed(run, metric, x) for run in group.runs]
    if not any(len(transitions) for transitions, _ in curves):
        return []
    points, values = align(curves)
    known = np.isfinite(values)
    aggregate = AGGREGATES[statistic]
    parts = []
    for start, stop in stretches(known):
        who = known[:, start]
        if not who.any():
            continue
        # A segment with fewer runs begins where the one with more ended, so that the curve has no gap.
        first = start - 1 if start and known[who, start - 1].all() else start
        last = stop + 1 if stop < len(points) and known[who, stop].all() else stop
        scores = values[who, first:last][:, None, :]  # [run, task, point]
        parts.append(
            Segment(
                transitions=points[first:last],
                centre=aggregate(scores),
                interval=bootstrap_interval(scores, aggregate, seed=seed) if len(scores) > 1 else None,
                runs=len(scores),
                complete=bool(who.all()) and bool(group.having("finished")),
            )
        )
    return parts


def stretches(known: Mask) -> Iterator[tuple[int, int]]:
    """Begin and end of the points over which the same runs have a value, by whether they have one [..., point]."""
    edges = np.flatnonzero((known[..., 1:] != known[..., :-1]).any(axis=tuple(range(known.ndim - 1)))) + 1
    return itertools.pairwise([0, *edges.tolist(), known.shape[-1]])


@dataclass(frozen=True)
class CurveSpec:
    """What a figure of learning curves shows."""

    metric: str | None = None  # of the runs' evaluations; None: the main one of each dataset, see `Panel.metric`
    label: str = ""  # of the y-axis; empty: of the main metric
    logarithmic: bool = False  # y-axis, where all values are above 0
    note: str = ""  # at the beginning of the caption
    x: str = "transitions"  # one of `AXES`
    statistic: Statistic = "iqm"
    seed: int = 0  # of the bootstrap
    paper_curves: bool = False
    reference: bool = False
    seeds_shown: bool = False


@dataclass(frozen=True)
class CurveSet:
    """The curves of a figure, computed."""

    spec: CurveSpec
    panels: list[Panel]
    segments: list[list[tuple[Group, list[Segment]]]]  # of each panel
    published: list[dict[str, PublishedCurve]]  # of each panel, by algorithm; empty where not asked for
    reference: list[list[tuple[Group, list[Segment]]]]  # of each panel; empty where not asked for

    @property
    def axis(self) -> Axis:
        """The x-axis."""
        return AXES[self.spec.x]


def curve_set(results: Sequence[RunResult], spec: CurveSpec) -> CurveSet:
    """All curves of these results, a panel per dataset.

    Raises:
        UsageError: no run, nothing to draw, an unknown statistic or axis, published curves over anything but transitions, or
            reference results of wall time.
    """
    if spec.statistic not in AGGREGATES:
        raise unknown("statistic", spec.statistic, AGGREGATES)
    if spec.x not in AXES:
        raise unknown("x-axis", spec.x, AXES)
    if spec.paper_curves and spec.x != "transitions":
        raise UsageError(f"published curves: expected the x-axis transitions, found {spec.x}. They have no other.")
    if spec.reference:
        check_comparable(spec.metric, spec.x)

    def parts_of(groups: Sequence[Group]) -> list[tuple[Group, list[Segment]]]:
        return [(group, segments(group, spec.metric, spec.statistic, spec.seed, spec.x)) for group in groups]

    panels = collect(results)
    parts = [parts_of(panel.groups) for panel in panels]
    if not any(of_group for panel in parts for _, of_group in panel):
        raise _nothing_to_draw(results, spec.metric, spec.x)
    published = [behind(panel) if spec.paper_curves else {} for panel in panels]
    references = reference_groups(panels) if spec.reference else [[] for _ in panels]
    return CurveSet(spec, panels, parts, published, [parts_of(groups) for groups in references])


def without_scores(results: Sequence[RunResult]) -> str | None:
    """What to draw instead, where evaluations have metrics but no score; None where there are scores, or nothing yet."""
    metrics = _metrics(results)
    if not metrics or any(run.main_metric in entry["metrics"] for run in results for entry in run.evaluations):
        return None
    losses = sorted(name for name in metrics if "/" in name and not name.startswith(PREQUENTIAL))
    scores = sorted({name for run in results for name in run.prequential_scores()})
    return (
        "results: no scores, since no episode was played in an environment (protocol.episodes = 0). Instead there are "
        f"prequential scores ({', '.join(scores) or 'none'}; `--kind prequential`) and the metrics {', '.join(losses) or 'none'}."
    )


def _metrics(results: Sequence[RunResult]) -> set[str]:
    return {name for run in results for evaluation in run.evaluations for name in evaluation["metrics"]}


def _nothing_to_draw(results: Sequence[RunResult], metric: str | None, x: str) -> UsageError:
    metrics = _metrics(results)
    if metric in metrics or (metric is None and metrics & {"score", "return"}):
        return UsageError(
            f"results: expected evaluations with a place on the x-axis {x}, found none that were timed. Choose another axis."
        )
    if metric in (None, "score") and metrics and (instead := without_scores(results)) is not None:
        return UsageError(instead)
    if metrics:
        return unknown("metric", metric or "score", metrics)
    failed = sum(run.status == "failed" for run in results)
    remedy = "They failed: see `seqeval status`" if failed == len(results) else "Wait for the first one"
    return UsageError(
        f"results: expected evaluations, found none in {len(results)} run{'s' * (len(results) != 1)}. {remedy}."
    )
