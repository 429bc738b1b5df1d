"""A vector environment of Gymnasium environments in several processes, the calling one among them."""

from __future__ import annotations

import atexit
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.mujoco_vector_env import open_here
from seqeval_rl.environments.spaces import Shapes
from seqeval_rl.environments.vector_env import Transition, VectorEnv
from seqeval_rl.errors import EnvironmentMissingError, SeqevalError
from seqeval_rl.utils.processes import WorkerEndedError, WorkerProcess


class SubprocessVectorEnv(VectorEnv):
    """Copy i is in process i mod n, so that long episodes are spread over the processes; process 0 is the calling one."""

    backend = "gymnasium"

    def __init__(self, spec: Any, shapes: Shapes, num_envs: int, workers: int):
        """From gymnasium's `EnvSpec`; raises `EnvironmentMissingError` where that cannot be sent to a process."""
        super().__init__(shapes, num_envs)
        self._workers: list[WorkerProcess] = []
        self._env_id = spec.id
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
        self._call({w: ("open", (spec, shapes, len(share))) for w, share in enumerate(self._shares)})

    def reset(self, seeds: Sequence[int]) -> NDArray[Any]:
        """See `VectorEnv`."""
        numbers = np.array([int(seed) for seed in seeds])
        if len(numbers) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, found {len(numbers)}")
        calls = [("reset", (numbers[share].tolist(),)) for share in self._shares]
        observations = np.empty((self.num_envs, *self.obs_shape), self.obs_dtype)
        for share, part in zip(self._shares, self._call(dict(enumerate(calls))), strict=True):
            observations[share] = part
        return observations

    def step(self, actions: NDArray[np.floating], indices: NDArray[np.integer]) -> Transition:
        """See `VectorEnv`."""
        count = len(self._shares)
        places = {w: np.flatnonzero(indices % count == w) for w in range(count)}
        places = {w: mine for w, mine in places.items() if len(mine)}
        answers = self._call({w: ("step", (actions[mine], indices[mine] // count)) for w, mine in places.items()})
        found = self._blank(len(indices))
        for mine, parts in zip(places.values(), answers, strict=True):
            for whole, part in zip(found, parts, strict=True):
                whole[mine] = part
        return found

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

    def _call(self, requests: dict[int, tuple[str, Any]]) -> list[Any]:
        """Send each named process its request; process 0 computes meanwhile. Returns the answers in the same order."""
        if not self._workers:
            raise RuntimeError(f"environment {self._env_id!r}: this vector environment is closed")
        try:
            for w, request in requests.items():
                if w:
                    self._workers[w - 1].send(request)
            return [self._answer(w, *request) for w, request in requests.items()]  # process 0 first where it is named
        except WorkerEndedError as error:
            self.close()
            raise SeqevalError(
                f"environment {self._env_id!r}: a worker process ended by itself ({error}; out of memory?). Give the same "
                "command again, with fewer workers if it recurs."
            ) from None
        except BaseException:
            self.close()  # so that answers not yet read are not mistaken for those of a later call
            raise

    def _answer(self, w: int, name: str, arguments: Any) -> Any:
        """The answer of a process: a worker's, or here that of the environments of the calling process."""
        if w:
            try:
                return self._workers[w - 1].receive()
            except WorkerEndedError:
                raise
            except Exception as error:
                trace = "".join(getattr(error, "__notes__", ()))
                raise RuntimeError(f"environment {self._env_id!r} raised in a worker process:\n{trace}") from error
        if self._here is None:
            self._here = open_here(*arguments)
            return None
        return getattr(self._here, name)(*arguments)


_hosted: list[VectorEnv] = []  # of a worker process


def answer(request: tuple[str, Any]) -> Any:
    """In a worker process: open its environments at the first request, then call their method."""
    name, arguments = request
    if _hosted:
        return getattr(_hosted[0], name)(*arguments)
    _hosted.append(open_here(*arguments))
    atexit.register(_hosted[0].close)  # they may own processes too
    return None
