"""A fast vector environment for Gymnasium's Hopper, HalfCheetah and Walker2d, whose results are equal to the last bit.

A step of these environments is MuJoCo's simulation followed by a few sums of positions and velocities, which take about half as
long again when they are computed for one environment at a time. Here they are computed for all copies at once:

    o = (q[1:], clip(v, -c, c)),   r = w (x' - x) / dt + h healthy - u sum a^2

with positions q, velocities v, x = q[0], and the settings w, h, u, dt, c and the healthy ranges read from the environment itself
(its documentation: gymnasium.farama.org/environments/mujoco). Initial states are drawn by its own `reset`.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import Shapes, open_environment, opened
from seqeval_rl.environments.tasks import EnvironmentSource
from seqeval_rl.environments.vector_env import SyncVectorEnv, Transition, VectorEnv

_log = logging.getLogger("seqeval_rl")
# By module of the environment's class: the bound that observed velocities are clipped to.
_FASTEST = {"hopper": 10.0, "walker2d": 10.0, "half_cheetah": np.inf}
_MODULE = re.compile(rf"gymnasium\.envs\.mujoco\.({'|'.join(_FASTEST)})_v([45])")
_TRIAL = 30  # steps that are compared with gymnasium's before this class is used


@dataclass(frozen=True)
class Rules:
    """Observation, reward and termination of an environment as functions of its state, positions and then velocities.

    Axes: k copies, n numbers in a state.
    """

    skipped: int  # first positions that are not observed
    positions: int  # number of positions in a state
    fastest: float  # c
    dt: float  # seconds of a step
    forward_weight: float  # w
    control_weight: float  # u
    healthy_reward: float  # h
    always_rewarded: bool  # h is also paid for the last, unhealthy step
    terminates: bool  # an unhealthy state ends the episode
    # Bounds of the state's second and following numbers, both excluded, within which it is healthy.
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @staticmethod
    def of(env: Any) -> Rules | None:
        """The rules of an opened environment; None where it is not one of these, or has another wrapper."""
        inner = env
        while type(inner) in (TimeLimit, OrderEnforcing):
            inner = inner.env
        known = _MODULE.fullmatch(type(inner).__module__)
        if inner is not env.unwrapped or known is None:
            return None
        name, version = known.groups()
        unbounded = (-np.inf, np.inf)
        bounds = [getattr(inner, f"_healthy_{what}_range", unbounded) for what in ("z", "angle")]
        others = getattr(inner, "_healthy_state_range", None)
        if others is not None:  # of every number from the third on, the angle too
            low, high = others
            bounds[1] = max(low, bounds[1][0]), min(high, bounds[1][1])
            bounds += [others] * (inner.model.nq + inner.model.nv - 3)
        terminates = bool(getattr(inner, "_terminate_when_unhealthy", False))
        return Rules(
            skipped=int(inner._exclude_current_positions_from_observation),
            positions=inner.model.nq,
            fastest=_FASTEST[name],
            dt=float(inner.dt),
            forward_weight=float(inner._forward_reward_weight),
            control_weight=float(inner._ctrl_cost_weight),
            healthy_reward=float(getattr(inner, "_healthy_reward", 0.0)),
            always_rewarded=terminates and version == "4",
            terminates=terminates,
            low=np.array([bound[0] for bound in bounds]),
            high=np.array([bound[1] for bound in bounds]),
        )

    def __call__(
        self, before: NDArray[np.float64], states: NDArray[np.float64], actions: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Observations [k, obs], rewards [k] and terminated [k] of a step from x = `before` [k] to states [k, n] by actions
        [k, act_dim]."""
        observations = states[:, self.skipped :].copy()
        if self.fastest < np.inf:
            velocities = observations[:, self.positions - self.skipped :]
            velocities.clip(-self.fastest, self.fastest, out=velocities)
        rewards = self.forward_weight * ((states[:, 0] - before) / self.dt)
        terminated: NDArray[np.bool_] = np.zeros(len(rewards), np.bool_)
        if self.healthy_reward or self.terminates:
            bounded = states[:, 1 : 1 + len(self.low)]
            healthy: NDArray[np.bool_] = np.logical_and.reduce((self.low < bounded) & (bounded < self.high), axis=1)
            rewards += self.healthy_reward if self.always_rewarded else healthy * self.healthy_reward
            if self.terminates:
                terminated = np.logical_not(healthy)
        rewards -= self.control_weight * np.square(actions).sum(1)
        return observations, rewards, terminated


class MujocoVectorEnv(VectorEnv):
    """Copies in the calling process that share one model; see `open_here`."""

    def __init__(self, env: Any, rules: Rules, shapes: Shapes, num_envs: int):
        """Takes ownership of an opened environment, which draws the initial states of all copies."""
        mujoco: Any = importlib.import_module("mujoco")
        super().__init__(shapes, num_envs)
        self._env, self._rules = env, rules
        inner = env.unwrapped
        self._advance, self._model, self._frames = mujoco.mj_step, inner.model, inner.frame_skip
        self._data = [mujoco.MjData(inner.model) for _ in range(num_envs)]
        self._states = np.empty((num_envs, inner.model.nq + inner.model.nv))
        # Each access to an attribute of MjData creates a new array on the same memory, so it is done once.
        split = inner.model.nq
        self._views = [
            (data.ctrl, data.qpos, data.qvel, state[:split], state[split:])
            for data, state in zip(self._data, self._states, strict=True)
        ]
        self._time = np.zeros(num_envs, np.int64)

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `VectorEnv`."""
        return np.stack([self.restart(index, seed) for index, seed in zip(range(self.num_envs), seeds, strict=True)])

    def restart(self, index: int, seed: int) -> NDArray[Any]:
        """See `SyncVectorEnv.restart`."""
        self._env.unwrapped.data = data = self._data[index]
        observation = np.asarray(self._env.reset(seed=int(seed))[0])
        self._states[index], self._time[index] = np.concatenate([data.qpos, data.qvel]), 0
        return observation

    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """See `VectorEnv`."""
        before = self._states[indices, 0]
        # The numbers that gymnasium's class is given; the control cost is summed in the precision of `actions`.
        taken = self._shapes.in_space(actions)
        for index, action in zip(indices.tolist(), taken, strict=True):
            control, positions, velocities, seen_positions, seen_velocities = self._views[index]
            control[:] = action
            self._advance(self._model, self._data[index], self._frames)
            seen_positions[:] = positions
            seen_velocities[:] = velocities
        self._time[indices] += 1
        observations, rewards, terminated = self._rules(before, self._states[indices], taken.astype(actions.dtype))
        return observations, rewards, terminated, self._time[indices] >= self.max_episode_length

    def close(self) -> None:
        """See `VectorEnv`."""
        self._env.close()


def has_rules(env_id: str | EnvironmentSource) -> bool:
    """Whether it is one of these environments; False if it cannot be opened, for which its use raises the error."""
    try:
        with opened(env_id) as env:
            return Rules.of(env) is not None
    except Exception:  # envpool has environments that gymnasium lacks
        return False


def open_here(spec: Any, shapes: Shapes, num_envs: int) -> SyncVectorEnv | MujocoVectorEnv:
    """A vector environment in the calling process from gymnasium's `EnvSpec`, fast where that gives the same numbers."""
    if _MODULE.match(str(spec.entry_point)) is None:
        return SyncVectorEnv(spec, shapes, num_envs)
    env = open_environment(spec)
    rules = Rules.of(env)
    if rules is not None:
        if _same_numbers(rules, spec, shapes):
            return MujocoVectorEnv(env, rules, shapes, num_envs)
        message = "environment %s: gymnasium %s computes other numbers than the fast path, which is not used. Steps are slower."
        _log.warning(message, spec.id, gymnasium.__version__)
    env.close()
    return SyncVectorEnv(spec, shapes, num_envs)


def _same_numbers(rules: Rules, spec: Any, shapes: Shapes) -> bool:
    """Whether the environment's own code and the rules compute the same numbers from the same start with the same actions."""
    rng = np.random.default_rng(0)
    with MujocoVectorEnv(open_environment(spec), rules, shapes, 1) as envs, open_environment(spec) as env:
        same = np.array_equal(envs.reset([0])[0], env.reset(seed=0)[0])
        for _ in range(_TRIAL):
            action = shapes.in_space(rng.uniform(shapes.action_low, shapes.action_high)).astype(np.float64)
            (observation,), *ours = envs.step(action[None], np.zeros(1, np.int64))
            expected, *theirs, _ = env.step(action)
            same = same and np.array_equal(observation, expected) and [one.item() for one in ours] == theirs
    return same
