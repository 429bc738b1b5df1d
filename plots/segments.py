"""A group's curve: the statistic over its runs, in stretches over which the same runs are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqeval_rl.plots.axes import placed
from seqeval_rl.plots.groups import Group
from seqeval_rl.plots.measures import align
from seqeval_rl.plots.statistics import AGGREGATES, Floats, Statistic, bootstrap_interval


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
