"""Settings and arithmetic of the loop, against a plain simulation of the protocol's words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.protocol import Protocol, Schedule


@st.composite
def schedules(draw):
    total = draw(st.integers(2, 400))
    batch_size = draw(st.integers(1, 20))
    protocol = Protocol(
        initial=draw(st.integers(1, total - 1)),
        increment=draw(st.integers(1, 60)),
        updates_per_increment=draw(st.integers(1, 5)),
        batch_size=batch_size,
        window=draw(st.none() | st.integers(batch_size, 300)),
        evaluate_every=draw(st.integers(1, 500)),
    )
    return Schedule(protocol, total)


def simulate(schedule):
    """The loop as the protocol words it: (t, gradient steps) at each evaluation, and what each gradient step may see."""
    p, total = schedule.protocol, schedule.total
    t, steps = p.initial, 0
    evaluations, seen = [(t, 0)], []
    while t < total:
        before = t
        t += min(p.increment, total - t)
        for _ in range(p.updates_per_increment):
            seen.append((0 if p.window is None else max(0, t - p.window), t))
            steps += 1
        if t // p.evaluate_every > before // p.evaluate_every or t == total:
            evaluations.append((t, steps))
    return evaluations, seen


@given(schedules())
def test_schedule_is_the_loop_of_the_protocol(schedule):
    evaluations, seen = simulate(schedule)
    points = schedule.points()
    assert [(p.transitions, p.gradient_steps) for p in points] == evaluations
    assert [p.index for p in points] == list(range(len(points)))
    low, high = schedule.window(np.arange(schedule.gradient_steps))
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == seen


@given(schedules())
def test_visible_sets_are_nested_grow_and_end_with_the_whole_log(schedule):
    visible = schedule.visible(np.arange(schedule.increments + 1))
    assert visible[0] == schedule.protocol.initial
    assert (np.diff(visible) > 0).all()
    assert visible[-1] == schedule.total


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"initial": 0}, ["protocol.initial", "greater than or equal to 1", "0"]),
        ({"increment": 0}, ["protocol.increment", "1"]),
        ({"updates_per_increment": 0}, ["protocol.updates_per_increment"]),
        ({"increment": "many"}, ["protocol.increment", "many"]),
        ({"order": "random"}, ["protocol.order", "shuffled"]),
        ({"window": 10, "batch_size": 11}, ["protocol.window", "11", "10"]),
        ({"incremnt": 2}, ["incremnt", "did you mean increment"]),
    ],
)
def test_bad_settings_are_named_with_what_was_found_and_expected(settings, words):
    with pytest.raises(UsageError) as error:
        Protocol.parse(settings, "my_suite.toml")
    for word in [*words, "my_suite.toml"]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_log_not_longer_than_the_initial_slice_is_refused():
    with pytest.raises(DataError, match=r"initial = 50, found 50"):
        Schedule(Protocol(initial=50), 50)
