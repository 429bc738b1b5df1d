"""Measures of one run's curve: how soon it reaches a level, what a change of data costs, what the online phase brings.

A curve is transitions `[point]`, increasing, and values `[point]`; between two evaluations it is a straight line, as figures
draw it. What was not measured is NaN: nothing is padded, and no run is assumed to continue as it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.statistics import Floats
from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class Reach:
    """When a curve reached a level."""

    first: float  # transitions at the first evaluation that is at or above the level; NaN if none is
    kept: float  # transitions at the first from which on every evaluation is; NaN if the last is not, or the run is unfinished


@dataclass(frozen=True)
class Change:
    """What a curve did after a place where its data changed, a block boundary or the switch to online."""

    before: float  # value of the last evaluation at or before the place
    after: float  # value of the last evaluation before the next such place
    dip: float  # how far the curve falls below `before`; 0 if it does not
    recovery: float  # transitions from the place until it is back at `before`; 0 if it never falls below
    lost: float  # area between `before` and the curve below it until then, divided by the width up to the next place
    forgotten: float  # the highest value up to the place, less `after`; below 0 if the curve has risen


def last_values(places: NDArray[Any], values: Floats) -> tuple[NDArray[Any], Floats]:
    """The distinct places, increasing, and of several values [P] at one place [P] the last."""
    distinct, first_from_end = np.unique(places[::-1], return_index=True)
    return distinct, values[::-1][first_from_end]


def measured(run: RunResult, metric: str = "score") -> tuple[NDArray[np.int64], Floats]:
    """The run's (transitions [P], values [P]), where a figure has them; of several evaluations at one place the last.

    A static control sees all data from the start; its place is where the sequential run had taken as many gradient steps,
    at min(initial + gradient_steps / updates_per_increment * increment, transitions of the dataset).
    """
    if not run.static:
        return last_values(*run.curve(metric))
    protocol, total = run.protocol, run.manifest["dataset"]["transitions"]
    initial = protocol["initial"]
    if initial < 1:  # a share of the dataset
        initial = max(1, round(initial * total))
    each = protocol["increment"] / protocol["updates_per_increment"]  # transitions per gradient step
    entries = [entry for entry in run.evaluations if metric in entry["metrics"]]
    places = [min(round(initial + entry["gradient_steps"] * each), total) for entry in entries]
    values = [entry["metrics"][metric] for entry in entries]
    return last_values(np.array(places, np.int64), np.array(values, np.float64))


def part(transitions: ArrayLike, values: ArrayLike, stop: float) -> tuple[Floats, Floats]:
    """The curve up to `stop` transitions, included."""
    transitions, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    return transitions[transitions <= stop], values[transitions <= stop]


def reach(transitions: ArrayLike, values: ArrayLike, level: float, stop: float) -> Reach:
    """The first evaluation at or above `level`, and the first from which on every evaluation is.

    An evaluation that is not a finite number is not above any level. Nothing is interpolated: a run that was evaluated
    seldom reached the level no later than this.

    Args:
        transitions: [point], increasing.
        values: [point].
        level: in the unit of the values.
        stop: transitions at the run's end; a run that has not got there may still fall again.
    """
    transitions, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    reached = values >= level
    first = float(transitions[np.argmax(reached)]) if reached.any() else np.nan
    if not len(reached) or not reached[-1] or transitions[-1] < stop:
        return Reach(first, np.nan)
    below = np.flatnonzero(~reached)
    return Reach(first, float(transitions[below[-1] + 1 if len(below) else 0]))


def change(transitions: ArrayLike, values: ArrayLike, place: float, stop: float) -> Change:
    """What the curve does after `place`, up to `stop`, compared with the last evaluation at or before `place`.

    Recovery is counted from `place` to the first evaluation at or above `before` that comes after one below it. A curve
    that is not back at `stop` has no recovery, and has lost the area up to there. Of a run that ended earlier only a recovery
    up to then is known, and no dip. With a value in (place, stop] that is not finite nothing is known.

    Args:
        transitions: [point], increasing.
        values: [point].
        place: where the data change, in transitions.
        stop: where they change next, or end.
    """
    transitions, values = part(transitions, values, stop)
    last = int(np.searchsorted(transitions, place, side="right")) - 1
    if last < 0 or transitions[-1] < place:
        return Change(*[np.nan] * 6)
    before = float(values[last])
    inside = values[last + 1 :]
    if not np.isfinite(before) or not len(inside) or not np.isfinite(inside).all():
        return Change(before, *[np.nan] * 5)
    complete = transitions[-1] >= stop
    fallen = np.flatnonzero(inside < before)
    back = np.flatnonzero((inside >= before) & (np.arange(len(inside)) > fallen[0])) if len(fallen) else fallen
    recovery = float(transitions[last + 1 + back[0]] - place) if len(back) else np.nan
    end = last + 1 + back[0] if len(back) else len(values) - 1
    known = complete or bool(len(back))
    lost = _shortfall(transitions[last : end + 1], values[last : end + 1], before) / (stop - place) if known else np.nan
    return Change(
        before=before,
        after=float(inside[-1]) if complete else np.nan,
        dip=max(0.0, before - float(inside.min())) if complete else np.nan,
        recovery=0.0 if complete and not len(fallen) else recovery,
        lost=lost,
        forgotten=float(np.nanmax(values[: last + 1]) - inside[-1]) if complete else np.nan,
    )


def forgetting(transitions: ArrayLike, values: ArrayLike, stop: float) -> float:
    """How far the last value lies below the highest, at least 0; NaN for a run that has not got to `stop`."""
    transitions, values = np.asarray(transitions), np.asarray(values, np.float64)
    if not len(values) or transitions[-1] < stop:
        return np.nan
    return float(np.fmax.reduce(values) - values[-1])


def regret(transitions: ArrayLike, values: ArrayLike, start: float, stop: float, target: float = 100.0) -> float:
    """Mean shortfall per transition from `start` to `stop`: 1 / (stop - start) * integral of (target - value).

    The cumulative regret of online fine-tuning divided by the number of transitions, with the task's reference maximum
    for the optimum; a score above it compensates for others. Source: Nakamoto et al., Cal-QL, arXiv
    2303.05479 (there 1 - success rate). The curve begins with the last evaluation at or before `start`, or its first.

    Args:
        transitions: [point], increasing.
        values: [point].
        start: where the online phase begins, in transitions.
        stop: where it ends; a run that has not got there has no regret.
        target: the optimum, in the unit of the values.
    """
    transitions, values = part(transitions, values, stop)
    first = max(int(np.searchsorted(transitions, start, side="right")) - 1, 0)
    if not len(transitions) or transitions[-1] < stop:
        return np.nan
    return target - area_under_curve(transitions[first:], values[first:])


def _shortfall(transitions: Floats, values: Floats, level: float) -> float:
    """Area between `level` and the curve's straight lines where these are below it, in values times transitions."""
    gaps = level - values
    left, right, widths = gaps[:-1], gaps[1:], np.diff(transitions)
    top, bottom = np.maximum(left, right), np.minimum(left, right)
    # A line that crosses the level leaves a triangle below it.
    crossing = (top > 0) & (bottom < 0)
    triangles = np.where(crossing, top**2 / np.where(crossing, 2 * (top - bottom), 1.0), 0.0)
    areas = np.where(bottom >= 0, (left + right) / 2, triangles)
    return float((areas * widths).sum())


def score_at_share(transitions: ArrayLike, values: ArrayLike, share: float, total: int) -> float:
    """The value of the last evaluation at or before `share` of the data; never an interpolated number.

    Args:
        transitions: [point], increasing: transitions seen at each evaluation.
        values: [point].
        share: of the data, 0 to 1.
        total: transitions of the whole stream.

    Returns:
        NaN if the first evaluation comes later, or if the run has not got that far.
    """
    transitions, values = np.asarray(transitions), np.asarray(values, np.float64)
    # In whole transitions, so that 0.75 of 30 000 is 22 500 whatever the rounding.
    target = int(np.floor(share * total + 1e-6))
    if not len(transitions) or transitions[-1] < target or transitions[0] > target:
        return np.nan
    return float(values[np.searchsorted(transitions, target, side="right") - 1])


def check_share(*shares: float) -> None:
    """Raise `UsageError` for a share of the data that is not above 0 and at most 1."""
    for share in shares:
        if not 0 < share <= 1:
            raise UsageError(f"share of the data: expected above 0 and at most 1, found {share}. Give 0.5 for half.")


def area_under_curve(transitions: ArrayLike, values: ArrayLike) -> float:
    """Area by trapezoids divided by its width, so in the unit of `values`: the mean height of the curve.

    Args:
        transitions: [point], increasing.
        values: [point].

    Returns:
        NaN for fewer than two points.
    """
    transitions, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    if len(transitions) < 2:
        return np.nan
    return float(np.trapezoid(values, transitions) / (transitions[-1] - transitions[0]))


def align(curves: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[Floats, Floats]:
    """Runs on the union of their evaluation points.

    Between two of its evaluations a run is interpolated linearly, as figures draw it; before the first and after the last,
    and next to an evaluation that is not finite, it is NaN: nothing is padded.

    Args:
        curves: for each run transitions [P_run], increasing, and values [P_run].

    Returns:
        Transitions [point] and values [run, point].
    """
    points = np.unique(np.concatenate([transitions for transitions, _ in curves]).astype(np.float64))
    values = np.full((len(curves), len(points)), np.nan)
    for row, (transitions, value) in zip(values, curves, strict=True):
        if len(transitions):
            row[:] = np.interp(points, transitions, value, np.nan, np.nan)
    return points, values
