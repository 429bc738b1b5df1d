"""Measures of one run's curve: its scores at shares of the data, how soon it reaches a level, what the online phase brings.

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


def last_values(places: NDArray[Any], values: Floats) -> tuple[NDArray[Any], Floats]:
    """The distinct places, increasing, and of several values [P] at one place [P] the last."""
    distinct, first_from_end = np.unique(places[::-1], return_index=True)
    return distinct, values[::-1][first_from_end]


def measured(run: RunResult, metric: str | None = None) -> tuple[NDArray[np.int64], Floats]:
    """The run's (transitions [P], values [P]), where a figure has them; of several evaluations at one place the last.

    Without a metric it is the run's main one: the score, or the return where its task has no reference returns.

    A static control sees all data from the start; its place is where the sequential run had taken as many gradient steps,
    at min(initial + gradient_steps / updates_per_increment * increment, transitions of the dataset).
    """
    metric = metric or run.main_metric
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


def reached(run: RunResult, metric: str | None = None) -> float:
    """How far the run was evaluated, in transitions: up to its last evaluation, 0 without one.

    A published evaluation is a mean over the bin of transitions that begins there, so it reaches to the bin's end.
    """
    transitions, _ = measured(run, metric)
    return float(transitions[-1] + run.manifest.get("bin", 0)) if len(transitions) else 0.0


def part(transitions: ArrayLike, values: ArrayLike, stop: float) -> tuple[Floats, Floats]:
    """Curves up to `stop` transitions, included: transitions [point] and values [..., point]."""
    transitions, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    return transitions[transitions <= stop], values[..., transitions <= stop]


def complete(transitions: ArrayLike, stop: float, evaluated_to: float | None = None) -> bool:
    """Whether a curve was evaluated up to `stop`, judged by the whole of it: `stop` may lie between two evaluations.

    Args:
        transitions: [point], increasing; of the whole curve.
        stop: in transitions.
        evaluated_to: how far the curve was evaluated, see `reached`; its last point by default.
    """
    points = np.asarray(transitions)
    if evaluated_to is None:
        evaluated_to = points[-1] if len(points) else -np.inf
    return bool(evaluated_to >= stop)


def reach(
    transitions: ArrayLike, values: ArrayLike, level: float, stop: float, evaluated_to: float | None = None
) -> Reach:
    """The first evaluation at or above `level`, and the first from which on every evaluation is, up to `stop`.

    An evaluation that is not a finite number is not above any level. Nothing is interpolated: a run that was evaluated
    seldom reached the level no later than this.

    Args:
        transitions: [point], increasing; of the whole curve.
        values: [point].
        level: in the unit of the values.
        stop: transitions at the end; a run that has not got there may still fall again.
        evaluated_to: see `complete`.
    """
    finished = complete(transitions, stop, evaluated_to)
    transitions, values = part(transitions, values, stop)
    reached = values >= level
    first = float(transitions[np.argmax(reached)]) if reached.any() else np.nan
    if not len(reached) or not reached[-1] or not finished:
        return Reach(first, np.nan)
    below = np.flatnonzero(~reached)
    return Reach(first, float(transitions[below[-1] + 1 if len(below) else 0]))


def forgetting(transitions: ArrayLike, values: ArrayLike, stop: float, evaluated_to: float | None = None) -> float:
    """How far the last value up to `stop` lies below the highest, at least 0; NaN for a run that has not got to `stop`.

    Arguments as `reach`'s.
    """
    finished = complete(transitions, stop, evaluated_to)
    transitions, values = part(transitions, values, stop)
    if not len(values) or not finished:
        return np.nan
    return float(np.fmax.reduce(values) - values[-1])


def regret(
    transitions: ArrayLike,
    values: ArrayLike,
    start: float,
    stop: float,
    target: float = 100.0,
    evaluated_to: float | None = None,
) -> Floats | float:
    """Mean shortfall per transition from `start` to `stop`: 1 / (stop - start) * integral of (target - value), [...].

    The cumulative regret of online fine-tuning divided by the number of transitions, with the task's reference maximum
    for the optimum; a score above it compensates for others. Source: Nakamoto et al., Cal-QL, arXiv
    2303.05479 (there 1 - success rate). The curve begins with the last evaluation at or before `start`, or its first.

    Args:
        transitions: [point], increasing; of the whole curve.
        values: [..., point].
        start: where the online phase begins, in transitions.
        stop: where it ends; a run that has not got there has no regret.
        target: the optimum, in the unit of the values.
        evaluated_to: see `complete`.
    """
    finished = complete(transitions, stop, evaluated_to)
    transitions, values = part(transitions, values, stop)
    first = max(int(np.searchsorted(transitions, start, side="right")) - 1, 0)
    if not finished:
        return np.full(values.shape[:-1], np.nan)[()]
    return target - area_under_curve(transitions[first:], values[..., first:])


def score_at_share(
    transitions: ArrayLike,
    values: ArrayLike,
    share: float,
    total: float,
    within: float = np.inf,
    evaluated_to: float | None = None,
) -> float:
    """The value of the evaluation nearest to `share` of the data, of two the earlier; at 1 of the last. Never interpolated.

    Args:
        transitions: [point], increasing: transitions seen at each evaluation, of the whole curve.
        values: [point].
        share: of the data, 0 to 1.
        total: transitions of the data; evaluations after them, of an online phase, do not count.
        within: how far the evaluation may be from the share, in transitions; see `tolerance`.
        evaluated_to: see `complete`.

    Returns:
        NaN without such an evaluation, or if the run has not got that far.
    """
    place = share * total
    # A whole number of transitions, whatever the rounding: 0.7 * 10 is less than 7.
    if not complete(transitions, int(np.floor(place + 1e-6)), evaluated_to):
        return np.nan
    transitions, values = part(transitions, values, total)
    if share >= 1 and len(transitions):
        return float(values[-1])
    distances = np.abs(transitions - place)
    if not len(distances) or distances.min() > within + 1e-6:
        return np.nan
    return float(values[np.argmin(distances)])


def tolerance(run: RunResult) -> float:
    """How far from a share of the data its evaluation may be, in transitions: half the spacing and an increment."""
    every = run.protocol["evaluate_every"]
    if every < 1:  # a share of the dataset
        every = max(1, round(every * run.manifest["dataset"]["transitions"]))
    return float(every / 2 + run.protocol["increment"])


def run_at_share(run: RunResult, share: float) -> float:
    """The score of a run at a share of its dataset (of its online transitions where it has none), see `score_at_share`."""
    total = run.manifest["dataset"]["transitions"] or run.online
    return score_at_share(*measured(run), share, total, tolerance(run), reached(run))


def run_at_end(run: RunResult) -> float:
    """The score at the end of a run, after its online phase if it has one; NaN for a run that has not got there."""
    end = run.manifest["dataset"]["transitions"] + run.online
    return score_at_share(*measured(run), 1.0, end, evaluated_to=reached(run))


def check_share(*shares: float) -> None:
    """Raise `UsageError` for a share of the data that is not above 0 and at most 1."""
    for share in shares:
        if not 0 < share <= 1:
            raise UsageError(f"share of the data: expected above 0 and at most 1, found {share}. Give 0.5 for half.")


def area_under_curve(transitions: ArrayLike, values: ArrayLike) -> Floats | float:
    """Area by trapezoids divided by its width, so in the unit of `values`: the mean height of each curve, [...].

    Args:
        transitions: [point], increasing.
        values: [..., point].

    Returns:
        NaN for fewer than two points.
    """
    transitions, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    if len(transitions) < 2:
        return np.full(values.shape[:-1], np.nan)[()]
    return np.trapezoid(values, transitions) / (transitions[-1] - transitions[0])


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
