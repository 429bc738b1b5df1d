"""Vector environments: several copies of one environment that step together, here or in subprocesses.

Unlike Gymnasium's, a call to `step` names the copies to step. The others are left as they are, so that the caller sees whole
episodes, whatever the library would do after an episode's end (gymnasium 1.x resets at the next call, and so does envpool).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments import returned
from seqeval_rl.environments.patience import Alarm
from seqeval_rl.environments.returned import EnvironmentFailedError, EnvironmentFailure
from seqeval_rl.environments.spaces import Shapes, close_environment, open_environment

Transition = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]
T = TypeVar("T")


class VectorEnv(ABC):
    """`num_envs` copies of one environment. Axes: k copies named in a call, obs the shape of an observation.

    Actions are given to an environment in the dtype of its action space and within its bounds. A copy that raises, or returns
    what cannot be used, does not affect the others: `EnvironmentFailedError` has their results, see `returned.attempt`.
    """

    backend = "gymnasium"  # or "envpool"

    def __init__(self, shapes: Shapes, num_envs: int):
        self.shapes = self._shapes = shapes
        self.num_envs, self.max_episode_length = num_envs, shapes.max_episode_length
        self.obs_shape, self.obs_dtype = shapes.obs_shape, shapes.obs_dtype
        self.action_low, self.action_high = shapes.action_low, shapes.action_high
        self.act_dim, self.action_classes = shapes.act_dim, shapes.action_classes
        self.images = shapes.images

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """Begin an episode in each copy, from one seed (0 ≤ seed < 2**31) per copy; observations [num_envs, *obs].

        Equal seeds give equal starts with the same backend; the two backends draw different starts from one seed.

        Raises:
            EnvironmentFailedError: copies failed.
        """

    @abstractmethod
    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """Advance the named copies by one time index.

        Args:
            actions: [k, act_dim], in the environment's own units.
            indices: [k], from 0 to num_envs - 1, each at most once.

        Returns:
            Observations [k, *obs], rewards [k], terminated [k], truncated [k], in the order of `indices`.

        Raises:
            EnvironmentFailedError: copies failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Release environments and processes; may be called twice."""

    def __enter__(self) -> VectorEnv:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _blank(self, count: int) -> Transition:
        """Zeros in the place of what `count` copies return."""
        observations = np.zeros((count, *self.obs_shape), self.obs_dtype)
        return observations, np.zeros(count), np.zeros(count, np.bool_), np.zeros(count, np.bool_)

    @staticmethod
    def _result(result: T, failures: Mapping[int, EnvironmentFailure]) -> T:
        """What a call returns; raises `EnvironmentFailedError` where copies have failed."""
        if failures:
            raise EnvironmentFailedError(failures, result)
        return result


class SyncVectorEnv(VectorEnv):
    """Gymnasium environments in the calling process."""

    def __init__(self, spec: Any, shapes: Shapes, num_envs: int):
        """From gymnasium's `EnvSpec`. A copy is opened at its first reset, where its failure is its own."""
        super().__init__(shapes, num_envs)
        self._spec = spec
        self._envs: list[Any] = [None] * num_envs
        self._alarm, self._seconds = Alarm(), [0.0] * num_envs  # the latter of each copy's episode

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `VectorEnv`."""
        observations, failures = self._blank(self.num_envs)[0], {}
        with self._alarm:
            for index, seed in zip(range(self.num_envs), seeds, strict=True):
                try:
                    observations[index] = self._begin(index, seed)
                except (Exception, SystemExit) as error:
                    failures[index] = returned.failure(self._spec, error)
        return self._result(observations, failures)

    def restart(self, index: int, seed: int) -> NDArray[Any]:
        """Begin an episode in one copy, from a seed as in `reset`, and leave the others as they are; its observation [*obs]."""
        try:
            with self._alarm:
                return self._begin(index, seed)
        except (Exception, SystemExit) as error:
            return self._result(self._blank(1)[0][0], {index: returned.failure(self._spec, error)})

    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """See `VectorEnv`."""
        observations, rewards, terminated, truncated = found = self._blank(len(indices))
        failures = {}
        with self._alarm:
            for i, (index, action) in enumerate(zip(indices.tolist(), self._shapes.in_space(actions), strict=True)):
                try:
                    observations[i], rewards[i], terminated[i], truncated[i] = self._advance(index, action)
                except (Exception, SystemExit) as error:
                    failures[index] = returned.failure(self._spec, error)
        return self._result(found, failures)

    def attributes(self, name: str) -> list[Any]:
        """An attribute of the environment of each copy, of which all have begun an episode."""
        return [getattr(env.unwrapped, name) for env in self._envs]

    def close(self) -> None:
        """See `VectorEnv`."""
        while self._envs:
            env = self._envs.pop()
            if env is not None:
                close_environment(env)

    def _begin(self, index: int, seed: int) -> NDArray[Any]:
        """The first observation of an episode, from the environment's own code, which may raise anything."""
        self._seconds[index] = 0.0
        self._alarm.begin()
        try:
            if self._envs[index] is None:
                self._envs[index] = open_environment(self._spec)
            answer = self._envs[index].reset(seed=int(seed))
        finally:
            self._alarm.end()
        seen, _ = returned.parts("reset", answer, returned.RESET)
        return returned.observation("reset", seen, self.obs_shape, self.obs_dtype)

    def _advance(self, index: int, action: NDArray[Any]) -> tuple[NDArray[Any], float, bool, bool]:
        """One environment step by the environment's own code, which may raise anything."""
        self._alarm.begin()
        try:
            answer = self._envs[index].step(action)
        finally:
            self._seconds[index] += self._alarm.end()
        self._alarm.check_episode(self._seconds[index])
        seen, reward, terminated, truncated, _ = returned.parts("step", answer, returned.STEP)
        return (
            returned.observation("step", seen, self.obs_shape, self.obs_dtype),
            returned.number("step", "reward", reward),
            returned.flag("step", "terminated", terminated),
            returned.flag("step", "truncated", truncated),
        )
