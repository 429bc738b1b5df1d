"""Settings and arithmetic of the loop, against a plain simulation of the protocol's words."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

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


@st.composite
def online_schedules(draw):
    """With an online phase, after a dataset or without one."""
    log = draw(st.integers(0, 200))
    online = draw(st.integers(2 if log < 2 else 1, 200))
    log = log if log >= 2 else 0
    protocol = Protocol(
        initial=draw(st.integers(1, (log or online) - 1)),
        increment=draw(st.integers(1, 60)),
        updates_per_increment=draw(st.integers(1, 5)),
        batch_size=8,
        window=draw(st.none() | st.integers(8, 300)),
        evaluate_every=draw(st.integers(1, 500)),
        online=online,
    )
    return Schedule(protocol, log)


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


@given(online_schedules())
def test_the_online_phase_begins_where_the_dataset_ends(schedule):
    """The same loop, whose increments begin anew after the dataset, where it always evaluates."""
    p, log, total = schedule.protocol, schedule.dataset_length, schedule.total
    t, steps = p.initial, 0
    evaluations, seen = [(t, 0, max(t - log, 0))], []
    while t < total:
        before = t
        t += min(p.increment, log - t if t < log else total - t)
        for _ in range(p.updates_per_increment):
            seen.append((0 if p.window is None else max(0, t - p.window), t))
            steps += 1
        if t // p.evaluate_every > before // p.evaluate_every or t in (log, total):
            evaluations.append((t, steps, max(t - log, 0)))
    points = schedule.points()
    assert [(q.transitions, q.gradient_steps, q.env_steps) for q in points] == evaluations
    assert [q.phase for q in points] == ["online" if t > log else "offline" for t, *_ in evaluations]
    low, high = schedule.window(np.arange(schedule.gradient_steps))
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == seen


@given(schedules())
def test_the_static_control_sees_everything_at_the_same_gradient_steps(schedule):
    protocol = schedule.protocol.model_copy(update={"static": True, "window": None})
    static = Schedule(protocol, schedule.total)
    assert [p.gradient_steps for p in static.points()] == [p.gradient_steps for p in schedule.points()]
    assert {p.transitions for p in static.points()} == {schedule.total}
    low, high = static.window(np.arange(static.gradient_steps))
    assert (low == 0).all()
    assert (high == schedule.total).all()


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.integers(200, 1000))
def test_shares_of_the_dataset_are_transitions(initial, every, total):
    shares = Schedule(Protocol(initial=initial, evaluate_every=every), total)
    numbers = Schedule(Protocol(initial=round(initial * total), evaluate_every=round(every * total)), total)
    assert shares.points() == numbers.points()


@pytest.mark.parametrize("setting", ["initial", "evaluate_every"])
def test_a_share_without_a_dataset_is_refused(setting):
    protocol = Protocol(**{"initial": 5, "online": 100, setting: 0.5})
    with pytest.raises(UsageError, match=rf"protocol\.{setting} in transitions"):
        Schedule(protocol, 0)


@given(schedules())
def test_visible_sets_are_nested_grow_and_end_with_the_full_dataset(schedule):
    visible = schedule.visible(np.arange(schedule.increments + 1))
    assert visible[0] == schedule.protocol.initial
    assert (np.diff(visible) > 0).all()
    assert visible[-1] == schedule.total


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"initial": 0}, ["protocol.initial", "whole number of transitions from 1", "0"]),
        ({"increment": 0}, ["protocol.increment", "1"]),
        ({"updates_per_increment": 0}, ["protocol.updates_per_increment"]),
        ({"increment": "many"}, ["protocol.increment", "many"]),
        ({"order": "random"}, ["protocol.order", "shuffled"]),
        ({"window": 10, "batch_size": 11}, ["protocol.window", "11", "10"]),
        ({"initial": 1.5}, ["protocol.initial", "share of the dataset", "1.5"]),
        ({"static": True, "window": 300}, ["protocol.window", "static"]),
        ({"static": True, "online": 5}, ["protocol.online", "static"]),
        ({"incremnt": 2}, ["incremnt", "did you mean increment"]),
    ],
)
def test_bad_settings_are_named_with_what_was_found_and_expected(settings, words):
    with pytest.raises(UsageError) as error:
        Protocol.parse(settings, "my_suite.toml")
    for word in [*words, "my_suite.toml"]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dataset_not_longer_than_the_initial_slice_is_refused():
    with pytest.raises(DataError, match=r"initial = 50, found 50"):
        Schedule(Protocol(initial=50), 50)
