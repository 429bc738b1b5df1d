"""A vector environment on envpool, for environments that it offers (extra `fast`)."""

from __future__ import annotations

import functools
import importlib.util
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import Shapes, gymnasium_shapes, nearest_ids, shapes_of_spaces
from seqeval_rl.environments.vector_env import Transition, VectorEnv
from seqeval_rl.errors import EnvironmentMissingError
from seqeval_rl.utils.text import one_line

_log = logging.getLogger("seqeval_rl")


@functools.cache
def envpool_ids() -> frozenset[str]:
    """The ids that envpool has; empty where it is not installed. A broken installation is logged as a warning."""
    if importlib.util.find_spec("envpool") is None:
        return frozenset()
    try:
        import envpool
    except Exception as error:
        _log.warning("envpool is installed but cannot be imported (%s).", one_line(error))
        return frozenset()
    return frozenset(envpool.list_all_envs())


def envpool_has(env_id: str) -> bool:
    """True if envpool has this id, with the shapes, bounds and time limit of gymnasium's if gymnasium has it too."""
    if env_id not in envpool_ids() or envpool_shapes(env_id).action_classes is not None:
        return False
    return env_id not in gymnasium.registry or gymnasium_shapes(env_id)[1].fits(envpool_shapes(env_id))


@functools.lru_cache(maxsize=64)
def envpool_shapes(env_id: str, max_episode_steps: int | None = None) -> Shapes:
    """Shapes, bounds and time limit of an environment as envpool declares them; with a time limit in place of its own."""
    import envpool

    spec = envpool.make_spec(env_id, **_limit(max_episode_steps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the precision of envpool's own bounds
        observations, actions = spec.gymnasium_observation_space, spec.gymnasium_action_space
    return shapes_of_spaces(env_id, observations, actions, spec.config.max_episode_steps)


def _limit(max_episode_steps: int | None) -> dict[str, int]:
    return {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}


class EnvpoolVectorEnv(VectorEnv):
    """A pool of C++ environments and threads. envpool takes seeds only at construction, so each reset builds a new pool."""

    backend = "envpool"

    def __init__(self, env_id: str, num_envs: int, threads: int, max_episode_steps: int | None = None):
        """With a time limit in place of the environment's own; raises `EnvironmentMissingError` where envpool is not installed or
        has no such environment."""
        known = envpool_ids()
        if not known:
            raise EnvironmentMissingError(
                "backend envpool: not installed here, or broken. pip install 'seqeval-rl[fast]' (Linux only), or use "
                "backend gymnasium."
            )
        if env_id not in known:
            raise EnvironmentMissingError(
                f"environment {env_id!r}: unknown to envpool.{nearest_ids(env_id, known)} Or use backend gymnasium."
            )
        shapes = envpool_shapes(env_id, max_episode_steps)
        if shapes.action_classes is not None:
            raise EnvironmentMissingError(
                f"environment {env_id!r}: expected continuous actions for backend envpool, found {shapes.action_classes} "
                "discrete ones. Use backend gymnasium."
            )
        super().__init__(shapes, num_envs)
        self._env_id, self._threads, self._limit = env_id, threads, _limit(max_episode_steps)
        self._pool: Any = None

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `VectorEnv`."""
        import envpool

        if len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, found {len(seeds)}")
        self.close()
        numbers = [int(seed) for seed in seeds]
        self._pool = envpool.make(
            self._env_id, env_type="gymnasium", num_envs=self.num_envs, num_threads=self._threads, seed=numbers,
            **self._limit,
        )  # fmt: skip
        observations, info = self._pool.reset()
        return np.asarray(observations)[np.argsort(info["env_id"])]

    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """See `VectorEnv`."""
        indices = np.asarray(indices, np.int32)
        observations, rewards, terminated, truncated, info = self._pool.step(self._shapes.in_space(actions), indices)
        rewards = rewards.astype(np.float64)
        if np.array_equal(info["env_id"], indices):
            return observations, rewards, terminated, truncated
        place = np.empty(self.num_envs, np.intp)
        place[info["env_id"]] = np.arange(len(indices))
        order = place[indices]
        return observations[order], rewards[order], terminated[order], truncated[order]

    def close(self) -> None:
        """See `VectorEnv`."""
        self._pool = None  # its threads end with the object
