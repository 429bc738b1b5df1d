"""Adaptation speed, the time to a level, and sensitivity to drift."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st

from seqeval_rl.plots import collect, group_curve, lag, published_results, time_to
from seqeval_rl.plots.analysis.adaptation import drift, interleaved_control, lag_of, time_to_of

if TYPE_CHECKING:
    from tests.plots.conftest import Results

PLACES = np.arange(0, 20_001, 100.0)
CHANGE, END = 10_000, 20_000
heights = st.floats(5.01, 100) | st.floats(-100, -5.01)


@given(st.integers(1, 70), heights, st.floats(-50, 50))
def test_the_lag_of_a_step_is_its_delay(steps: int, height: float, before: float) -> None:
    delay = 100 * steps
    values = np.where(CHANGE + delay <= PLACES, before + height, before)
    # Between two evaluations the curve is a line.
    assert float(lag(PLACES, values, CHANGE, END)) == pytest.approx(delay - 50)


@given(st.floats(200, 1_000), heights)
def test_the_lag_of_an_exponential_approach_is_its_time_constant(constant: float, height: float) -> None:
    values = height * (1 - np.exp(-np.maximum(PLACES - CHANGE, 0) / constant))
    assert float(lag(PLACES, values * 1.001, CHANGE, END)) == pytest.approx(constant, rel=0.03)


@given(st.integers(0, 1_000), st.floats(-3, 3).filter(lambda scale: abs(scale) > 0.2), st.floats(-40, 40))
def test_the_lag_has_no_unit_of_score(seed: int, scale: float, shift: float) -> None:
    values = np.cumsum(np.random.default_rng(seed).normal(0, 4, len(PLACES)))
    expected, found = (float(lag(PLACES, each, CHANGE, END)) for each in (values, scale * values + shift))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-3) or math.isnan(found) or math.isnan(expected)


def test_there_is_no_lag_where_there_is_nothing_to_adapt_to_or_the_block_is_not_complete() -> None:
    values = np.where(PLACES > CHANGE, 4.9, 0.0)
    assert math.isnan(lag(PLACES, values, CHANGE, END))
    assert math.isfinite(lag(PLACES, values * 1.1, CHANGE, END))
    assert math.isnan(lag(PLACES[:-1], values[:-1] * 2, CHANGE, END))
    assert math.isnan(lag([], [], CHANGE, END))
    assert np.isnan(lag(PLACES, np.full((3, len(PLACES)), np.nan), CHANGE, END)).all()


def test_it_starts_with_before_and_ends_with_the_blocks_last_evaluation() -> None:
    # Before 10, level (50 + 60) / 2; the block is from 25 to 56: trapezoids over 25, 30, 40, 50.
    gaps = [45, 35, 5, -5]
    area = 5 * (gaps[0] + gaps[1]) / 2 + 10 * (gaps[1] + gaps[2]) / 2 + 10 * (gaps[2] + gaps[3]) / 2
    assert float(lag([10, 20, 30, 40, 50, 60], [0, 10, 20, 50, 60, 99], 25, 56)) == pytest.approx(area / 45)


def test_the_published_curves_of_hopper() -> None:
    """Random to medium: the fastest has the smallest number, and one that does not change has none."""
    panel = next(panel for panel in collect(published_results("mixed")) if panel.dataset == "hopper-mixed-v2")
    new = panel.blocks[1]
    found = {
        group.algorithm: lag_of(group_curve(group, new.start, new.stop), new.start, new.stop) for group in panel.groups
    }
    thousands = {name: round(cell.value / 1_000) for name, cell in found.items() if cell.runs}
    assert thousands == {"iql": 78, "td3_bc": 100, "awac": 121, "bc": 191}
    assert all(cell.low < cell.value < cell.high for name, cell in found.items() if name != "cql")
    assert not any(cell.falls for cell in found.values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 50, 0, 50, 60], 40),  # one evaluation at the level is not enough
        ([0, 50, 50, 0, 0, 0], 10),  # whatever comes afterwards
        ([60, 60, 0, 0, 0, 50], 50),  # never
        ([60, 0, 0, 0, 0, 0], 50),
    ],
)
def test_the_time_to_a_level_is_to_the_first_of_two_in_a_row(values: list[float], expected: float) -> None:
    places = [0, 10, 20, 30, 40, 50]
    assert float(time_to(places, values, 0, 50, 50)) == expected
    assert time_to(places, [values, values], 0, 50, 50).shape == (2,)


def curve_of(results: Results, algorithm: str = "iql"):
    (panel,) = collect(results.read())
    group = next(group for group in panel.groups if group.algorithm == algorithm)
    return group_curve(group, 10_000, 20_000)


TIMES = [0, 5_000, 10_000, 12_500, 15_000, 17_500, 20_000, 30_000]


def test_a_decline_is_marked_and_a_level_that_is_not_reached_has_a_limit(results: Results) -> None:
    for seed in range(3):
        results.add("iql", seed, transitions=TIMES, scores=[50.0 + seed] * 4 + [20.0] * 3 + [0.0])
        results.add("bc", seed, transitions=TIMES, scores=[5.0] * 3 + [45.0 + seed] * 5)
    decline = lag_of(curve_of(results), 10_000, 20_000)
    assert decline.falls
    assert decline.value == pytest.approx(3_750)
    assert decline.low == decline.high == decline.value
    never = time_to_of(curve_of(results), 10_000, 20_000, 55.0)
    assert (never.value, never.limit, never.runs) == (10_000, 10_000, 3)
    soon = time_to_of(curve_of(results, "bc"), 10_000, 20_000, 44.3)
    assert (soon.value, soon.limit) == (2_500, 10_000)
    assert time_to_of(curve_of(results), 10_000, 20_000, None).runs == 0


def test_a_lag_that_many_resamples_do_not_have_has_no_interval(results: Results) -> None:
    for seed, level in enumerate((0.0, 0.0, 40.0)):
        results.add("iql", seed, transitions=TIMES, scores=[0.0] * 3 + [level] * 5)
    cell = lag_of(curve_of(results), 10_000, 20_000)
    assert math.isfinite(cell.value)
    assert math.isnan(cell.low)
    assert math.isnan(cell.high)


def test_sensitivity_to_drift_is_the_controls_area_less_the_streams(results: Results) -> None:
    times = [3_000, 10_000, 20_000, 30_000]
    for seed in range(3):
        results.add("iql", seed, transitions=times, scores=[0.0, 10.0 + seed, 10.0, 10.0])
        results.add(
            "iql", seed, dataset="mixed", interleave=True, transitions=times, scores=[0.0, 40.0, 40.0 + seed, 10.0]
        )
    results.add("iql", 3, transitions=times, scores=[0.0, 10.0, 10.0, 10.0], upto=3)
    results.add("bc", 0, transitions=times, scores=[0.0] * 4)
    results.add("bc", 0, dataset="mixed", interleave=True, transitions=times, scores=[0.0] * 4, config={"alpha": 1.0})
    (panel,) = collect(results.read())
    found = {group.label: interleaved_control(group, panel.groups) for group in panel.groups}
    assert {label for label, control in found.items() if control} == {"IQL"}
    iql = next(group for group in panel.groups if group.label == "IQL")
    control = found["IQL"]
    assert control is not None
    ours, theirs, difference = drift(panel, iql, control)
    assert ours.value == pytest.approx((7 * 11 / 2 + 10 * 10.5 + 10 * 10) / 30)
    assert theirs.value == pytest.approx((7 * 40 / 2 + 10 * 40.5 + 10 * 25.5) / 30)
    assert difference.value == pytest.approx(theirs.value - ours.value)
    assert difference.low < difference.value < difference.high
    assert (ours.runs, theirs.runs, difference.runs) == (3, 3, 3)
