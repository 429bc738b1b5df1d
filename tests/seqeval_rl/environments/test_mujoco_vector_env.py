"""Locomotion by rules: gymnasium's own numbers to the last bit, whatever the settings; its own code where rules do not fit."""

import logging

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from seqeval_rl.environments.mujoco_vector_env import MujocoVectorEnv, Rules, has_rules, open_here
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.vector_env import SyncVectorEnv

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")
IDS = [f"{name}-v{version}" for name in ("Hopper", "HalfCheetah", "Walker2d") for version in (4, 5)]


def compare(env_id, count, indices, size=1.0):
    """Play the same episodes by rules and by gymnasium's code; returns how many envs ended."""
    spec, shapes = gymnasium_shapes(env_id)
    rng = np.random.default_rng(0)
    ended = 0
    with open_here(spec, shapes, count) as envs, SyncVectorEnv(spec, shapes, count) as own:
        assert isinstance(envs, MujocoVectorEnv)
        for episode in range(2):
            seeds = range(10 * episode, 10 * episode + count)
            np.testing.assert_array_equal(envs.reset(seeds), own.reset(seeds))
            alive = np.arange(count)
            for _ in range(indices):
                drawn = rng.uniform(shapes.action_low, shapes.action_high, (len(alive), len(shapes.action_low)))
                actions = (size * drawn).astype(np.float32)
                order = rng.permutation(len(alive))
                found, expected = envs.step(actions[order], alive[order]), own.step(actions[order], alive[order])
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
                    assert one.dtype == other.dtype
                over = (found[2] | found[3])[np.argsort(order)]
                ended += int(over.sum())
                alive = alive[~over]
                if not len(alive):
                    break
    return ended


@pytest.mark.parametrize("env_id", IDS)
def test_whole_episodes_are_those_of_gymnasium(env_id):
    ended = compare(env_id, 3, 1000)
    assert ended == 6  # by a fall, or at the time limit


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(["Hopper", "Walker2d", "HalfCheetah"]),
    version=st.sampled_from([4, 5]),
    forward=st.floats(0.0, 3.0),
    control=st.floats(0.0, 0.5),
    healthy=st.sampled_from([0.0, 1.0, 2.5]),
    terminates=st.booleans(),
    angle=st.floats(0.05, 1.0),
    state=st.floats(2.0, 100.0),
    seen=st.booleans(),
    limit=st.integers(5, 60),
)
def test_settings_of_the_environment_are_read(
    name, version, forward, control, healthy, terminates, angle, state, seen, limit
):
    module = {"Hopper": "hopper", "Walker2d": "walker2d", "HalfCheetah": "half_cheetah"}[name]
    chosen = {
        "forward_reward_weight": forward,
        "ctrl_cost_weight": control,
        "exclude_current_positions_from_observation": not seen,
    }
    if name != "HalfCheetah":
        chosen |= {
            "healthy_reward": healthy,
            "terminate_when_unhealthy": terminates,
            "healthy_angle_range": (-angle, angle),
        }
    if name == "Hopper":
        chosen["healthy_state_range"] = (-state, state)
    env_id = "test/Own-v0"
    gymnasium.register(
        env_id, f"gymnasium.envs.mujoco.{module}_v{version}:{name}Env", max_episode_steps=limit, kwargs=chosen
    )
    try:
        compare(env_id, 2, limit, size=0.7)
    finally:
        del gymnasium.registry[env_id]


def test_an_environment_that_restarts_leaves_the_others_alone():
    spec, shapes = gymnasium_shapes("Hopper-v5")
    actions = np.random.default_rng(0).uniform(-1, 1, (9, 2, 3)).astype(np.float32)
    with open_here(spec, shapes, 2) as envs, SyncVectorEnv(spec, shapes, 2) as own:
        for one in (envs, own):
            one.reset([0, 1])
        for t, action in enumerate(actions):
            if t == 4:
                np.testing.assert_array_equal(envs.restart(1, 7), own.restart(1, 7))
            for one, other in zip(envs.step(action, np.arange(2)), own.step(action, np.arange(2)), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("env_id", IDS)
def test_actions_in_float64_are_those_in_float32_with_a_control_cost_in_float64(env_id):
    """The simulation takes the same numbers; gymnasium's class sums their squares in float32."""
    spec, shapes = gymnasium_shapes(env_id)
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 1, len(shapes.action_low))).astype(np.float32)
    with open_here(spec, shapes, 1) as envs, SyncVectorEnv(spec, shapes, 1) as own:
        for one in (envs, own):
            one.reset([0])
        for action in actions:
            # Less than the distance to the next float32 is added, which rounding takes off again.
            found, expected = (one.step(action * (1 + 1e-9), np.arange(1)) for one in (envs, own))
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-6)
            assert found[2:] == expected[2:]


class Shaped(gymnasium.RewardWrapper):
    """Somebody's own reward."""

    def reward(self, reward):
        return reward + 1.0


def test_what_is_wrapped_or_another_environment_is_stepped_by_its_own_code(registry):
    gymnasium.register(
        "test/Wrapped-v0",
        lambda: Shaped(gymnasium.make("Hopper-v5", disable_env_checker=True)),
        max_episode_steps=50,
    )
    for env_id in ("test/Wrapped-v0", "Swimmer-v5", "InvertedPendulum-v5"):
        assert not has_rules(env_id)
        with open_here(*gymnasium_shapes(env_id), 1) as envs:
            assert isinstance(envs, SyncVectorEnv)
    assert all(has_rules(env_id) for env_id in IDS)


def test_an_environment_that_has_changed_is_stepped_by_its_own_code_and_says_so(monkeypatch, caplog):
    of = Rules.of

    def paid_more(env):
        rules = of(env)
        return rules.__class__(**{**vars(rules), "healthy_reward": rules.healthy_reward + 1e-9})

    monkeypatch.setattr(Rules, "of", staticmethod(paid_more))
    with caplog.at_level(logging.WARNING, "seqeval_rl"), open_here(*gymnasium_shapes("Hopper-v5"), 1) as envs:
        assert isinstance(envs, SyncVectorEnv)
    assert "Hopper-v5" in caplog.text
    assert "slower" in caplog.text
