"""States of run groups: split by run, joined again, saved and loaded."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn

from seqeval_rl.interface.state import RUNS, Stateful, join_states, split_state

SHARED = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=3))


@st.composite
def group_states(draw):
    """A state of R runs in any permitted form."""
    runs = draw(st.integers(1, 4))
    numbers = iter(range(10_000))

    def tensor(shape):
        return torch.tensor([next(numbers) for _ in range(int(torch.Size(shape).numel()))]).reshape(shape)

    with_runs = st.lists(st.integers(1, 3), max_size=2).map(lambda rest: tensor((runs, *rest)))
    leaves = st.one_of(SHARED, with_runs, st.just(0).map(lambda _: tensor(())))
    keys = st.one_of(st.integers(0, 3), st.text("abc", min_size=1, max_size=2))
    values = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=6,
    )
    return runs, draw(st.dictionaries(st.text("abc", min_size=1, max_size=2), values, max_size=4))


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group_states())
def test_split_and_joined_a_state_is_what_it_was(drawn):
    runs, state = drawn
    parts = split_state(state, runs)
    assert len(parts) == runs
    assert same(join_states(parts), state)
    for r, part in enumerate(parts):
        assert same(split_state(part, 1)[0], part)
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.ndim:
                assert torch.equal(part[key], value[r : r + 1])
    order = list(reversed(range(runs)))
    swapped = join_states([parts[r] for r in order])
    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.ndim:
            assert torch.equal(swapped[key], value[order])


def test_parts_are_copies():
    state = {"weights": torch.zeros(2, 3), "count": torch.tensor(1.0)}
    parts = split_state(state, 2)
    parts[0]["weights"].add_(1)
    parts[0]["count"].add_(1)
    assert state["weights"].sum() == 0
    assert state["count"] == 1
    whole = join_states(split_state(state, 2))
    whole["weights"].add_(1)
    assert state["weights"].sum() == 0


def test_states_of_single_run_algorithms_are_lists_by_run():
    state = {RUNS: [{"any": torch.zeros(5), "free": [1]}, {"other": "form"}]}
    parts = split_state(state, 2)
    assert parts[1] == {RUNS: [{"other": "form"}]}
    assert same(join_states(parts), state)
    with pytest.raises(ValueError, match="expected 3 runs, found 2"):
        split_state(state, 3)
    with pytest.raises(ValueError, match="single-run and of vectorized"):
        join_states([parts[0], {"weights": torch.zeros(1)}])


@pytest.mark.parametrize(
    ("states", "error", "message"),
    [
        ([], ValueError, "at least one"),
        ([{"turn": 0}, {"turn": 1}], ValueError, "/turn: runs disagree"),
        ([{"n": torch.tensor(1)}, {"n": torch.tensor(2)}], ValueError, "/n: runs disagree"),
        ([{"a": 1}, {"b": 1}], ValueError, "same keys"),
        ([{"a": [1]}, {"a": [1, 2]}], ValueError, "equal lengths"),
        ([{"a": 1}, {"a": "1"}], ValueError, "one type"),
        ([{"w": torch.zeros(1, 2)}, {"w": torch.zeros(1, 3)}], ValueError, "shapes differ"),
        ([{"a": {1, 2}}], TypeError, "found set"),
    ],
)
def test_states_that_do_not_fit_are_not_joined(states, error, message):
    with pytest.raises(error, match=message):
        join_states(states)


def test_a_state_without_the_run_axis_is_not_split():
    with pytest.raises(ValueError, match=r"/net/w: expected 2 runs on the first axis, found \(3, 2\)"):
        split_state({"net": {"w": torch.zeros(3, 2)}}, 2)
    with pytest.raises(TypeError, match="/x: expected a tensor or a Python scalar, found object"):
        split_state({"x": object()}, 1)


class Holder(Stateful):
    counters = ("turn",)

    def __init__(self, value):
        self.net = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.full((2,), value))
        self.optimizer = torch.optim.Adam([*self.net.parameters(), self.scale])
        self.turn = 0
        self.setting = value

    def train(self):
        self.optimizer.zero_grad()
        (self.net(torch.ones(1, 2)) * self.scale).sum().backward()
        self.optimizer.step()
        self.turn += 1


def test_everything_with_a_state_is_saved_and_loaded_as_a_copy():
    one, other = Holder(1.0), Holder(2.0)
    one.train()
    state = one.state_dict()
    assert sorted(state) == ["net", "optimizer", "scale", "turn"]
    other.load_state_dict(state)
    kept = copy.deepcopy(state)
    other.train()
    assert same(one.state_dict()["optimizer"]["state"], kept["optimizer"]["state"])  # not trained along
    one.train()
    assert same(one.state_dict()["optimizer"]["state"], other.state_dict()["optimizer"]["state"])
    assert torch.equal(one.scale, other.scale)
    assert other.turn == 2
    assert other.setting == 2.0  # no part of the state


def test_a_state_that_does_not_fit_is_refused():
    one = Holder(1.0)
    state = one.state_dict()
    with pytest.raises(ValueError, match="expected"):
        one.load_state_dict({key: value for key, value in state.items() if key != "turn"})
    with pytest.raises(ValueError, match="expected shape"):
        one.load_state_dict(state | {"scale": torch.zeros(3)})
