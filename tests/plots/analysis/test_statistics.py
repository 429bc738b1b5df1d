from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats as scipy_stats

from seqeval_rl.plots.analysis.metrics import align, area_under_curve, score_at_share
from seqeval_rl.plots.analysis.statistics import (
    ACROSS,
    bootstrap_interval,
    draws,
    interquartile_mean,
    mean,
    median,
    normalise,
    optimality_gap,
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
    monkeypatch.setattr("seqeval_rl.plots.analysis.statistics._BLOCK", 64)
    # Sums of other lengths round differently in the last digit.
    np.testing.assert_allclose(whole, bootstrap_interval(scores), rtol=1e-12)


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        (np.zeros((1, 1, 2)), {}, "at least 2 runs"),
        (np.zeros((3, 2)), {}, "axes"),
        (np.full((3, 1, 1), np.nan), {}, "finite"),
        (np.full((3, 1, 1), np.inf), {}, "finite"),
        (np.array([[[1.0, 2.0]], [[3.0, np.nan]]]), {}, "NaN at every point"),
        (np.array([[[1.0], [2.0]], [[3.0], [np.nan]]]), {}, r"at least 2 runs of every task, found \[2, 1\]"),
        (np.zeros((3, 1, 1)), {"confidence": 1.0}, "confidence"),
        (np.zeros((3, 1, 1)), {"samples": 0}, "samples"),
    ],
)
def test_what_has_no_interval_is_refused(scores: np.ndarray, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(scores, **settings)


@settings(deadline=None)
@given(scores_arrays)
def test_the_other_aggregates_are_what_numpy_and_scipy_make_of_them(scores: np.ndarray) -> None:
    np.testing.assert_allclose(median(scores), np.median(scores.mean(0), axis=0), atol=1e-9)
    np.testing.assert_allclose(optimality_gap(scores), 100 - np.minimum(scores, 100).mean((0, 1)), atol=1e-9)
    np.testing.assert_allclose(optimality_gap(scores, target=10), 10 - np.minimum(scores, 10).mean((0, 1)), atol=1e-9)


ragged = st.tuples(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 2**32 - 1))


def made(runs: list[int], seed: int, points: int = 2) -> np.ndarray:
    """Scores [run, task, point] with so many runs of each task, in any rows; NaN where there is none."""
    generator = np.random.default_rng(seed)
    scores = np.full((max(runs) + 1, len(runs), points), np.nan)
    for task, number in enumerate(runs):
        rows = generator.choice(len(scores), number, replace=False)
        scores[rows, task] = generator.normal(50, 30, (number, points))
    return scores


@settings(deadline=None)
@given(ragged)
def test_tasks_count_alike_whatever_their_number_of_runs(case: tuple[list[int], int]) -> None:
    scores = made(*case)
    means = np.nanmean(scores, axis=0)  # [task, point]
    np.testing.assert_allclose(mean(scores), means.mean(0))
    np.testing.assert_allclose(median(scores), np.median(means, axis=0))
    np.testing.assert_allclose(
        optimality_gap(scores), np.nanmean(np.maximum(100 - scores, 0), axis=0).mean(0), atol=1e-9
    )
    # The definition, score by score: a share of the weight is cut off at either end.
    runs = np.array(case[0])
    there = ~np.isnan(scores[..., 0])
    weights = np.broadcast_to(1 / (len(runs) * runs), there.shape)[there]
    cut = (len(weights) // 4) / len(weights)
    for point, found in enumerate(interquartile_mean(scores)):
        total, below = 0.0, 0.0
        for value, weight in sorted(zip(scores[there][:, point], weights, strict=True)):
            total += value * max(0.0, min(below + weight, 1 - cut) - max(below, cut))
            below += weight
        assert found == pytest.approx(total / (1 - 2 * cut), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(ragged, st.floats(-100, 100), st.floats(0.01, 10), st.integers(0, 100))
def test_aggregates_move_and_scale_with_the_scores_and_know_no_order(
    case: tuple[list[int], int], shift: float, scale: float, seed: int
) -> None:
    scores = made(*case)
    shuffled = scores[np.random.default_rng(seed).permutation(len(scores))]
    shuffled = shuffled[:, np.random.default_rng(seed).permutation(scores.shape[1])]
    for aggregate in ACROSS.values():
        np.testing.assert_allclose(aggregate(shuffled), aggregate(scores), atol=1e-9)
    for aggregate in (mean, interquartile_mean, median):
        np.testing.assert_allclose(aggregate(scale * scores + shift), scale * aggregate(scores) + shift, atol=1e-7)


@pytest.mark.parametrize("runs", [[5, 5, 5], [2, 5, 3], [6]])
@pytest.mark.parametrize("name", ACROSS)
def test_counts_give_what_drawn_runs_give(name: str, runs: list[int]) -> None:
    """Each bootstrap sample, against the same aggregate of the array of drawn runs."""
    scores = made(runs, 8)
    there = ~np.isnan(scores[..., 0])
    counts = draws(there, 40, 3)
    assert (counts.sum(1) == runs).all()
    assert not counts[:, ~there].any()
    for found, count in zip(ACROSS[name](scores, counts), counts, strict=True):
        drawn = np.full((max(runs), *scores.shape[1:]), np.nan)
        for task, number in enumerate(runs):
            drawn[:number, task] = np.repeat(scores[:, task], count[:, task], axis=0)
        np.testing.assert_allclose(found, ACROSS[name](drawn), atol=1e-9)


@pytest.mark.parametrize("aggregate", [median, optimality_gap])
def test_intervals_of_one_task_are_scipys_for_the_other_aggregates_too(aggregate) -> None:
    scores = np.random.default_rng(1).normal(90, 15, size=(12, 1, 3))
    low, high = bootstrap_interval(scores, aggregate, samples=20_000)
    reference = scipy_stats.bootstrap(
        (scores[:, 0],),
        lambda x, axis: (x if aggregate is median else np.maximum(100 - x, 0)).mean(axis),
        axis=0, n_resamples=20_000, method="percentile", vectorized=True, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    width = reference.high - reference.low
    assert np.all(np.abs(low - reference.low) < 0.04 * width)
    assert np.all(np.abs(high - reference.high) < 0.04 * width)


def test_the_interval_is_that_of_sorting_every_sample() -> None:
    """The scores of a whole suite: bootstrapping by counts equals the plain way to 1e-9."""
    scores = np.random.default_rng(9).normal(50, 20, (25, 12, 5))
    drawn = np.random.default_rng(0).integers(25, size=(2_000, 25, 12))
    samples = [scipy_stats.trim_mean(scores[rows, np.arange(12)].reshape(300, 5), 0.25, axis=0) for rows in drawn]
    np.testing.assert_allclose(
        bootstrap_interval(scores), np.quantile(samples, [0.025, 0.975], axis=0), rtol=0, atol=1e-9
    )


def test_a_suites_interval_takes_well_under_two_seconds() -> None:
    scores = np.random.default_rng(10).normal(50, 20, (25, 12, 40))
    begin = time.perf_counter()
    bootstrap_interval(scores)
    assert time.perf_counter() - begin < 2


def test_a_wild_score_that_is_cut_off_leaves_no_trace_by_rounding() -> None:
    scores = np.array([50.0, 51.0, 52.0, 53.0, -1e15, 1e15, 50.5, 51.5])[:, None, None]
    assert interquartile_mean(scores)[0] == pytest.approx(51.25, abs=1e-12)


@pytest.mark.parametrize("aggregate", list(ACROSS.values()))
def test_aggregates_refuse_what_is_no_score_array(aggregate) -> None:
    with pytest.raises(ValueError, match="axes"):
        aggregate(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="a run of every task"):
        aggregate(np.array([[[1.0], [np.nan]]]))


def test_normalise_puts_each_task_on_its_own_scale() -> None:
    scores = np.array([[[10.0, 30.0], [5.0, 7.0]], [[20.0, np.nan], [6.0, 9.0]]])
    found = normalise(scores, [10, 5], [30, 7])
    np.testing.assert_allclose(found, [[[0, 100], [0, 100]], [[50, np.nan], [50, 200]]])
    with pytest.raises(ValueError, match="task 1"):
        normalise(scores, [10, 5], [30, 5])


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.25, 2.0), (0.5, 3.0), (0.62, 3.0), (0.63, 4.0), (0.75, 4.0), (0.76, 4.0), (1.0, 5.0), (0.0, 1.0), (0.15, 1.0)],
)
def test_score_at_share_is_the_nearest_evaluation_of_two_the_earlier(share: float, expected: float) -> None:
    assert score_at_share([5, 25, 50, 75, 100], [1, 2, 3, 4, 5], share, 100) == expected


def test_an_evaluation_that_is_too_far_does_not_count_and_100_per_cent_is_the_last() -> None:
    assert np.isnan(score_at_share([20, 50, 100], [1, 2, 3], 0.05, 100, within=14))
    assert score_at_share([20, 50, 100], [1, 2, 3], 0.05, 100, within=15) == 1
    assert score_at_share([20, 50, 97, 130], [1, 2, 3, 4], 1.0, 100, within=1) == 3
    # What comes after the data does not count, even where it is nearer.
    assert score_at_share([20, 50, 90, 101], [1, 2, 3, 4], 0.99, 100, within=10) == 3


def test_a_run_that_has_not_got_there_has_no_score() -> None:
    assert np.isnan(score_at_share([5, 25, 50, 74], [1, 2, 3, 4], 0.75, 100))
    assert np.isnan(score_at_share([5, 25, 50, 74], [1, 2, 3, 4], 1.0, 100))
    assert np.isnan(score_at_share([], [], 0.5, 100))
    # A bin that begins at 74 and reaches past the end.
    assert score_at_share([5, 25, 50, 74], [1, 2, 3, 4], 1.0, 100, evaluated_to=104) == 4


@given(
    st.integers(1, 50),
    st.integers(1, 400),
    st.integers(1, 300),
    st.integers(1, 4_000),
    st.sampled_from([0.25, 0.5, 0.75]),
)
def test_a_multiple_of_the_spacing_is_found_at_the_first_evaluation_from_it_on(
    increment: int, initial: int, every: int, longer: int, share: float
) -> None:
    """PROTOCOL.md, section 7: with any increment a share that is a multiple of the spacing is the evaluation made for it."""
    total = initial + longer
    seen = np.unique(np.minimum(initial + increment * np.arange(longer // increment + 2), total))
    crossed = np.flatnonzero(np.diff(seen // every)) + 1
    places = seen[np.unique([0, *crossed, len(seen) - 1])]
    target = share * total
    found = score_at_share(places, places, share, total, within=every / 2 + increment)
    distances = np.abs(places - target)
    assert math.isnan(found) == (distances.min() > every / 2 + increment)
    assert math.isnan(found) or abs(found - target) == distances.min()
    if target % every == 0 and target > initial and increment < every / 2:
        assert found == places[places >= target][0] or target - found <= places[places >= target][0] - target


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
