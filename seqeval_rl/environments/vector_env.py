"""Lanes: several copies of one environment that step together.

A lane that is not named in a call is not stepped. So whoever drives the lanes sees whole first episodes, whatever the
library would do after an episode's end (gymnasium 1.x resets at the next call, and so does envpool).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import Shapes, open_environment

Transition = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]
_log = logging.getLogger("seqeval_rl")


class VectorEnv(ABC):
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

    def __enter__(self) -> VectorEnv:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _blank(self, count: int) -> Transition:
        """Arrays for what `count` lanes return."""
        observations = np.empty((count, *self.obs_shape), self.obs_dtype)
        return observations, np.empty(count), np.empty(count, np.bool_), np.empty(count, np.bool_)


class SyncVectorEnv(VectorEnv):
    """Gymnasium environments in the calling process."""

    backend = "gymnasium"

    def __init__(self, spec: Any, shapes: Shapes, lanes: int):
        """From gymnasium's `EnvSpec`."""
        super().__init__(shapes, lanes)
        self._envs = [open_environment(spec) for _ in range(lanes)]

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `VectorEnv`."""
        pairs = zip(self._envs, seeds, strict=True)
        return np.stack([np.asarray(env.reset(seed=int(seed))[0]) for env, seed in pairs])

    def restart(self, lane: int, seed: int) -> NDArray[Any]:
        """Begin an episode in one lane, from a seed as in `reset`, and leave the others as they are; its observation [*obs]."""
        return np.asarray(self._envs[lane].reset(seed=int(seed))[0])

    def step(self, actions: NDArray[np.floating], lanes: NDArray[np.integer]) -> Transition:
        """See `VectorEnv`."""
        observations, rewards, terminated, truncated = found = self._blank(len(lanes))
        for i, (lane, action) in enumerate(zip(lanes, actions, strict=True)):
            observations[i], rewards[i], terminated[i], truncated[i], _ = self._envs[lane].step(action)
        return found

    def close(self) -> None:
        """See `VectorEnv`."""
        while self._envs:
            self._envs.pop().close()
