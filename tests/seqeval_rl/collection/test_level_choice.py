"""Which checkpoint is the medium policy and which the expert."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from seqeval_rl.collection.levels import expert, medium, records
from seqeval_rl.errors import DataError

scores = st.lists(st.floats(-50, 150, allow_nan=False), min_size=1, max_size=40)
learned = scores.filter(lambda values: max(values) > 0)


def test_medium_is_the_first_past_a_third_of_the_best():
    found = [1.0, 5.0, 29.9, 30.0, 20.0, 31.0, 60.0, 90.0, 40.0, 90.0]
    assert expert(found) == 7  # the first of equals
    assert medium(found) == 5  # 30.0 is not past it
    assert medium([10.0, 20.0]) == 0


@given(learned)
def test_levels_are_what_they_are_called(values):
    best, middle = expert(values), medium(values)
    assert values[best] == max(values)
    assert values[middle] > max(values) / 3
    assert all(value <= max(values) / 3 for value in values[:middle])
    assert middle <= best


@given(learned, learned)
def test_whatever_comes_later_levels_are_among_the_records_so_far(before, after):
    """So a training run needs to keep no other checkpoint."""
    for index in (expert(before + after), medium(before + after)):
        assert index >= len(before) or index in records(before)


@given(scores)
def test_records_rise(values):
    found = records(values)
    assert found[0] == 0
    assert (np.diff([values[i] for i in found]) > 0).all()
    assert max(values) == values[found[-1]]


@pytest.mark.parametrize("values", [[-3.0, -1.0], [0.0]])
def test_where_nothing_was_learned_there_are_no_levels(values):
    for level in (expert, medium):
        with pytest.raises(DataError, match="better than score 0"):
            level(values)
