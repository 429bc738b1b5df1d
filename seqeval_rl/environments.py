"""Opening environments: `gymnasium` over the cores, or `envpool` where it is installed, has the environment and is faster."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from seqeval_rl.errors import DataError, EnvironmentMissingError, UsageError
from seqeval_rl.lane_workers import ProcessLanes
from seqeval_rl.lanes import Lanes, Shapes, Transition, open_environment
from seqeval_rl.locomotion_lanes import has_rules, open_here
from seqeval_rl.tasks import EnvironmentSource
from seqeval_rl.utils.processes import available_cores
from seqeval_rl.utils.text import one_line

_log = logging.getLogger("seqeval_rl")
# From so many lanes on another process earns what it costs: it is started, told and waited for at every time index. Lanes that
# are stepped by rules take some 40 to 80 microseconds, others more.
_LANES_OF_A_PROCESS = 4
_LANES_BY_RULES_OF_A_PROCESS = 20


def make_lanes(env_id: str | EnvironmentSource, lanes: int, backend: str = "auto", workers: int | None = None) -> Lanes:
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
        return EnvpoolLanes(env_id, lanes, workers)
    spec, shapes = gymnasium_shapes(env_id)
    return open_here(spec, shapes, lanes) if workers == 1 else ProcessLanes(spec, shapes, lanes, workers)


def worthwhile_workers(env_id: str | EnvironmentSource, lanes: int, backend: str, most: int) -> int:
    """Of `most` processes, or threads of envpool, those that are worth it for so many lanes of an environment; at least 1."""
    by_rules = backend != "envpool" and has_rules(env_id)
    return max(1, min(most, lanes // (_LANES_BY_RULES_OF_A_PROCESS if by_rules else _LANES_OF_A_PROCESS)))


def gymnasium_shapes(env_id: str | EnvironmentSource) -> tuple[Any, Shapes]:
    """Gymnasium's `EnvSpec` of an environment, and its shapes; starts it once. Raises as `make_lanes` does."""
    try:
        env = open_environment(env_id)
    except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as error:
        hint = nearest_ids(str(env_id), gymnasium.registry) or " Install the package that registers it."
        raise EnvironmentMissingError(
            f"environment {env_id!r}: unknown to gymnasium ({one_line(error)}).{hint}"
        ) from error
    except DataError:  # of `ConcatenatedKeys`
        raise
    except Exception as error:
        # Whatever an environment's own code raises: to the user it is an environment that does not start.
        raise EnvironmentMissingError(
            f"environment {env_id!r}: does not start ({one_line(error)}). Install what it needs, or name another one."
        ) from error
    with env:
        spec = env.spec
        return spec, shapes_of_spaces(env_id, env.observation_space, env.action_space, spec.max_episode_steps)


def shapes_of_spaces(env_id: str | EnvironmentSource, observations: Any, actions: Any, limit: int | None) -> Shapes:
    if not (isinstance(observations, Box) and isinstance(actions, Box) and len(actions.shape) == 1):
        raise DataError(
            f"environment {env_id!r}: expected boxes of observations and of action vectors, found {observations} and "
            f"{actions}. Discrete and composite spaces are not supported."
        )
    low, high = actions.low.astype(np.float64), actions.high.astype(np.float64)
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise DataError(
            f"environment {env_id!r}: expected finite action bounds, found {low} to {high}. Wrap it to give it some."
        )
    return Shapes(observations.shape, np.dtype(observations.dtype), low, high, limit)


def nearest_ids(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


@functools.cache
def envpool_ids() -> frozenset[str]:
    """What envpool offers; nothing where it is not installed. A broken installation is named in the log."""
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
    if env_id not in envpool_ids():
        return False
    return env_id not in gymnasium.registry or gymnasium_shapes(env_id)[1].fits(envpool_shapes(env_id))


@functools.lru_cache(maxsize=64)
def envpool_shapes(env_id: str) -> Shapes:
    import envpool

    spec = envpool.make_spec(env_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the precision of envpool's own bounds
        observations, actions = spec.gymnasium_observation_space, spec.gymnasium_action_space
    return shapes_of_spaces(env_id, observations, actions, spec.config.max_episode_steps)


class EnvpoolLanes(Lanes):
    """A pool of C++ environments and threads. It takes seeds only when it is made, so each reset makes a new one."""

    backend = "envpool"

    def __init__(self, env_id: str, lanes: int, threads: int):
        """Raises `EnvironmentMissingError` where envpool is not installed or has no such environment."""
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
        super().__init__(envpool_shapes(env_id), lanes)
        self._env_id, self._threads = env_id, threads
        self._pool: Any = None

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `Lanes`."""
        import envpool

        if len(seeds) != self.lanes:
            raise ValueError(f"expected {self.lanes} seeds, found {len(seeds)}")
        self.close()
        numbers = [int(seed) for seed in seeds]
        self._pool = envpool.make(
            self._env_id, env_type="gymnasium", num_envs=self.lanes, num_threads=self._threads, seed=numbers
        )
        observations, info = self._pool.reset()
        return np.asarray(observations)[np.argsort(info["env_id"])]

    def step(self, actions: NDArray[np.floating], lanes: NDArray[np.integer]) -> Transition:
        """See `Lanes`."""
        lanes = np.asarray(lanes, np.int32)
        observations, rewards, terminated, truncated, info = self._pool.step(actions, lanes)
        rewards = rewards.astype(np.float64)
        if np.array_equal(info["env_id"], lanes):
            return observations, rewards, terminated, truncated
        place = np.empty(self.lanes, np.intp)
        place[info["env_id"]] = np.arange(len(lanes))
        order = place[lanes]
        return observations[order], rewards[order], terminated[order], truncated[order]

    def close(self) -> None:
        """See `Lanes`."""
        self._pool = None  # its threads end with the object
