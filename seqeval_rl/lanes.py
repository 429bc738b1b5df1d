"""Lanes: several copies of one environment that step together.

A lane that is not named in a call is not stepped. So whoever drives the lanes sees whole first episodes, whatever the
library would do after an episode's end (gymnasium 1.x resets at the next call, and so does envpool).
"""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from seqeval_rl.dict_observations import ConcatenatedKeys
from seqeval_rl.tasks import EnvironmentSource

Transition = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]
_log = logging.getLogger("seqeval_rl")


@dataclass(frozen=True)
class Shapes:
    """What the lanes of an environment have in common."""

    obs_shape: tuple[int, ...]
    obs_dtype: np.dtype[Any]
    action_low: NDArray[np.float64]  # [act_dim]
    action_high: NDArray[np.float64]  # [act_dim]
    max_episode_length: int | None  # None: the environment has no time limit

    def fits(self, other: Shapes) -> bool:
        """True if the two could be the same environment."""
        mine, others = (self.action_low, self.action_high), (other.action_low, other.action_high)
        same_bounds = all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(mine, others, strict=True))
        return same_bounds and (self.obs_shape, self.max_episode_length) == (other.obs_shape, other.max_episode_length)


class Lanes(ABC):
    """L copies of one environment. Axes: L lanes, k of them named in a call, obs an observation's shape."""

    backend: str  # "envpool" or "gymnasium"

    def __init__(self, shapes: Shapes, lanes: int):
        self.lanes, self.max_episode_length = lanes, shapes.max_episode_length
        self.obs_shape, self.obs_dtype = shapes.obs_shape, shapes.obs_dtype
        self.action_low, self.action_high = shapes.action_low, shapes.action_high
        self.act_dim = len(shapes.action_low)

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """Begin an episode in each lane, from one seed (0 ≤ seed < 2**31) per lane; observations [L, *obs].

        Equal seeds give equal starts with the same backend; the two backends draw different starts from one seed.
        """

    @abstractmethod
    def step(self, actions: NDArray[np.floating], lanes: NDArray[np.integer]) -> Transition:
        """Advance the named lanes by one time index.

        Args:
            actions: [k, act_dim], in the environment's own units.
            lanes: [k], which lanes, each at most once.

        Returns:
            Observations [k, *obs], rewards [k], terminated [k], truncated [k], in the order of `lanes`.
        """

    @abstractmethod
    def close(self) -> None:
        """Release environments and processes; may be called twice."""

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _blank(self, count: int) -> Transition:
        """Arrays for what `count` lanes return."""
        observations = np.empty((count, *self.obs_shape), self.obs_dtype)
        return observations, np.empty(count), np.empty(count, np.bool_), np.empty(count, np.bool_)


class LocalLanes(Lanes):
    """Gymnasium environments in the calling process."""

    backend = "gymnasium"

    def __init__(self, spec: Any, shapes: Shapes, lanes: int):
        """From gymnasium's `EnvSpec`."""
        super().__init__(shapes, lanes)
        self._envs = [open_environment(spec) for _ in range(lanes)]

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `Lanes`."""
        pairs = zip(self._envs, seeds, strict=True)
        return np.stack([np.asarray(env.reset(seed=int(seed))[0]) for env, seed in pairs])

    def restart(self, lane: int, seed: int) -> NDArray[Any]:
        """Begin an episode in one lane, from a seed as in `reset`, and leave the others as they are; its observation [*obs]."""
        return np.asarray(self._envs[lane].reset(seed=int(seed))[0])

    def step(self, actions: NDArray[np.floating], lanes: NDArray[np.integer]) -> Transition:
        """See `Lanes`."""
        observations, rewards, terminated, truncated = found = self._blank(len(lanes))
        for i, (lane, action) in enumerate(zip(lanes, actions, strict=True)):
            observations[i], rewards[i], terminated[i], truncated[i], _ = self._envs[lane].step(action)
        return found

    def close(self) -> None:
        """See `Lanes`."""
        while self._envs:
            self._envs.pop().close()


def open_environment(env: Any) -> Any:
    """`gymnasium.make` of an id, an `EnvSpec` or an `EnvironmentSource`, with MuJoCo's warnings in our log."""
    mujoco_warnings_logged()
    spec: Any = env
    keys: tuple[str, ...] = ()
    if isinstance(env, EnvironmentSource):
        spec, keys = EnvSpec.from_json(env.spec) if env.spec else env.env_id, env.obs_keys
    with warnings.catch_warnings():
        # An older version of an environment is chosen on purpose: logs match one version.
        warnings.filterwarnings("ignore", ".*out of date")
        made = gymnasium.make(spec, disable_env_checker=True)
    return ConcatenatedKeys(made, keys) if keys else made


@functools.cache
def mujoco_warnings_logged() -> None:
    """MuJoCo would print its warnings and append them to MUJOCO_LOG.TXT in whatever directory the user stands in."""
    try:
        mujoco: Any = importlib.import_module("mujoco")
    except ImportError:
        return  # an environment that needs it says so itself

    def take(message: str) -> None:
        # The model files that come with gymnasium use an attribute that MuJoCo 4 deprecates, once per environment.
        level = logging.DEBUG if "deprecated" in message else logging.WARNING
        _log.log(level, "MuJoCo: %s", message)

    mujoco.set_mju_user_warning(take)
