"""What a change of the data does to a curve, on the curve of the mean over runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import block_table, change, collect, group_curve, published_results
from seqeval_rl.plots.analysis.changes import change_of

if TYPE_CHECKING:
    from tests.plots.conftest import Results

PLACES = [10, 20, 30, 40, 50]
NAN = math.nan

curves = st.lists(st.integers(1, 1_000), min_size=2, max_size=20, unique=True).flatmap(
    lambda places: st.tuples(
        st.just(sorted(places)), st.lists(st.integers(-50, 150), min_size=len(places), max_size=len(places))
    )
)


def numbers(transitions: list[int], values: list[float], place: float, stop: float) -> list[float]:
    return [float(value) for value in vars(change(transitions, values, place, stop)).values()]


def test_each_quantity_is_that_of_its_definition() -> None:
    #                                     before | the block: 40, 20, 80, 70
    assert numbers([10, 20, 25, 30, 40, 50], [90, 60, 40, 20, 80, 70], 20, 50) == [60, 70, 75, 40, 20]
    assert numbers(PLACES, [10, 20, 30, 40, 50], 20, 50) == [20, 50, 45, 0, 0]
    # The last fifth of 15 evaluations is three.
    values = [float(place) for place in range(16)]
    assert numbers(list(range(16)), values, 0, 15) == [0, 15, 14, 0, 0]


@pytest.mark.parametrize("stop", [40, 41, 45.5, 49])
def test_a_block_that_ends_between_two_evaluations_is_complete(stop: float) -> None:
    assert numbers(PLACES, [10, 60, 20, 50, 90], 20, stop) == [60, 50, 35, 40, 10]


def test_a_curve_that_has_not_got_to_the_blocks_end_has_only_before() -> None:
    np.testing.assert_equal(numbers(PLACES[:3], [10, 60, 20], 20, 50), [60, NAN, NAN, NAN, NAN])
    for places, values in (([10], [10.0]), ([], [])):
        assert np.isnan(numbers(places, values, 20, 50)).all()
    # Without an evaluation before the change, as in online learning without a dataset.
    np.testing.assert_equal(numbers([30, 40, 50], [1, 2, 3], 20, 50), [NAN, 3, 2.5, NAN, NAN])
    # One evaluation makes no level.
    np.testing.assert_equal(numbers(PLACES, [1, 2, 3, 4, 5], 40, 50), [4, 5, NAN, 0, 0])


def test_a_value_that_is_not_finite_is_not_made_up() -> None:
    np.testing.assert_equal(numbers(PLACES, [NAN, 60, 20, 50, 40], 20, 50), [60, 40, 45, 40, 20])
    np.testing.assert_equal(numbers(PLACES, [70, 60, math.inf, 50, 40], 20, 50), [60, 40, 45, NAN, 30])
    np.testing.assert_equal(numbers(PLACES, [70, 60, 20, 50, NAN], 20, 50), [60, NAN, NAN, NAN, NAN])


@given(curves, st.data(), st.integers(-20, 20), st.integers(1, 5))
def test_changes_move_and_scale_with_the_scores_and_pad_nothing(
    curve: tuple[list[int], list[int]], data: st.DataObject, shift: int, scale: int
) -> None:
    places, values = curve
    place = data.draw(st.integers(places[0], places[-1] - 1))
    stop = data.draw(st.integers(place + 1, places[-1]))
    found = change(places, values, place, stop)
    block = [value for at, value in zip(places, values, strict=True) if place < at <= stop]
    assert found.before == [value for at, value in zip(places, values, strict=True) if at <= place][-1]
    assert math.isnan(found.after) == (not block)
    if block:
        assert found.after == block[-1]
        assert found.dip == max(0, found.before - min(block))
        assert found.forgotten >= max(0, found.before - found.after)
        assert math.isnan(found.level) if len(block) == 1 else min(block) <= found.level <= max(block)
    # Shifted and scaled together with the other curve, in one call.
    both = change(places, [values, [scale * value + shift for value in values]], place, stop)
    for name, value in vars(found).items():
        moved = shift if name in ("before", "after", "level") else 0
        np.testing.assert_allclose(getattr(both, name), [value, scale * value + moved], atol=1e-9)
    # What comes after the block plays no part, and a curve that stops earlier has no number but what the whole curve has.
    later = change([*places, places[-1] + 1], [*values, 1_000], place, stop)
    np.testing.assert_equal(vars(later), vars(found))
    cut = data.draw(st.integers(0, len(places) - 1))
    for name, value in vars(change(places[:cut], values[:cut], place, stop)).items():
        assert math.isnan(value) or value == getattr(found, name)


BLOCKS = (("random", 0, 1_000, 1.0), ("medium", 1_000, 1_990, 40.0))
AT = [200, 600, 1_000, 1_400, 1_800, 1_990]


def test_the_dip_of_the_mean_is_not_the_mean_of_the_dips(results: Results) -> None:
    # Each run falls once, at another place; their mean falls by half as much.
    results.add("iql", 0, blocks=BLOCKS, transitions=AT, scores=[0.0, 10.0, 30.0, 10.0, 30.0, 40.0])
    results.add("iql", 1, blocks=BLOCKS, transitions=AT, scores=[0.0, 10.0, 30.0, 30.0, 10.0, 50.0])
    results.add("iql", 2, blocks=BLOCKS, transitions=AT, scores=[0.0, 99.0, 99.0, 99.0, 99.0, 99.0], upto=5)
    (panel,) = collect(results.read())
    curve = group_curve(panel.groups[0], 1_000, 1_990)
    assert (curve.runs, curve.centre.tolist()) == (2, [0, 10, 30, 20, 20, 45])
    cells = change_of(curve, 1_000, 1_990)
    assert [cell.value for cell in cells] == [30, 45, 32.5, 10, 0]
    assert [(cell.low, cell.high) for cell in cells] == [(30, 30), (40, 50), (30, 35), (10, 20), (0, 0)]
    assert [cell.runs for cell in cells] == [2] * 5
    (row,) = block_table(results.read()).rows
    assert row.cells == tuple(cells)
    assert "(2 of 3)" in block_table(results.read()).markdown()


def test_an_unfinished_group_has_no_number_and_an_unknown_statistic_is_refused(results: Results) -> None:
    results.add("iql", 0, blocks=BLOCKS, transitions=AT, scores=[1.0] * 6, upto=4)
    (panel,) = collect(results.read())
    curve = group_curve(panel.groups[0], 1_000, 1_990)
    assert curve.runs == 0
    assert np.isnan([cell.value for cell in change_of(curve, 1_000, 1_990)]).all()
    with pytest.raises(UsageError, match="unknown statistic 'median'"):
        group_curve(panel.groups[0], 1_000, 1_990, statistic="median")  # type: ignore[arg-type]


def test_published_curves_in_bins_are_complete_where_their_last_bin_is() -> None:
    table = block_table(published_results("mixed"))
    # 333 000 and 666 000 lie between two bins, and the last bin of 999 000 transitions begins at 950 000.
    assert len(table.rows) == 3 * 2 * 5
    assert all(np.isfinite(cell.value) for row in table.rows for cell in row.cells)
    row = next(
        row for row in table.rows if row.dataset.startswith("hopper-mixed-v2: random") and "IQL" in row.algorithm
    )
    runs = [run for run in published_results("mixed") if (run.dataset, run.algorithm) == ("hopper-mixed-v2", "iql")]
    at = {place: np.mean([dict(zip(*run.curve(), strict=True))[place] for run in runs]) for place in (300_000, 650_000)}
    assert [cell.value for cell in row.cells[:2]] == pytest.approx([at[300_000], at[650_000]])
