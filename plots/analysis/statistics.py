"""Aggregates of scores over runs and tasks with stratified bootstrap intervals, as in Agarwal et al., arXiv 2108.13264.

Score arrays have the axes `[run, task, point]`: a run is one seed, a task one dataset, a point one value per run (a
place on the x-axis, or a quantity of a table). A run has all its points, or is absent: then it is NaN at every point.
Tasks may have different numbers of runs; each task counts as much as any other, so that a run of a task with n runs
weighs 1 / (tasks * n). Nothing is padded.

Each aggregate takes besides the scores how often every run was drawn, so that one implementation gives the value and its
bootstrap: the scores are sorted once, not once for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Statistic = Literal["iqm", "mean"]
SAMPLES = 2_000  # of the bootstrap
_BLOCK = 4_000_000  # samples times scores at once, at most


@dataclass(frozen=True)
class Cell:
    """One quantity of one algorithm on one dataset, over the runs that have it."""

    value: float  # NaN where no run has it
    low: float  # ends of the 95 % interval; NaN for fewer than two runs
    high: float
    runs: int  # how many runs it is made of
    limit: float = float("inf")  # what is not below it is only known to be above it: shown as "> limit"
    falls: bool = False  # whether it is of a decline: shown with "↓", and not compared with others


NOTHING = Cell(float("nan"), float("nan"), float("nan"), 0)


class Aggregate(Protocol):
    """Scores [run, task, point] -> one value per point [point]."""

    def __call__(self, scores: Floats, counts: Counts | None = None) -> Floats:
        """With `counts` [sample, run, task], how often each run was drawn: one value per sample, [sample, point]."""


def mean(scores: Floats, counts: Counts | None = None) -> Floats:
    """Mean over tasks of the mean over a task's runs: [run, task, point] -> [point]; see `Aggregate`."""
    values, weights = _pooled(scores, counts)
    return _shape(weights.T @ values / len(values), counts)


def interquartile_mean(scores: Floats, counts: Counts | None = None) -> Floats:
    """Mean of the middle half over runs and tasks together: [run, task, point] -> [point]; see `Aggregate`.

    Of n scores the floor(n / 4) lowest and highest are left out, as `scipy.stats.trim_mean(x, 0.25)` does; below four
    scores it is the mean. Where tasks have different numbers of runs, the same share of the weight is left
    out. Source: Agarwal et al., arXiv 2108.13264, section 4.3.
    """
    values, weights = _pooled(scores, counts)
    total = len(values)
    cut = total // 4
    middles = np.empty((weights.shape[1], values.shape[1]))
    for point, order in enumerate(np.argsort(values, axis=0).T):
        # From how much weight lies below to how much of each score lies in the middle half.
        below = np.cumsum(weights[order], axis=0, dtype=weights.dtype)
        np.clip(below, cut, total - cut, out=below)
        inside = np.diff(below, axis=0, prepend=weights.dtype.type(cut))
        middles[:, point] = values[order, point] @ inside / (total - 2 * cut)
    return _shape(middles, counts)


def median(scores: Floats, counts: Counts | None = None) -> Floats:
    """Median over tasks of the mean over a task's runs: [run, task, point] -> [point]; see `Aggregate`.

    The median that benchmarks report; of one task it is the mean. Source: Agarwal et al., arXiv 2108.13264.
    """
    return _shape(np.median(task_means(scores, counts), axis=1), counts)


def optimality_gap(scores: Floats, counts: Counts | None = None, *, target: float = 100.0) -> Floats:
    """How much scores fall short of `target` on average, E max(0, target - score): [run, task, point] -> [point].

    Lower is better; a score above the target does not compensate for others. See `Aggregate`. Source: Agarwal et al., arXiv
    2108.13264, section 4.3.
    """
    return mean(np.maximum(target - np.asarray(scores, np.float64), 0.0), counts)


AGGREGATES: dict[str, Aggregate] = {"iqm": interquartile_mean, "mean": mean}
GAP = "optimality gap"
ACROSS: dict[str, Aggregate] = {
    "IQM": interquartile_mean,
    "median": median,
    "mean": mean,
    GAP: optimality_gap,
}


def task_means(scores: Floats, counts: Counts | None = None) -> Floats:
    """Mean over a task's runs: [run, task, point] -> [sample, task, point], one sample if there are no `counts`."""
    scores = np.asarray(scores, np.float64)
    mask = present(scores)
    drawn = np.ones((1, *mask.shape)) if counts is None else counts
    known = np.where(mask[:, :, None], scores, 0.0)
    sums = drawn.transpose(2, 0, 1) @ known.transpose(1, 0, 2)  # [task, sample, point]
    return sums.transpose(1, 0, 2) / mask.sum(axis=0)[:, None]


def normalise(scores: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Scores on another scale for each task, 100 * (score - low) / (high - low): [run, task, point] -> the same.

    Args:
        scores: [run, task, point].
        low: [task], what becomes 0.
        high: [task], what becomes 100, for example the mean scores of the datasets.

    Raises:
        ValueError: a task's high is its low.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if np.any(equal := high == low):
        raise ValueError(f"task {int(np.argmax(equal))}: expected a high that differs from its low, found equal ones")
    return 100 * (np.asarray(scores, np.float64) - low[:, None]) / (high - low)[:, None]


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Share of runs with a score above each threshold, 0 to 1, averaged over tasks: [run, task], [tau] -> [tau].

    It never rises with the threshold; the area below it, from 0 up, is the mean of the scores cut off at 0. Source:
    Agarwal et al., arXiv 2108.13264, section 4.2 (run-score distributions); Dolan and Moré, arXiv cs/0102001.

    Args:
        scores: [run, task].
        thresholds: [tau].
    """
    return mean(above(scores, thresholds))


def above(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """1 where a score is above a threshold, 0 where not, NaN where there is no score: [run, task, tau]."""
    scores = with_point(scores)
    return np.where(np.isnan(scores), np.nan, (scores > np.asarray(thresholds, np.float64)).astype(np.float64))


def with_point(scores: ArrayLike) -> Floats:
    """[run, task] -> [run, task, 1]."""
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2:
        raise ValueError(f"scores: expected axes [run, task], found shape {scores.shape}")
    return scores[:, :, None]


def present(scores: Floats) -> Mask:
    """Mask of the runs that are not absent: [run, task, point] -> [run, task].

    Raises:
        ValueError: wrong axes, a run with some of its points only, an infinite score, or a task without any run.
    """
    if scores.ndim != 3:
        raise ValueError(f"scores: expected axes [run, task, point], found shape {scores.shape}")
    absent = np.isnan(scores)
    mask: Mask = np.logical_not(absent.all(axis=2))
    if np.isinf(scores).any() or (absent.any(axis=2) & mask).any() or not mask.any(axis=0).all():
        raise ValueError(
            "scores: expected finite numbers, or NaN at every point of an absent run, and a run of every task; "
            "leave out what is missing"
        )
    return mask


def _pooled(scores: Floats, counts: Counts | None) -> tuple[Floats, NDArray[Any]]:
    """The runs of all tasks that are not absent: values [n, point] and their weights [n, sample], n in all in each sample."""
    scores = np.asarray(scores, np.float64)
    mask = present(scores)
    drawn = np.ones((1, *mask.shape), np.int64) if counts is None else counts
    values = scores[mask]
    weights = drawn[:, mask].T
    if mask.all() and len(values) <= np.iinfo(np.int16).max:
        # A cumulated weight is at most n: small whole numbers, which are exact and the fastest to sum.
        return values, weights.astype(np.int16, order="C")
    share = len(values) / (mask.shape[1] * mask.sum(axis=0))  # of a run, [task]
    return values, np.ascontiguousarray(weights * np.broadcast_to(share, mask.shape)[mask][:, None])


def _shape(values: Floats, counts: Counts | None) -> Floats:
    """[sample, point], or [point] of the only sample where nothing was drawn."""
    return values[0] if counts is None else values


def bootstrap_interval(
    scores: ArrayLike,
    aggregate: Aggregate = interquartile_mean,
    *,
    confidence: float = 0.95,
    samples: int = SAMPLES,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Stratified percentile bootstrap interval of `aggregate`.

    Runs are drawn with replacement within each task, a run with all its points, so that neighbouring points of a curve
    move together. With three runs of one task the 95 % interval is their range, since 1 in 27 samples is the lowest run
    thrice. Source: Agarwal et al., arXiv 2108.13264, section 4.1; Efron and Tibshirani, An Introduction to the
    Bootstrap, chapter 13.

    Args:
        scores: [run, task, point], at least two runs of every task; NaN at every point of an absent run.
        aggregate: what is computed for each sample.
        confidence: share of samples inside the interval.
        samples: bootstrap samples.
        seed: of the generator; the same scores and seed give the same interval.

    Returns:
        Lower and upper ends, each [point].

    Raises:
        ValueError: wrong axes, a single run of some task, or a score that is not finite.
    """
    scores = np.asarray(scores, np.float64)
    mask = check_intervals(scores, confidence, samples)
    counts = draws(mask, samples, seed)
    block = max(1, _BLOCK // scores.size) if scores.size else samples
    values = [aggregate(scores, counts[start : start + block]) for start in range(0, samples, block)]
    return percentiles(np.concatenate(values), confidence)


def profile_interval(
    scores: ArrayLike, thresholds: ArrayLike, *, confidence: float = 0.95, samples: int = SAMPLES, seed: int = 0
) -> tuple[Floats, Floats]:
    """Bootstrap interval of `performance_profile` at each threshold, two of [tau]; arguments as `bootstrap_interval`'s."""
    return bootstrap_interval(above(scores, thresholds), mean, confidence=confidence, samples=samples, seed=seed)


def check_intervals(scores: Floats, confidence: float, samples: int) -> Mask:
    """Mask of the runs that are not absent, [run, task]; raises `ValueError` for scores without a bootstrap interval."""
    if scores.ndim != 3 or scores.shape[0] < 2:
        raise ValueError(f"scores: expected axes [run, task, point] with at least 2 runs, found shape {scores.shape}")
    if not 0 < confidence < 1 or samples < 1:
        raise ValueError(f"expected 0 < confidence < 1 and samples >= 1, found {confidence} and {samples}")
    mask = present(scores)
    if mask.sum(axis=0).min(initial=2) < 2:
        raise ValueError(f"scores: expected at least 2 runs of every task, found {mask.sum(axis=0).tolist()}")
    return mask


def draws(mask: Mask, samples: int, seed: int | Sequence[int]) -> Counts:
    """How often each run is drawn with replacement, within each task as many as the task has: [sample, run, task]."""
    generator = np.random.default_rng(seed)
    runs, tasks = mask.shape
    if mask.all():
        chosen = generator.integers(runs, size=(samples, runs, tasks))
        places = (np.arange(samples)[:, None, None] * runs + chosen) * tasks + np.arange(tasks)
    else:
        columns = []
        for task, column in enumerate(mask.T):
            (rows,) = np.nonzero(column)
            chosen = rows[generator.integers(len(rows), size=(samples, len(rows)))]
            columns.append((np.arange(samples)[:, None] * runs + chosen) * tasks + task)
        places = np.concatenate(columns, axis=1)
    return np.bincount(places.ravel(), minlength=samples * runs * tasks).reshape(samples, runs, tasks)


def percentiles(values: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The ends of the middle `confidence` of bootstrap samples: [sample, ...] -> two of [...]."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high


def difference_of_means(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Cell:
    """The mean of the first less that of the second, of finite numbers [run], with its 95 % interval; runs of both are drawn
    independently, and `runs` counts the first."""
    sides = [values[np.isfinite(values)] for values in (np.asarray(first, np.float64), np.asarray(second, np.float64))]
    if not all(len(values) for values in sides):
        return NOTHING
    scores = np.full((max(map(len, sides)), 2, 1), np.nan)  # [run, side, point]
    for side, values in enumerate(sides):
        scores[: len(values), side, 0] = values
    several = min(map(len, sides)) > 1
    low, high = bootstrap_interval(scores, _first_less_second, seed=seed) if several else ([np.nan], [np.nan])
    return Cell(float(_first_less_second(scores)[0]), float(low[0]), float(high[0]), len(sides[0]))


def _first_less_second(scores: Floats, counts: Counts | None = None) -> Floats:
    means = task_means(scores, counts)
    difference = means[:, 0] - means[:, 1]
    return difference[0] if counts is None else difference


def mean_cell(values: ArrayLike, seed: int = 0) -> Cell:
    """The mean of the finite numbers [run] with its 95 % interval."""
    scores = np.asarray(values, np.float64)
    scores = scores[np.isfinite(scores), None, None]  # [run, task, point]
    if not len(scores):
        return NOTHING
    low, high = bootstrap_interval(scores, mean, seed=seed) if len(scores) > 1 else ([np.nan], [np.nan])
    return Cell(float(scores.mean()), float(low[0]), float(high[0]), len(scores))
