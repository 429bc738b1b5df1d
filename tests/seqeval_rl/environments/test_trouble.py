"""Environments of third parties as they are: what raises or returns nonsense fails alone, and says which, where and what."""

import gymnasium
import numpy as np
import pytest
import trouble
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as npst

from seqeval_rl.environments import returned
from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.returned import EnvironmentFailedError, attempt
from seqeval_rl.environments.spaces import check_time_limit, gymnasium_shapes
from seqeval_rl.errors import RunError

pytestmark = pytest.mark.usefixtures("registry")
ZERO = np.zeros((1, 1))


def begin_and_step(envs):
    envs.reset([1])
    return envs.step(ZERO, np.array([0]))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_copy_that_raises_fails_alone(workers):
    with make_vector_env(trouble.register(at="reset", every=3), 4, workers=workers) as envs:
        observations, failures = attempt(lambda: envs.reset([5, 6, 7, 9]))
        assert list(failures) in ([1, 3], [3, 1])
        np.testing.assert_array_equal(observations[[0, 2], 1], [5, 7])
        np.testing.assert_array_equal(observations[[1, 3]], 0)
    with make_vector_env(trouble.register("Step", at="step", every=3), 4, workers=workers) as envs:
        envs.reset([5, 6, 7, 9])
        envs.step(np.zeros((4, 1)), np.arange(4))
        (observations, rewards, *_), failures = attempt(lambda: envs.step(np.zeros((3, 1)), np.array([3, 2, 0])))
        assert list(failures) == [3]
        assert "ArithmeticError: the pole has fallen (" in failures[3].message
        assert "trouble.py, line" in failures[3].message
        assert "Traceback" in failures[3].traceback
        np.testing.assert_array_equal(observations, [[0, 0], [2, 7], [2, 5]])
        np.testing.assert_array_equal(rewards, [0, 1, 1])


def test_what_nobody_handles_is_an_error_in_one_line():
    with (
        make_vector_env(trouble.register(at="reset"), 2) as envs,
        pytest.raises(RunError, match=r"environment 'test/Trouble-v0': ArithmeticError: the pole has fallen \(.*\)$"),
    ):
        envs.reset([0, 1])


def test_a_copy_that_does_not_open_fails_alone(monkeypatch):
    gymnasium.register("test/Licensed-v0", "trouble:Licensed", max_episode_steps=20)
    monkeypatch.setattr(trouble.Licensed, "opened", 0)
    with make_vector_env("trouble:test/Licensed-v0", 2, workers=1) as envs:  # its shapes take one of two licences
        observations, failures = attempt(lambda: envs.reset([1, 2]))
        assert list(failures) == [1]
        assert "OSError: no licence left" in failures[1].message
        np.testing.assert_array_equal(observations, [[0, 1], [0, 0]])
        assert envs.step(ZERO, np.array([0]))[1] == [1.0]


def test_an_environment_that_cannot_close_costs_nothing(caplog):
    with make_vector_env(trouble.register(at="close"), 1) as envs:
        envs.reset([0])
    assert "the pole has fallen" in caplog.text


@given(
    bounds=st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(-1e3, 1e3, width=32)).filter(
        lambda pair: pair[0] < pair[1]
    ),
    dtype=st.sampled_from(["float32", "float64", "float16"]),
    share=st.floats(-0.1, 1.1),
)
def test_actions_have_the_dtype_of_the_space_and_lie_in_it(bounds, dtype, share):
    low, high = (np.array([bound]).astype(dtype) for bound in bounds)
    if not (low < high).all():
        return
    gymnasium.registry.pop("test/Trouble-v0", None)
    env_id = trouble.register(low=low, high=high, dtype=dtype)
    with make_vector_env(env_id, 1) as envs:
        envs.reset([1])
        action = envs.action_low + share * (envs.action_high - envs.action_low)
        envs.step(action[None], np.array([0]))  # the environment checks it
        space = gymnasium.spaces.Box(low, high, (1,), np.dtype(dtype))
        taken = gymnasium_shapes(env_id)[1].in_space(action)
        assert space.contains(taken)
        if 0 <= share <= 1:
            np.testing.assert_allclose(taken, action, rtol=np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


def test_actions_of_integers_are_the_nearest_ones():
    env_id = trouble.register(low=0, high=4, dtype="int64")
    shapes = gymnasium_shapes(env_id)[1]
    np.testing.assert_array_equal(shapes.in_space(np.array([[2.6], [-1.0], [9.0]])), [[3], [0], [4]])
    with make_vector_env(env_id, 1) as envs:
        envs.reset([1])
        envs.step(np.array([[2.6]]), np.array([0]))


@given(
    st.one_of(
        st.integers(-9, 9),
        st.floats(-1e3, 1e3, width=16),
        npst.arrays(
            st.sampled_from([np.float32, np.float64, np.int8, np.uint8, np.float16]),
            st.sampled_from([(), (1,), (1, 1)]),
            elements=st.integers(0, 100),
        ),
        st.booleans(),
    )
)
def test_a_number_of_any_type_is_taken(value):
    assert returned.number("step", "reward", value) == float(np.asarray(value).item())


@pytest.mark.parametrize(
    "value", [None, "1.0", np.ones(2), np.ones((1, 2)), [1.0, 2.0], 1j, {}, np.array([None]), np.empty(0)], ids=repr
)
def test_what_is_no_number_is_refused_with_its_value(value):
    with make_vector_env(trouble.register(returns={"reward": value}), 1) as envs:
        envs.reset([1])
        with pytest.raises(
            RunError, match=r"'test/Trouble-v0': expected one number as reward from step, found "
        ) as caught:
            envs.step(ZERO, np.array([0]))
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        ({"terminated": None}, r"expected True or False as terminated from step, found None"),
        ({"truncated": 2}, r"expected True or False as truncated from step, found 2"),
        ({"truncated": np.array([True, False])}, r"as truncated from step, found ndarray of shape \(2,\)"),
        ({"observation": np.zeros(3)}, r"expected an observation of shape \(2,\) from step, found ndarray of shape \(3,\)"),
        ({"observation": None}, r"expected an observation of shape \(2,\) from step, found None"),
        ({"observation": 1.0}, r"expected an observation of shape \(2,\) from step, found 1\.0"),
        ({"observation": [[1.0], [1.0, 2.0]]}, r"expected an observation of shape \(2,\) from step"),
        ({"whole": (np.zeros(2), 1.0, False, {})}, r"expected 5, got 4\) \(reset returns .*, step \(observation, reward, termin"),
        ({"whole": None}, r"cannot unpack .*NoneType object \(reset returns \(observation, info\)"),
        ({"reset": np.zeros(2)}, r"expected \(observation, info\) from reset, found ndarray of shape \(2,\)"),
        ({"reset": (np.zeros(2), {}, 3)}, r"expected \(observation, info\) from reset, found \(array"),
        ({"reset": ({"a": 1}, {})}, r"expected an observation of shape \(2,\) from reset, found \{'a': 1\}"),
    ],
    ids=str,
)  # fmt: skip
def test_other_results_are_refused_with_their_value(returns, message):
    with (
        make_vector_env(trouble.register(returns=returns), 1) as envs,
        pytest.raises(EnvironmentFailedError, match=message) as caught,
    ):
        begin_and_step(envs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [(1.0, 2.0), np.array([[1], [2]]), np.float32([1, 2]), np.array([1, 2], np.int8)])
def test_observations_of_the_same_numbers_are_taken(value):
    with make_vector_env(trouble.register(returns={"observation": value}), 1) as envs:
        envs.reset([1])
        np.testing.assert_array_equal(envs.step(ZERO, np.array([0]))[0], [[1, 2]])


def test_images_are_not_cut_to_bytes_silently():
    np.testing.assert_array_equal(returned.observation("step", [[3, 255]], (1, 2), np.dtype(np.uint8)), [[3, 255]])
    for value in ([[0.5, 1.0]], [[-1, 3]], [[3, 256]]):
        with pytest.raises(ValueError, match="expected an observation of uint8 from step"):
            returned.observation("step", value, (1, 2), np.dtype(np.uint8))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("own", "asked", "expected"), [(None, None, 1000), (None, 7, 7), (20, None, 20), (20, 7, 7), (20, 30, 30)]
)
def test_every_episode_has_a_time_limit(own, asked, expected, workers, caplog):
    env_id = trouble.register(f"Limit{own}", max_episode_steps=own, length=-1)
    check_time_limit(env_id, asked)
    assert ("has no time limit; its episodes are cut after 1000 environment steps" in caplog.text) == (
        own is asked is None
    )
    with make_vector_env(env_id, 2, workers=workers, max_episode_steps=asked) as envs:
        assert envs.max_episode_length == expected
        envs.reset([1, 2])
        for time in range(expected):
            _, _, terminated, truncated = envs.step(np.zeros((2, 1)), np.arange(2))
            assert not terminated.any()
            assert truncated.all() == truncated.any() == (time + 1 == expected)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5"])
def test_the_fast_path_has_the_time_limit_too(env_id):
    with make_vector_env(env_id, 1, workers=1, max_episode_steps=3) as envs:
        envs.reset([1])
        ends = [envs.step(np.zeros((1, envs.act_dim)), np.array([0]))[3].item() for _ in range(3)]
    assert ends == [False, False, True]
