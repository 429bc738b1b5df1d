"""Opening environments: `gymnasium` over the cores, or `envpool` where it is installed, has the environment and is faster."""

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
# From so many lanes on another process earns what it costs: it is started, told and waited for at every time index. Lanes that
# are stepped by rules take some 40 to 80 microseconds, others more.
_LANES_OF_A_PROCESS = 4
_LANES_BY_RULES_OF_A_PROCESS = 20


def make_vector_env(
    env_id: str | EnvironmentSource, lanes: int, backend: str = "auto", workers: int | None = None
) -> VectorEnv:
    """Open `lanes` copies of an environment.

    Args:
        env_id: gymnasium's id, or `module:id` for one whose module must be imported first, or what `Task.environment`
            says where an id is not enough; envpool does not have these.
        lanes: L ≥ 1.
        backend: `auto` is envpool where it is installed, has this very environment, and that is none of those which
            `locomotion_lanes` steps; else gymnasium.
        workers: gymnasium's processes, the calling one among them, or envpool's threads; None: as many as cores.

    Raises:
        EnvironmentMissingError: the environment or the backend is not installed, or does not start.
        DataError: its observations or actions are not boxes, or its actions have no bounds.
        UsageError: an unknown backend, or `lanes` or `workers` below 1.
    """
    if backend not in ("auto", "envpool", "gymnasium"):
        raise UsageError(f"backend: expected auto, envpool or gymnasium, found {backend!r}. Choose one of them.")
    workers = available_cores() if workers is None else workers
    if lanes < 1 or workers < 1:
        raise UsageError(f"environments of {env_id!r}: expected lanes and workers ≥ 1, found {lanes} and {workers}.")
    workers = min(workers, lanes)
    if isinstance(env_id, EnvironmentSource):
        if backend == "envpool":
            raise EnvironmentMissingError(
                f"environment {env_id!r}: expected the registered settings and plain observations for backend envpool, "
                "found others. Use backend gymnasium."
            )
    elif backend == "envpool" or (backend == "auto" and envpool_has(env_id) and not has_rules(env_id)):
        return EnvpoolVectorEnv(env_id, lanes, workers)
    spec, shapes = gymnasium_shapes(env_id)
    return open_here(spec, shapes, lanes) if workers == 1 else SubprocessVectorEnv(spec, shapes, lanes, workers)


def worthwhile_workers(env_id: str | EnvironmentSource, lanes: int, backend: str, most: int) -> int:
    """Of `most` processes, or threads of envpool, those that are worth it for so many lanes of an environment; at least 1."""
    by_rules = backend != "envpool" and has_rules(env_id)
    return max(1, min(most, lanes // (_LANES_BY_RULES_OF_A_PROCESS if by_rules else _LANES_OF_A_PROCESS)))
