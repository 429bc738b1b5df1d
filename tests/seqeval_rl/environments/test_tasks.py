"""Tasks: reference returns or none, their scores, names and ids, bounds of actions that reach the environment."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
import unbounded
from hypothesis import given, strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.tasks import TASKS, Task, task_named
from seqeval_rl.errors import DataError, EnvironmentMissingError, UsageError

NUMBERS = st.floats(-1e6, 1e6)
BOUNDS = st.none() | NUMBERS | st.tuples(NUMBERS, NUMBERS)


@given(st.none() | st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] < pair[1]), BOUNDS, BOUNDS)
def test_a_task_is_what_its_fields_say_as_json(references: tuple[float, float] | None, low: Any, high: Any) -> None:
    task = Task("mine", "Mine-v0").override(references, low, high)
    assert Task(**json.loads(json.dumps(task.as_dict()))) == task
    assert task.references == references
    assert task.override() == task
    assert hash(task) == hash(Task("mine", "Mine-v0", *(references or (None, None)), "", (), low, high))


@given(st.lists(NUMBERS, min_size=1))
def test_scores_are_linear_in_returns_and_none_without_references(returns: list[float]) -> None:
    assert np.isnan(Task("mine", "Mine-v0").score(returns)).all()
    assert_allclose(Task("mine", "Mine-v0", -1.0, 3.0).score(returns), 25.0 * (np.array(returns) + 1.0), atol=1e-6)


@pytest.mark.parametrize("references", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0), (0.0, None)])
def test_reference_returns_are_two_finite_numbers_or_none(references: tuple[Any, Any]) -> None:
    with pytest.raises(DataError, match=r"task 'mine': expected finite reference returns.*or neither\."):
        Task("mine", "Mine-v0", *references)


def test_a_task_is_found_by_its_name_or_its_environment() -> None:
    assert task_named("d4rl/hopper") is TASKS["d4rl/hopper"]
    assert task_named("Hopper-v5") is TASKS["hopper"]
    assert task_named("Pendulum-v1") == Task("Pendulum-v1", "Pendulum-v1")
    assert task_named(unbounded.FREE) == Task(unbounded.FREE, unbounded.FREE)
    with pytest.raises(UsageError, match=r"unknown task 'hoper' in --task: did you mean hopper") as caught:
        task_named("hoper", "--task")
    assert len(str(caught.value)) < 700
    with pytest.raises(UsageError, match="Pendulum-v1"):
        task_named("Pendulum-1")
    with pytest.raises(EnvironmentMissingError, match=r"Pendulm-v1.*Did you mean Pendulum-v1"):
        make_vector_env(task_named("Pendulm-v1").environment, 1)


def test_an_environment_of_an_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(EnvironmentMissingError, match=r"d4rl/pen-v1.*pip install 'seqeval-rl\[robotics\]'\."):
        make_vector_env(TASKS["d4rl/pen"].environment, 1)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("name", "low", "high", "actions", "reached"),
    [
        (unbounded.FREE, -3.0, (2.0, 4.0), [-3.0, 4.0], [-3.0, 4.0]),
        # The environment clips what is outside its own bounds.
        (unbounded.PLAIN, -3.0, 3.0, [-3.0, 0.5], [-1.0, 0.5]),
        (unbounded.PLAIN, None, 0.5, [-1.0, 0.5], [-1.0, 0.5]),
    ],
)
def test_bounds_of_a_task_are_those_of_its_environment(
    name: str, low: Any, high: Any, actions: list[float], reached: list[float], workers: int
) -> None:
    task = task_named(name).override(None, low, high)
    with make_vector_env(task.environment, 2, workers=workers) as envs:
        expected = (-1.0 if low is None else low), high
        for found, bound in zip((envs.action_low, envs.action_high), expected, strict=True):
            assert_array_equal(found, np.broadcast_to(bound, 2))
        envs.reset([0, 1])
        _, rewards, _, _ = envs.step(np.array([actions, actions]), np.arange(2))
    assert_allclose(rewards, [sum(reached)] * 2)


def test_an_environment_without_bounds_says_what_to_give() -> None:
    with pytest.raises(DataError, match=r"Free-v0.*expected finite action bounds.*action_low and action_high"):
        make_vector_env(unbounded.FREE, 1)
    three = task_named(unbounded.FREE).override(None, -1.0, (1.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"one number or \(2,\) of them"):
        make_vector_env(three.environment, 1)
