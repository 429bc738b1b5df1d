from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from seqeval_rl.plots import forgetting, measured, reach, regret
from seqeval_rl.plots.analysis.metrics import part

if TYPE_CHECKING:
    from tests.plots.conftest import Results


PLACES = [10, 20, 30, 40, 50]
NAN = math.nan

curves = st.lists(st.integers(1, 1_000), min_size=2, max_size=20, unique=True).flatmap(
    lambda places: st.tuples(
        st.just(sorted(places)), st.lists(st.integers(-50, 150), min_size=len(places), max_size=len(places))
    )
)


@pytest.mark.parametrize(
    ("values", "level", "stop", "first", "kept"),
    [
        ([0, 50, 40, 60, 70], 50, 50, 20, 40),
        ([0, 50, 60, 60, 70], 50, 50, 20, 20),
        ([0, 50, 60, 60, 40], 50, 50, 20, NAN),
        ([0, 1, 2, 3, 4], 50, 50, NAN, NAN),
        ([60, 60, 60, 60, 60], 50, 50, 10, 10),
        ([0, 50, 60, 60, 70], 50, 60, 20, NAN),  # it goes on
        ([0, 50, NAN, 60, 70], 50, 50, 20, 40),
        ([0, 50, 60, 60, NAN], 50, 50, 20, NAN),
        ([0, 50, 60, 60, 70], NAN, 50, NAN, NAN),
    ],
)
def test_a_level_is_reached_at_an_evaluation_and_kept_from_one_on(
    values: list[float], level: float, stop: float, first: float, kept: float
) -> None:
    found = reach(PLACES, values, level, stop)
    np.testing.assert_equal((found.first, found.kept), (first, kept))


def test_nothing_is_reached_without_an_evaluation() -> None:
    found = reach([], [], 50, 50)
    np.testing.assert_equal((found.first, found.kept), (NAN, NAN))


@settings(deadline=None)
@given(curves, st.integers(-50, 150), st.integers(-20, 20), st.integers(1, 5))
def test_reach_moves_with_the_scores_and_is_kept_no_earlier_than_reached(
    curve: tuple[list[int], list[int]], level: int, shift: int, scale: int
) -> None:
    places, values = curve
    found = reach(places, values, level, places[-1])
    again = reach(places, [scale * value + shift for value in values], scale * level + shift, places[-1])
    np.testing.assert_equal((again.first, again.kept), (found.first, found.kept))
    assert math.isnan(found.kept) or found.first <= found.kept
    assert math.isnan(found.kept) == (values[-1] < level)
    assert math.isnan(found.first) == (max(values) < level)
    assert math.isnan(found.first) or found.first in places


@settings(deadline=None)
@given(curves, st.integers(-20, 20))
def test_forgetting_is_the_fall_from_the_best(curve: tuple[list[int], list[int]], shift: int) -> None:
    places, values = curve
    assert forgetting(places, values, places[-1]) == max(values) - values[-1]
    assert forgetting(places, [value + shift for value in values], places[-1]) == max(values) - values[-1]
    assert math.isnan(forgetting(places[:-1], values[:-1], places[-1]))
    assert math.isnan(forgetting([], [], 10))
    assert math.isnan(forgetting(places, [*values[:-1], NAN], places[-1]))


def test_regret_is_the_mean_shortfall_of_the_online_phase() -> None:
    assert regret(PLACES, [0, 50, 70, 110, 90], 20, 50) == pytest.approx(100 - (60 + 90 + 100) / 3)
    assert regret(PLACES, [0, 50, 50, 50, 50], 20, 50, target=60) == pytest.approx(10)
    # Plain online RL begins at its first evaluation.
    assert regret(PLACES, [0, 0, 0, 0, 100], 0, 50) == pytest.approx(100 - 50 / 4)
    assert math.isnan(regret(PLACES, [0, 50, 70, 110, 90], 20, 60))
    assert math.isnan(regret(PLACES, [0, 50, NAN, 110, 90], 20, 50))
    assert math.isnan(regret([50], [1], 50, 50))


def test_a_static_control_is_placed_where_the_sequential_run_had_its_gradient_steps(results: Results) -> None:
    blocks = (("medium", 0, 2_000, 44.3),)
    results.add(
        "iql", 0, blocks=blocks, transitions=[2_000] * 4, gradient_steps=[0, 100, 200, 1_000], scores=[1.0, 2.0, 3.0, 4.0],
        protocol={"static": True, "initial": 500, "increment": 4, "updates_per_increment": 2},
    )  # fmt: skip
    (run,) = results.read()
    transitions, scores = measured(run)
    assert transitions.tolist() == [500, 700, 900, 2_000]
    assert scores.tolist() == [1, 2, 3, 4]


def test_a_part_of_a_curve_ends_with_its_last_evaluation_inside() -> None:
    transitions, values = part(PLACES, [1, 2, 3, 4, 5], 35)
    assert (transitions.tolist(), values.tolist()) == ([10, 20, 30], [1, 2, 3])
