from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from seqeval_rl.plots import change, forgetting, measured, reach, regret
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


def test_a_change_is_compared_with_the_evaluation_before_it() -> None:
    #            before | dip at 30, back at 40
    found = change([10, 20, 25, 30, 40, 50], [90, 60, 40, 20, 80, 70], 20, 50)
    assert found.before == 60
    assert found.after == 70
    assert found.dip == 40
    assert found.recovery == 20
    assert found.forgotten == 90 - 70
    # From 60 down to 40 over 5, to 20 over 5, and up to 80 over 10, of which two thirds are below 60.
    assert found.lost == pytest.approx((5 * 10 + 5 * 30 + 10 * (2 / 3) * 20) / 30)


def test_a_curve_that_never_falls_has_recovered_at_once() -> None:
    found = change(PLACES, [10, 20, 30, 40, 50], 20, 50)
    assert (found.dip, found.recovery, found.lost, found.forgotten) == (0, 0, 0, -30)


def test_a_curve_that_is_not_back_has_no_recovery_and_loses_to_the_end() -> None:
    found = change(PLACES, [10, 60, 20, 20, 20], 20, 50)
    assert math.isnan(found.recovery)
    assert found.dip == 40
    assert found.lost == pytest.approx((10 * 20 + 20 * 40) / 30)


def test_the_next_block_does_not_count() -> None:
    found = change(PLACES, [10, 60, 20, 20, 90], 20, 40)
    assert math.isnan(found.recovery)
    assert found.after == 20


def test_an_unfinished_run_has_only_what_it_has_shown() -> None:
    fallen = change(PLACES[:3], [10, 60, 20], 20, 50)
    np.testing.assert_equal(vars(fallen), dict(vars(fallen), before=60.0) | dict.fromkeys(
        ("after", "dip", "recovery", "lost", "forgotten"), NAN
    ))  # fmt: skip
    back = change(PLACES[:4], [10, 60, 20, 60], 20, 50)
    assert (back.before, back.recovery) == (60, 20)
    assert back.lost == pytest.approx(20 * 20 / 30)
    assert math.isnan(back.dip)
    assert math.isnan(back.after)
    # So far it has not fallen, but it may.
    rising = change(PLACES[:3], [10, 60, 70], 20, 50)
    assert math.isnan(rising.recovery)
    assert math.isnan(rising.lost)
    for short in (change(PLACES[:1], [10], 20, 50), change([], [], 20, 50), change([30, 50], [1, 2], 20, 50)):
        assert np.isnan(list(vars(short).values())).all()


@pytest.mark.parametrize("place", [1, 3])
def test_with_a_score_that_is_not_finite_nothing_is_known(place: int) -> None:
    values = [10.0, 60.0, 20.0, 60.0, 70.0]
    values[place] = NAN
    found = change(PLACES, values, 20, 50)
    assert np.isnan([found.after, found.dip, found.recovery, found.lost, found.forgotten]).all()


@settings(deadline=None)
@given(curves, st.data(), st.integers(-20, 20), st.integers(1, 5))
def test_changes_move_and_scale_with_the_scores_and_pad_nothing(
    curve: tuple[list[int], list[int]], data: st.DataObject, shift: int, scale: int
) -> None:
    places, values = curve
    place = data.draw(st.integers(places[0], places[-1] - 1))
    stop = places[-1]
    found = change(places, values, place, stop)
    again = change(places, [scale * value + shift for value in values], place, stop)
    assert again.recovery == pytest.approx(found.recovery, nan_ok=True)
    for name in ("before", "after"):
        assert getattr(again, name) == scale * getattr(found, name) + shift
    for name in ("dip", "lost", "forgotten"):
        assert getattr(again, name) == pytest.approx(scale * getattr(found, name), abs=1e-9)
    assert 0 <= found.lost <= found.dip * (places[-1] - places[0]) / (stop - place) + 1e-9
    assert math.isnan(found.recovery) or 0 <= found.recovery <= stop - place
    # The same area by a fine sum over the straight lines, up to where the curve is back.
    end = stop if math.isnan(found.recovery) else place + found.recovery if found.recovery else place
    last = max(p for p in places if p <= place)
    fine = np.linspace(last, max(end, last), 20_001)
    shortfall = np.maximum(found.before - np.interp(fine, places, values), 0)
    assert found.lost == pytest.approx(np.trapezoid(shortfall, fine) / (stop - place), abs=0.05)
    # A run that stops earlier gets no number but what the whole run has.
    cut = data.draw(st.integers(0, len(places) - 1))
    short = change(places[:cut], values[:cut], place, stop)
    for name, value in vars(short).items():
        assert math.isnan(value) or value == getattr(found, name)
    assert math.isnan(short.after)


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
