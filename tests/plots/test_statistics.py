from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate
from scipy import stats as scipy_stats

from seqeval_rl.plots.statistics import (
    align,
    area_under_curve,
    bootstrap_interval,
    interquartile_mean,
    mean,
    score_at_share,
)

scores_arrays = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1e3, 1e3))
)


@settings(deadline=None)
@given(scores_arrays)
def test_interquartile_mean_is_scipys_trimmed_mean(scores: np.ndarray) -> None:
    flat = scores.reshape(-1, scores.shape[-1])
    np.testing.assert_allclose(interquartile_mean(scores), scipy_stats.trim_mean(flat, 0.25, axis=0), atol=1e-9)


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_below_four_runs_the_interquartile_mean_is_the_mean(runs: int) -> None:
    scores = np.random.default_rng(0).normal(size=(runs, 1, 5))
    np.testing.assert_allclose(interquartile_mean(scores), mean(scores))
    np.testing.assert_allclose(mean(scores), scores.mean((0, 1)))


def test_interquartile_mean_ignores_one_wild_run_in_five() -> None:
    scores = np.array([50.0, 51.0, 52.0, 53.0, -1e6])[:, None, None]
    assert interquartile_mean(scores)[0] == pytest.approx(51.0)


@pytest.mark.parametrize("aggregate", [mean, interquartile_mean])
def test_interval_of_one_task_is_scipys_percentile_bootstrap(aggregate) -> None:
    scores = np.random.default_rng(1).normal(60, 12, size=(12, 1, 4))
    low, high = bootstrap_interval(scores, aggregate, samples=20_000)
    reference = scipy_stats.bootstrap(
        (scores[:, 0],),
        lambda x, axis: x.mean(axis) if aggregate is mean else scipy_stats.trim_mean(x, 0.25, axis),
        axis=0, n_resamples=20_000, method="percentile", vectorized=True, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    width = reference.high - reference.low
    assert np.all(np.abs(low - reference.low) < 0.04 * width)
    assert np.all(np.abs(high - reference.high) < 0.04 * width)


def test_runs_are_drawn_within_each_task() -> None:
    """With tasks far apart, unstratified drawing would add the distance between tasks to the interval's width."""
    generator = np.random.default_rng(3)
    scores = np.stack([generator.normal(0, 1, (6, 2)), generator.normal(1_000, 1, (6, 2))], axis=1)
    low, high = bootstrap_interval(scores, mean)
    assert np.all(high - low < 2)
    draws = np.random.default_rng(4)
    samples = [
        np.mean([scores[draws.integers(6, size=6), task].mean(0) for task in range(2)], axis=0) for _ in range(4_000)
    ]
    np.testing.assert_allclose((low, high), np.quantile(samples, [0.025, 0.975], axis=0), atol=0.06)


def test_a_run_is_drawn_with_all_its_points() -> None:
    """Two points of which one is the other's negative: their intervals mirror each other only if drawn together."""
    scores = np.random.default_rng(5).normal(size=(5, 1, 1))
    low, high = bootstrap_interval(np.concatenate([scores, -scores], axis=-1), mean)
    assert low[0] == pytest.approx(-high[1], abs=1e-12)
    assert high[0] == pytest.approx(-low[1], abs=1e-12)


def test_the_interval_of_three_runs_is_their_range() -> None:
    low, high = bootstrap_interval(np.array([1.0, 5.0, 9.0])[:, None, None])
    assert (low[0], high[0]) == (1.0, 9.0)


def test_intervals_are_seeded_and_leave_the_global_generator_alone() -> None:
    scores = np.random.default_rng(6).normal(size=(7, 1, 3))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = bootstrap_interval(scores, seed=1), bootstrap_interval(scores, seed=1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, bootstrap_interval(scores, seed=2))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_blocks_of_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(7).normal(size=(5, 2, 3))
    whole = bootstrap_interval(scores)
    monkeypatch.setattr("seqeval_rl.plots.statistics._BLOCK", 64)
    np.testing.assert_array_equal(whole, bootstrap_interval(scores))


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        (np.zeros((1, 1, 2)), {}, "at least 2 runs"),
        (np.zeros((3, 2)), {}, "axes"),
        (np.full((3, 1, 1), np.nan), {}, "finite"),
        (np.zeros((3, 1, 1)), {"confidence": 1.0}, "confidence"),
        (np.zeros((3, 1, 1)), {"samples": 0}, "samples"),
    ],
)
def test_what_has_no_interval_is_refused(scores: np.ndarray, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(scores, **settings)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.25, 2.0), (0.5, 3.0), (0.74, 3.0), (0.75, 4.0), (1.0, 5.0), (0.04, np.nan), (0.05, 1.0)],
)
def test_score_at_share_is_the_last_evaluation_at_or_before(share: float, expected: float) -> None:
    found = score_at_share([5, 25, 50, 75, 100], [1, 2, 3, 4, 5], share, 100)
    np.testing.assert_equal(found, expected)


def test_a_run_that_has_not_got_there_has_no_score() -> None:
    assert np.isnan(score_at_share([5, 25, 50], [1, 2, 3], 0.75, 100))
    assert np.isnan(score_at_share([], [], 0.5, 100))


def test_share_is_counted_in_whole_transitions() -> None:
    # 0.7 * 10 is 7.000000000000001 or 6.99…, depending on the machine's mood.
    assert score_at_share([7, 10], [1, 2], 0.7, 10) == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30, unique=True), st.integers(0, 2**32 - 1))
def test_area_is_the_trapezoids_over_the_width(places: list[int], seed: int) -> None:
    places.sort()
    values = np.random.default_rng(seed).normal(50, 20, len(places))
    width = places[-1] - places[0]
    assert area_under_curve(places, values) == pytest.approx(integrate.trapezoid(values, places) / width)
    assert values.min() - 1e-9 <= area_under_curve(places, values) <= values.max() + 1e-9


def test_one_point_has_no_area() -> None:
    assert np.isnan(area_under_curve([5], [1.0]))


def test_align_interpolates_inside_a_run_and_pads_nothing() -> None:
    points, values = align([([0, 10, 20], [0.0, 1.0, 2.0]), ([5, 10], [7.0, 9.0]), ([], [])])
    np.testing.assert_array_equal(points, [0, 5, 10, 20])
    np.testing.assert_array_equal(values[0], [0, 0.5, 1, 2])
    np.testing.assert_array_equal(values[1], [np.nan, 7, 9, np.nan])
    assert np.isnan(values[2]).all()


def test_align_draws_no_line_to_an_evaluation_that_is_not_finite() -> None:
    _, values = align([([0, 10, 20, 30], [0.0, np.nan, 2.0, 3.0]), ([5, 25], [0.0, 0.0])])
    np.testing.assert_array_equal(values[0], [0, np.nan, np.nan, 2, 2.5, 3])
