"""Opens vector environments: Gymnasium in several processes, or envpool where it is installed and faster."""

from __future__ import annotations

import logging

from seqeval_rl.environments.envpool_vector_env import EnvpoolVectorEnv, envpool_has
from seqeval_rl.environments.mujoco_vector_env import has_rules, open_here
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.subprocess_vector_env import SubprocessVectorEnv
from seqeval_rl.environments.tasks import EnvironmentSource
from seqeval_rl.environments.vector_env import VectorEnv
from seqeval_rl.errors import EnvironmentMissingError, UsageError
from seqeval_rl.utils.processes import available_cores

_log = logging.getLogger("seqeval_rl")
# The least number of environments per process: starting a process, and waiting for it at every step, costs time. A step takes
# 40 to 80 microseconds in environments with a MuJoCo fast path, more in others.
_ENVS_PER_PROCESS = 4
_FAST_ENVS_PER_PROCESS = 20


def make_vector_env(
    env_id: str | EnvironmentSource, num_envs: int, backend: str = "auto", workers: int | None = None
) -> VectorEnv:
    """Open `num_envs` copies of an environment.

    Args:
        env_id: gymnasium's id, or `module:id` for one whose module must be imported first, or an `EnvironmentSource`,
            which envpool does not support.
        num_envs: at least 1.
        backend: `auto` is envpool where it is installed, has the same environment, and there is no faster path in
            `mujoco_vector_env`; else gymnasium.
        workers: gymnasium's processes, the calling one among them, or envpool's threads; None: as many as cores.

    Raises:
        EnvironmentMissingError: the environment or the backend is not installed, or does not start.
        DataError: its observations or actions are not boxes, or its actions have no bounds.
        UsageError: an unknown backend, or `num_envs` or `workers` below 1.
    """
    if backend not in ("auto", "envpool", "gymnasium"):
        raise UsageError(f"backend: expected auto, envpool or gymnasium, found {backend!r}. Choose one of them.")
    workers = available_cores() if workers is None else workers
    if num_envs < 1 or workers < 1:
        raise UsageError(
            f"environments of {env_id!r}: expected num_envs and workers ≥ 1, found {num_envs} and {workers}."
        )
    workers = min(workers, num_envs)
    if isinstance(env_id, EnvironmentSource):
        if backend == "envpool":
            raise EnvironmentMissingError(
                f"environment {env_id!r}: expected the registered settings and plain observations for backend envpool, "
                "found others. Use backend gymnasium."
            )
    elif backend == "envpool" or (backend == "auto" and envpool_has(env_id) and not has_rules(env_id)):
        return EnvpoolVectorEnv(env_id, num_envs, workers)
    spec, shapes = gymnasium_shapes(env_id)
    return open_here(spec, shapes, num_envs) if workers == 1 else SubprocessVectorEnv(spec, shapes, num_envs, workers)


def worthwhile_workers(env_id: str | EnvironmentSource, num_envs: int, backend: str, most: int) -> int:
    """How many of `most` processes, or threads of envpool, are worth their cost for `num_envs` copies; at least 1."""
    by_rules = backend != "envpool" and has_rules(env_id)
    return max(1, min(most, num_envs // (_FAST_ENVS_PER_PROCESS if by_rules else _ENVS_PER_PROCESS)))
