from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats as scipy_stats

from seqeval_rl.plots import (
    improvement_interval,
    mean,
    mean_ranks,
    performance_profile,
    probability_of_improvement,
    profile_interval,
    rank_intervals,
)

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))


def made(runs: int, tasks: int, seed: int) -> np.ndarray:
    """Scores [run, task] with ties, and in tasks other than the first fewer runs."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 12, (runs, tasks)).astype(float)
    for task in range(1, tasks):
        scores[generator.integers(1, runs + 1) :, task] = np.nan
    return scores


@settings(deadline=None)
@given(shapes)
def test_probability_of_improvement_is_mann_whitneys_u_over_the_pairs(shape: tuple[int, int, int, int]) -> None:
    x, y = made(shape[0], shape[2], shape[3]), made(shape[1], shape[2], shape[3] + 1)
    shares = []
    for task in range(shape[2]):
        a, b = (scores[:, task][np.isfinite(scores[:, task])] for scores in (x, y))
        shares.append(scipy_stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    assert probability_of_improvement(x, y) == pytest.approx(np.mean(shares))


@settings(deadline=None)
@given(shapes, st.floats(-50, 50), st.floats(0.01, 10))
def test_one_is_better_as_often_as_the_other_is_worse(
    shape: tuple[int, int, int, int], shift: float, scale: float
) -> None:
    x, y = made(shape[0], shape[2], shape[3]), made(shape[1], shape[2], shape[3] + 1)
    found = probability_of_improvement(x, y)
    assert 0 <= found <= 1
    assert found + probability_of_improvement(y, x) == pytest.approx(1)
    assert probability_of_improvement(x, x) == pytest.approx(0.5)
    assert probability_of_improvement(scale * x + shift, scale * y + shift) == pytest.approx(found)
    assert probability_of_improvement(x[::-1, ::-1], y[::-1, ::-1]) == pytest.approx(found)
    ranks = mean_ranks([x, y, x])
    assert ranks.sum() == pytest.approx(1 + 2 + 3)
    assert ranks[0] == ranks[2]


def test_the_interval_of_improvement_is_that_of_drawing_runs() -> None:
    x = np.random.default_rng(0).normal(0.5, 1, (8, 3))
    y = np.random.default_rng(1).normal(0, 1, (6, 3))
    y[4:, 1] = np.nan
    low, high = improvement_interval(x, y, samples=8_000)
    assert low < probability_of_improvement(x, y) < high
    draws = np.random.default_rng(2)
    samples = []
    for _ in range(4_000):
        shares = []
        for task in range(3):
            a, b = x[:, task], y[np.isfinite(y[:, task]), task]
            a, b = draws.choice(a, len(a)), draws.choice(b, len(b))
            shares.append((a[:, None] > b).mean())
        samples.append(np.mean(shares))
    np.testing.assert_allclose((low, high), np.quantile(samples, [0.025, 0.975]), atol=0.02)
    assert (low, high) == improvement_interval(x, y, samples=8_000)
    assert improvement_interval(x, y, samples=30) != improvement_interval(x, y, samples=30, seed=1)


def test_of_one_task_the_interval_is_scipys() -> None:
    x, y = np.random.default_rng(3).normal(0.3, 1, 11), np.random.default_rng(4).normal(0, 1, 9)
    low, high = improvement_interval(x[:, None], y[:, None], samples=20_000)
    reference = scipy_stats.bootstrap(
        (x, y), lambda a, b: np.mean(np.greater.outer(a, b)), n_resamples=10_000, method="percentile",
        vectorized=False, rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.025)


@settings(deadline=None)
@given(shapes)
def test_a_profile_falls_from_one_to_zero_and_has_the_mean_below_it(shape: tuple[int, int, int, int]) -> None:
    scores = made(shape[0], shape[2], shape[3])
    thresholds = np.arange(-1, 13)
    share = performance_profile(scores, thresholds)
    assert (share[0], share[-1]) == (pytest.approx(1), 0)
    assert (np.diff(share) <= 1e-12).all()
    for task in range(shape[2]):
        there = scores[np.isfinite(scores[:, task]), task]
        np.testing.assert_allclose(performance_profile(scores[:, [task]], [3]), (there > 3).mean())
    # Whole numbers from 0: the sum of shares above 0, 1, 2, … is the mean.
    assert share[1:].sum() == pytest.approx(mean(scores[:, :, None])[0])


def test_a_profiles_band_is_inside_0_and_1_around_it_and_monotone() -> None:
    scores = np.random.default_rng(6).normal(50, 20, (5, 4))
    scores[3:, 2] = np.nan
    thresholds = np.linspace(0, 100, 51)
    low, high = profile_interval(scores, thresholds)
    share = performance_profile(scores, thresholds)
    assert ((low >= 0) & (low <= share) & (share <= high) & (high <= 1 + 1e-12)).all()
    assert (np.diff(low) <= 1e-12).all()
    assert (np.diff(high) <= 1e-12).all()
    assert (high - low).max() > 0.1


def test_ranks_are_scipys_of_the_means_averaged_over_tasks() -> None:
    scores = [np.random.default_rng(seed).normal(seed, 2, (4, 5)) for seed in range(3)]
    scores.append(scores[1].copy())
    means = -np.array([each.mean(0) for each in scores])
    np.testing.assert_allclose(mean_ranks(scores), scipy_stats.rankdata(means, axis=0).mean(1))
    low, high = rank_intervals(scores)
    assert ((low >= 1) & (low <= mean_ranks(scores)) & (mean_ranks(scores) <= high) & (high <= 4)).all()


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="the same tasks, found 2 and 3"):
        probability_of_improvement(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="axes"):
        probability_of_improvement([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="a run of every task"):
        probability_of_improvement([[1.0, np.nan]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="at least 2 runs"):
        improvement_interval([[1.0], [2.0]], [[1.0]])
