"""Vector environments: several copies of one environment that step together, here or in subprocesses.

Unlike Gymnasium's, a call to `step` names the copies to step. The others are left as they are, so that the caller sees whole
episodes, whatever the library would do after an episode's end (gymnasium 1.x resets at the next call, and so does envpool).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import Shapes, open_environment

Transition = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]
LONGEST_EPISODE = 1_000_000  # environment steps, where an environment has no time limit of its own


class VectorEnv(ABC):
    """`num_envs` copies of one environment. Axes: k copies named in a call, obs the shape of an observation."""

    backend = "gymnasium"  # or "envpool"

    def __init__(self, shapes: Shapes, num_envs: int):
        self.num_envs, self.max_episode_length = num_envs, shapes.max_episode_length
        self.obs_shape, self.obs_dtype = shapes.obs_shape, shapes.obs_dtype
        self.action_low, self.action_high = shapes.action_low, shapes.action_high
        self.act_dim = len(shapes.action_low)

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """Begin an episode in each copy, from one seed (0 ≤ seed < 2**31) per copy; observations [num_envs, *obs].

        Equal seeds give equal starts with the same backend; the two backends draw different starts from one seed.
        """

    @abstractmethod
    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """Advance the named copies by one time index.

        Args:
            actions: [k, act_dim], in the environment's own units.
            indices: [k], from 0 to num_envs - 1, each at most once.

        Returns:
            Observations [k, *obs], rewards [k], terminated [k], truncated [k], in the order of `indices`.
        """

    @abstractmethod
    def close(self) -> None:
        """Release environments and processes; may be called twice."""

    def __enter__(self) -> VectorEnv:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _blank(self, count: int) -> Transition:
        """Arrays for what `count` copies return."""
        observations = np.empty((count, *self.obs_shape), self.obs_dtype)
        return observations, np.empty(count), np.empty(count, np.bool_), np.empty(count, np.bool_)


class SyncVectorEnv(VectorEnv):
    """Gymnasium environments in the calling process."""

    def __init__(self, spec: Any, shapes: Shapes, num_envs: int):
        """From gymnasium's `EnvSpec`."""
        super().__init__(shapes, num_envs)
        self._envs = [open_environment(spec) for _ in range(num_envs)]

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `VectorEnv`."""
        pairs = zip(self._envs, seeds, strict=True)
        return np.stack([np.asarray(env.reset(seed=int(seed))[0]) for env, seed in pairs])

    def restart(self, index: int, seed: int) -> NDArray[Any]:
        """Begin an episode in one copy, from a seed as in `reset`, and leave the others as they are; its observation [*obs]."""
        return np.asarray(self._envs[index].reset(seed=int(seed))[0])

    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """See `VectorEnv`."""
        observations, rewards, terminated, truncated = found = self._blank(len(indices))
        for i, (index, action) in enumerate(zip(indices, actions, strict=True)):
            observations[i], rewards[i], terminated[i], truncated[i], _ = self._envs[index].step(action)
        return found

    def close(self) -> None:
        """See `VectorEnv`."""
        while self._envs:
            self._envs.pop().close()
