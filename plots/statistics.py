"""Statistics behind every figure and table: plain numpy, seeded, vectorised.

Score arrays have the axes `[run, task, point]`: a run is one seed, a task one dataset, a point one value per run (a
place on the x-axis, or a quantity of a table). Every run of every task must have every point; which runs are there is
decided before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Literal["iqm", "mean"]

# Largest block of resampled scores held at once, in numbers (8 bytes each).
_BLOCK = 4_000_000


class Aggregate(Protocol):
    """Scores [..., run, task, point] -> one value per point [..., point]."""

    def __call__(self, scores: Floats) -> Floats:
        """Reduces the axes run and task."""
        ...


def mean(scores: Floats) -> Floats:
    """Mean over runs and tasks: [..., run, task, point] -> [..., point]."""
    centre: Floats = np.asarray(scores, np.float64).mean(axis=(-3, -2))
    return centre


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of the middle half over runs and tasks together: [..., run, task, point] -> [..., point].

    Of n = runs * tasks scores the floor(n / 4) lowest and highest are left out, as `scipy.stats.trim_mean(x, 0.25)`
    does; below four scores it therefore *is* the mean. Source: Agarwal et al., arXiv 2108.13264, section 4.3.
    """
    scores = np.asarray(scores, np.float64)
    *leading, runs, tasks, points = scores.shape
    count = runs * tasks
    cut = count // 4
    ordered = np.sort(scores.reshape(*leading, count, points), axis=-2)
    middle: Floats = ordered[..., cut : count - cut, :].mean(axis=-2)
    return middle


AGGREGATES: dict[str, Aggregate] = {"iqm": interquartile_mean, "mean": mean}


def bootstrap_interval(
    scores: ArrayLike,
    aggregate: Aggregate = interquartile_mean,
    *,
    confidence: float = 0.95,
    samples: int = 2_000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Stratified percentile bootstrap interval of `aggregate`.

    Runs are drawn with replacement within each task, a run with all its points, so that neighbouring points of a curve
    move together. With three runs of one task the 95 % interval is their range, since 1 in 27 samples is the lowest run
    thrice. Source: Agarwal et al., arXiv 2108.13264, section 4.1; Efron and Tibshirani, An Introduction to the
    Bootstrap, chapter 13.

    Args:
        scores: [run, task, point], finite, at least two runs.
        aggregate: what is computed for each sample.
        confidence: share of samples inside the interval.
        samples: bootstrap samples.
        seed: of the generator; the same numbers give the same interval.

    Returns:
        Lower and upper ends, each [point].

    Raises:
        ValueError: wrong axes, one run only, or a score that is not finite.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 3 or scores.shape[0] < 2:
        raise ValueError(f"scores: expected axes [run, task, point] with at least 2 runs, found shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores: expected finite numbers; leave out what is missing before")
    if not 0 < confidence < 1 or samples < 1:
        raise ValueError(f"expected 0 < confidence < 1 and samples >= 1, found {confidence} and {samples}")
    runs, tasks, points = scores.shape
    generator = np.random.default_rng(seed)
    drawn = generator.integers(runs, size=(samples, runs, tasks))
    block = max(1, _BLOCK // scores.size) if scores.size else samples
    values = np.empty((samples, points))
    for start in range(0, samples, block):
        chosen = drawn[start : start + block]
        values[start : start + block] = aggregate(scores[chosen, np.arange(tasks)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high


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
        return float("nan")
    return float(values[np.searchsorted(transitions, target, side="right") - 1])


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
        return float("nan")
    return float(np.trapezoid(values, transitions) / (transitions[-1] - transitions[0]))


def align(curves: Sequence[tuple[ArrayLike, ArrayLike]]) -> tuple[Floats, Floats]:
    """Runs on the union of their evaluation points.

    Between two of its evaluations a run has the straight line that a figure draws there; before the first and after the
    last, and beside an evaluation that is not finite, it has nothing (NaN): nothing is padded.

    Args:
        curves: for each run transitions [P_run], increasing, and values [P_run].

    Returns:
        Transitions [point] and values [run, point].
    """
    points = np.unique(np.concatenate([np.asarray(transitions, np.float64) for transitions, _ in curves]))
    values = np.full((len(curves), len(points)), np.nan)
    for row, (transitions, value) in zip(values, curves, strict=True):
        if len(np.asarray(transitions)):
            row[:] = np.interp(
                points, np.asarray(transitions, np.float64), np.asarray(value, np.float64), np.nan, np.nan
            )
    return points, values
