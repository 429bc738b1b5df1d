"""What a change of the data does to a group's curve: before, after, level, dip and forgotten, each with its interval.

The curve is that of the mean over runs: single runs fall and rise by chance, and a dip of their mean is one of the algorithm.
Intervals are of the same quantities of the curves of bootstrap resamples of the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from seqeval_rl.errors import unknown
from seqeval_rl.plots.analysis.grouping import Group
from seqeval_rl.plots.analysis.metrics import align, complete, measured, reached
from seqeval_rl.plots.analysis.statistics import AGGREGATES, SAMPLES, Cell, Floats, Statistic, draws, percentiles


@dataclass(frozen=True)
class Change:
    """What one curve, or each of several [...], does in the block that begins where the data change."""

    before: Floats  # the last evaluation at or before the change
    after: Floats  # the last evaluation at or before the block's end
    level: Floats  # mean over the last fifth of the block's evaluations, at least two
    dip: Floats  # before, less the lowest value in the block; at least 0
    forgotten: Floats  # the highest value at or before the change, less after; at least 0


def change(
    transitions: ArrayLike, values: ArrayLike, place: float, stop: float, evaluated_to: float | None = None
) -> Change:
    """What curves do in the block from `place`, where the data change, to `stop`.

    Whether the block is complete is judged by the whole curve: its end may lie between two evaluations. Of a block that is not
    complete, `before` alone is known. What needs a value that is not finite is NaN.

    Args:
        transitions: [point], increasing; of the whole curve.
        values: [..., point].
        place: where the data change, in transitions.
        stop: where they change next, or end.
        evaluated_to: see `metrics.complete`.
    """
    points, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    nothing = np.full(values.shape[:-1], np.nan)[()]
    until = int(np.searchsorted(points, place, side="right"))
    before = values[..., until - 1] if until and complete(points, place, evaluated_to) else nothing
    block = values[..., (points > place) & (points <= stop)]
    number = block.shape[-1]
    if not number or not complete(points, stop, evaluated_to):
        return Change(before, nothing, nothing, nothing, nothing)
    after, last = block[..., -1], max(2, round(number / 5))
    best = np.fmax.reduce(values[..., :until], axis=-1) if until else nothing
    return Change(
        before=before,
        after=after,
        level=block[..., -last:].mean(axis=-1) if number >= last else nothing,
        dip=np.maximum(before - block.min(axis=-1), 0.0),
        forgotten=np.maximum(best - after, 0.0),
    )


@dataclass(frozen=True)
class GroupCurve:
    """A statistic over a group's runs, and over bootstrap resamples of them."""

    transitions: Floats  # [point]
    centre: Floats  # [point]
    samples: Floats | None  # [sample, point]; None for fewer than two runs
    runs: int  # how many it is over
    evaluated_to: float  # transitions, at least `stop` of `group_curve`; see `metrics.reached`

    def cells(self, measure: Callable[[Floats], Sequence[Floats]]) -> list[Cell]:
        """Quantities of the curve, each with its 95 % interval: the same quantity of the resamples.

        Args:
            measure: values [..., point] at `transitions` -> for each quantity [...].
        """
        found = [float(value) for value in measure(self.centre)]
        ends = np.full((len(found), 2), np.nan)
        if self.samples is not None:
            ends = np.transpose(percentiles(np.transpose(measure(self.samples)), 0.95))
        return [
            Cell(value, low, high, self.runs) if np.isfinite(value) else Cell(np.nan, np.nan, np.nan, 0)
            for value, (low, high) in zip(found, ends.tolist(), strict=True)
        ]


def group_curve(
    group: Group, start: float, stop: float, *, metric: str | None = None, statistic: Statistic = "mean", seed: int = 0
) -> GroupCurve:
    """The group's curve over the runs that were evaluated up to `stop`, with finite values from `start` on.

    The curve is not cut at `stop`. Points before `start` at which one of these runs has no finite value are left out. Without
    such a run it is empty.

    Args:
        group: runs that differ only in seed.
        start: where the data change, in transitions; the last evaluation at or before it belongs to what must be finite.
        stop: where they change next, or end.
        metric: of the runs' evaluations; None: their main one.
        statistic: over runs, "mean" or "iqm" (below four runs the mean).
        seed: of the bootstrap.

    Raises:
        UsageError: an unknown statistic.
    """
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    runs = [run for run in group.runs if reached(run, metric) >= stop]
    if not runs:
        return GroupCurve(np.empty(0), np.empty(0), None, 0, 0.0)
    points, values = align([measured(run, metric) for run in runs])  # [run, point]
    first = max(int(np.searchsorted(points, start, side="right")) - 1, 0)
    values = values[np.isfinite(values[:, first : np.searchsorted(points, stop, side="right")]).all(axis=1)]
    known = np.isfinite(values).all(axis=0) if len(values) else np.zeros(len(points), bool)
    points, scores = points[known], values[:, None, known]  # [run, task, point]
    if not len(points):
        return GroupCurve(np.empty(0), np.empty(0), None, 0, 0.0)
    aggregate = AGGREGATES[statistic]
    number = len(scores)
    samples = aggregate(scores, draws(np.ones((number, 1), bool), SAMPLES, seed)) if number > 1 else None
    return GroupCurve(points, aggregate(scores), samples, number, min(reached(run, metric) for run in runs))


def change_of(curve: GroupCurve, place: float, stop: float) -> list[Cell]:
    """`change` of a group's curve, with intervals, in the order of `Change`'s fields."""

    def measure(values: Floats) -> list[Floats]:
        return list(vars(change(curve.transitions, values, place, stop, curve.evaluated_to)).values())

    return curve.cells(measure)
