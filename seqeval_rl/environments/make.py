"""Opens vector environments: Gymnasium in several processes, or envpool where it is installed and faster."""

from __future__ import annotations

import atexit
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.envpool_vector_env import EnvpoolVectorEnv, envpool_has
from seqeval_rl.environments.mujoco_vector_env import has_rules, open_here
from seqeval_rl.environments.patience import patience, with_patience
from seqeval_rl.environments.returned import EnvironmentFailure, attempt
from seqeval_rl.environments.spaces import Shapes, gymnasium_shapes
from seqeval_rl.environments.tasks import EnvironmentSource
from seqeval_rl.environments.vector_env import Transition, VectorEnv
from seqeval_rl.errors import EnvironmentMissingError, UsageError
from seqeval_rl.utils.processes import WorkerEndedError, WorkerProcess, available_cores

# The least number of environments per process: starting a process, and waiting for it at every step, costs time. A step takes
# 40 to 80 microseconds in environments with a MuJoCo fast path, more in others.
_ENVS_PER_PROCESS = 4
_FAST_ENVS_PER_PROCESS = 20
Answer = tuple[tuple[NDArray[Any], ...], Mapping[int, EnvironmentFailure]]  # of a process: what a method returns


def make_vector_env(
    env_id: str | EnvironmentSource,
    num_envs: int,
    backend: str = "auto",
    workers: int | None = None,
    max_episode_steps: int | None = None,
) -> VectorEnv:
    """Open `num_envs` copies of an environment.

    Args:
        env_id: gymnasium's id, or `module:id` for one whose module must be imported first, or an `EnvironmentSource`,
            which envpool does not support.
        num_envs: at least 1.
        backend: `auto` is envpool where it is installed, has the same environment, and there is no faster path in
            `mujoco_vector_env`; else gymnasium.
        workers: gymnasium's processes, the calling one among them, or envpool's threads; None: as many as cores.
        max_episode_steps: time limit; None: the environment's own, and 1000 where it has none.

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
        return EnvpoolVectorEnv(env_id, num_envs, workers, max_episode_steps)
    spec, shapes = gymnasium_shapes(env_id, max_episode_steps)
    return open_here(spec, shapes, num_envs) if workers == 1 else SubprocessVectorEnv(spec, shapes, num_envs, workers)


def worthwhile_workers(env_id: str | EnvironmentSource, num_envs: int, backend: str, most: int) -> int:
    """How many of `most` processes, or threads of envpool, are worth their cost for `num_envs` copies; at least 1."""
    by_rules = backend != "envpool" and has_rules(env_id)
    return max(1, min(most, num_envs // (_FAST_ENVS_PER_PROCESS if by_rules else _ENVS_PER_PROCESS)))


class SubprocessVectorEnv(VectorEnv):
    """Copy i is in process i mod n, so that long episodes are spread over the processes; process 0 is the calling one."""

    def __init__(self, spec: Any, shapes: Shapes, num_envs: int, workers: int):
        """From gymnasium's `EnvSpec`; raises `EnvironmentMissingError` where that cannot be sent to a process."""
        super().__init__(shapes, num_envs)
        self._workers: list[WorkerProcess] = []
        self._env_id, self._patience = spec.id, patience()
        self._shares = [np.arange(w, num_envs, workers) for w in range(workers)]
        try:
            pickle.dumps(spec)
        except Exception as error:
            raise EnvironmentMissingError(
                f"environment {spec.id!r}: cannot be sent to worker processes ({type(error).__name__}: {error}). "
                "Register it with an entry point of the form 'module:Class', or use one worker."
            ) from error
        self._workers = [WorkerProcess(f"{__name__}:answer") for _ in range(1, workers)]
        self._here: VectorEnv | None = None
        try:
            self._call({w: ("open", (spec, shapes, len(share), patience())) for w, share in enumerate(self._shares)})
        except (WorkerEndedError, TimeoutError) as error:
            raise EnvironmentMissingError(self._ended(error)) from None

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `VectorEnv`."""
        numbers = np.array([int(seed) for seed in seeds])
        if len(numbers) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, found {len(numbers)}")
        calls: dict[int, tuple[str, Any]] = {
            w: ("reset", (numbers[share].tolist(),)) for w, share in enumerate(self._shares)
        }
        found = self._blank(self.num_envs)[0]
        return self._result(found, self._gather(calls, dict(enumerate(self._shares)), (found,)))

    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """See `VectorEnv`."""
        count = len(self._shares)
        places = {w: np.flatnonzero(indices % count == w) for w in range(count)}
        places = {w: mine for w, mine in places.items() if len(mine)}
        calls = {w: ("step", (actions[mine], indices[mine] // count)) for w, mine in places.items()}
        found = self._blank(len(indices))
        return self._result(found, self._gather(calls, places, found))

    def _gather(
        self, calls: dict[int, tuple[str, Any]], places: dict[int, NDArray[Any]], found: tuple[NDArray[Any], ...]
    ) -> dict[int, EnvironmentFailure]:
        """Write the answers of the processes to their places in `found`; returns the failures of copies.

        When a process has ended, no copy can be used any more.
        """
        failures: dict[int, EnvironmentFailure] = {}
        try:
            answers = self._call(calls)
        except (WorkerEndedError, TimeoutError) as error:
            return dict.fromkeys(range(self.num_envs), EnvironmentFailure(self._ended(error), ""))
        for w, (parts, failed) in zip(places, answers, strict=True):
            failures |= {index * len(self._shares) + w: failure for index, failure in failed.items()}
            for whole, part in zip(found, parts, strict=True):
                whole[places[w]] = part
        return failures

    def close(self) -> None:
        """See `VectorEnv`."""
        here, self._here = self._here, None
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.end_input()
        if here is not None:
            here.close()
        for worker in workers:
            worker.stop()

    def __del__(self) -> None:
        if getattr(self, "_workers", None):
            self.close()

    def _ended(self, error: WorkerEndedError | TimeoutError) -> str:
        how = (
            f"ended by itself ({error}; out of memory?)" if isinstance(error, WorkerEndedError) else f"hangs ({error})"
        )
        return f"environment {self._env_id!r}: a worker process {how}"

    def _call(self, requests: dict[int, tuple[str, Any]]) -> list[Answer]:
        """Send each named process its request; process 0 computes meanwhile. Returns the answers in the same order."""
        if not self._workers:
            raise RuntimeError(f"environment {self._env_id!r}: this vector environment is closed")
        try:
            for w, request in requests.items():
                if w:
                    self._workers[w - 1].send(request)
            return [self._answer(w, *request) for w, request in requests.items()]  # process 0 first where it is named
        except BaseException:
            self.close()  # so that answers not yet read are not mistaken for those of a later call
            raise

    def _answer(self, w: int, name: str, arguments: Any) -> Answer:
        """The answer of a process: a worker's, or here that of the environments of the calling process."""
        if w:
            try:
                # Of all its copies together; where one can be interrupted, it answers with that copy's failure.
                seconds = self._patience.step * len(self._shares[w]) + self._patience.grace
                answer: Answer = self._workers[w - 1].receive(seconds)
                return answer
            except (WorkerEndedError, TimeoutError):
                raise
            except Exception as error:
                trace = "".join(getattr(error, "__notes__", ()))
                raise RuntimeError(f"environment {self._env_id!r} raised in a worker process:\n{trace}") from error
        if self._here is None:
            self._here = open_here(*arguments[:-1])
            return (), {}
        return _ask(self._here, name, arguments)


_hosted: list[VectorEnv] = []  # of a worker process


def answer(request: tuple[str, Any]) -> Answer:
    """In a worker process: open its environments at the first request, then call their method."""
    name, arguments = request
    if _hosted:
        return _ask(_hosted[0], name, arguments)
    *opened, given = arguments
    with with_patience(given):
        _hosted.append(open_here(*opened))
    atexit.register(_hosted[0].close)  # they may own processes too
    return (), {}


def _ask(envs: VectorEnv, name: str, arguments: Any) -> Answer:
    """What a method returns, as a tuple of arrays, and the copies that have failed."""
    found, failures = attempt(lambda: getattr(envs, name)(*arguments))
    return found if isinstance(found, tuple) else (found,), failures
