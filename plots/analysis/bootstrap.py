"""Stratified percentile bootstrap intervals: runs are drawn with replacement within each task; seeded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from seqeval_rl.plots.analysis.statistics import (
    Aggregate,
    Counts,
    Floats,
    Mask,
    above,
    interquartile_mean,
    mean,
    present,
)

_BLOCK = 4_000_000  # samples times scores at once, at most


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
    scores: ArrayLike, thresholds: ArrayLike, *, confidence: float = 0.95, samples: int = 2_000, seed: int = 0
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
