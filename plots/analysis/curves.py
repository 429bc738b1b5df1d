"""A group's curve: the statistic over its runs, in stretches over which the same runs are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.plots.analysis.bootstrap import bootstrap_interval
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.metrics import align, measured
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Floats, Statistic

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class Axis:
    """An x-axis."""

    label: str
    of_data: bool  # places in the data have one place on it, the same for all runs
    note: str = ""  # for the caption

    def extent(self, panel: Panel) -> float | None:
        """Where it ends on that panel; None where the runs decide."""
        if not self.of_data:
            return None
        return self.place(panel, panel.extent)

    def place(self, panel: Panel, transitions: float) -> float:
        """Where so many transitions lie, on an axis of data."""
        return transitions if self is AXES["transitions"] else 100 * transitions / (panel.transitions or panel.online)


_ELSEWHERE = "Boundaries are not drawn: each run meets them at its own place."
AXES = {
    "transitions": Axis("transitions", of_data=True),
    "share": Axis("share of the log (%)", of_data=True, note="Past 100 %: the online phase."),
    "gradient_steps": Axis("gradient steps", of_data=False),
    "wall_time": Axis(
        "wall time (s)",
        of_data=False,
        note="Wall time: of training and evaluation, added up over attempts; runs of one stack share it.",
    ),
}


def placed(run: RunResult, metric: str, x: str) -> tuple[Floats, Floats]:
    """The run's curve over the axis `x`: places [P], increasing, and values [P]; empty where it lacks what that needs.

    Args:
        run: of `seqeval_rl.read_results`.
        metric: of its evaluations.
        x: one of `AXES`. `gradient_steps` are the run's own, for a static control too; `wall_time` needs the runs' clock.
    """
    if AXES[x].of_data:
        transitions, values = measured(run, metric)
        total = run.manifest["dataset"]["transitions"] or run.online
        return (transitions if x == "transitions" else 100 * transitions / total).astype(np.float64), values
    places: list[float] = []
    found: list[float] = []
    wall = 0.0
    for entry in run.evaluations:
        if x == "wall_time":
            if "seconds" not in entry["metrics"]:
                continue
            wall += entry["metrics"]["seconds"]
        if metric in entry["metrics"]:
            places.append(wall if x == "wall_time" else entry["gradient_steps"])
            found.append(entry["metrics"][metric])
    # Of several at one place the last counts, as over transitions.
    there, last = np.unique(np.array(places, np.float64)[::-1], return_index=True)
    return there, np.array(found, np.float64)[::-1][last]


def notes(axis: Axis, panels: list[Panel]) -> str:
    """What the caption says of the axis."""
    boundaries = any(len(panel.stretches) > 1 for panel in panels)
    parts = []
    if axis is AXES["wall_time"] or (axis is AXES["share"] and any(p.transitions and p.online for p in panels)):
        parts.append(axis.note)
    if not axis.of_data and boundaries:
        parts.append(_ELSEWHERE)
    return " ".join(parts)


@dataclass(frozen=True)
class Segment:
    """A stretch of a curve over which the same runs are there."""

    transitions: Floats  # [point]
    centre: Floats  # [point]
    interval: tuple[Floats, Floats] | None  # low and high [point]; None for one run
    runs: int
    whole: bool  # every run of the group is there, and at least one has finished


def segments(
    group: Group, metric: str = "score", statistic: Statistic = "iqm", seed: int = 0, x: str = "transitions"
) -> list[Segment]:
    """The group's curve in stretches, by transitions; empty where no run has been evaluated.

    Args:
        group: runs that differ only in seed.
        metric: of the runs' evaluations.
        statistic: `iqm` (below four runs the mean) or `mean`.
        seed: of the bootstrap.
        x: what the curve is over, one of `axes.AXES`; `Segment.transitions` are then places on it.
    """
    curves = [placed(run, metric, x) for run in group.runs]
    if not any(len(transitions) for transitions, _ in curves):
        return []
    points, values = align(curves)
    there = np.isfinite(values)
    edges = np.flatnonzero((there[:, 1:] != there[:, :-1]).any(axis=0)) + 1
    found = []
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(points)], strict=True):
        who = there[:, start]
        if not who.any():
            continue
        # A stretch with fewer runs begins where the one with more ended, so that the curve has no hole.
        first = start - 1 if start and there[who, start - 1].all() else start
        last = stop + 1 if stop < len(points) and there[who, stop].all() else stop
        scores = values[who, first:last][:, None, :]  # [run, task, point]
        aggregate = AGGREGATES[statistic]
        found.append(
            Segment(
                transitions=points[first:last],
                centre=aggregate(scores),
                interval=bootstrap_interval(scores, aggregate, seed=seed) if len(scores) > 1 else None,
                runs=len(scores),
                whole=bool(who.all()) and bool(group.having("finished")),
            )
        )
    return found
