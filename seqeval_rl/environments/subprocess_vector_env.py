"""A vector environment of Gymnasium environments in several processes, the calling one among them.

The workers are child processes that exchange pickles over their pipes. They need no `__main__` guard, do not import torch, can
be started in a worker of `multiprocessing` (daemonic or not), and end with the process that started them, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.mujoco_vector_env import open_here
from seqeval_rl.environments.spaces import Shapes
from seqeval_rl.environments.vector_env import Transition, VectorEnv
from seqeval_rl.errors import EnvironmentMissingError, SeqevalError
from seqeval_rl.utils.processes import exit_with_parent

Process = subprocess.Popen[bytes]


class SubprocessVectorEnv(VectorEnv):
    """Copy i is in process i mod n, so that long episodes are spread over the processes; process 0 is the calling one."""

    backend = "gymnasium"

    def __init__(self, spec: Any, shapes: Shapes, num_envs: int, workers: int):
        """From gymnasium's `EnvSpec`; raises `EnvironmentMissingError` where that cannot be sent to a process."""
        super().__init__(shapes, num_envs)
        self._workers: list[Process] = []
        self._env_id = spec.id
        self._shares = [np.arange(w, num_envs, workers) for w in range(workers)]
        try:
            pickle.dumps(spec)
        except Exception as error:
            raise EnvironmentMissingError(
                f"environment {spec.id!r}: cannot be sent to worker processes ({type(error).__name__}: {error}). "
                "Register it with an entry point of the form 'module:Class', or use one worker."
            ) from error
        self._workers = [_start() for _ in range(1, workers)]
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
            # At the end of its input a worker closes its environments, which may own processes too, and ends.
            with contextlib.suppress(BrokenPipeError):
                _pipes(worker)[0].close()
        if here is not None:
            here.close()
        for worker in workers:
            try:
                worker.wait(timeout=2)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            _pipes(worker)[1].close()

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
                    self._send(self._workers[w - 1], request)
            answers = []
            for w, (name, arguments) in requests.items():  # process 0 comes first where it is named
                if w:
                    answers.append(self._receive(self._workers[w - 1]))
                elif self._here is None:
                    self._here = open_here(*arguments)
                    answers.append(None)
                else:
                    answers.append(getattr(self._here, name)(*arguments))
            return answers
        except BaseException:
            self.close()  # so that answers not yet read are not mistaken for those of a later call
            raise

    def _send(self, worker: Process, request: Any) -> None:
        requests, _ = _pipes(worker)
        try:
            pickle.dump(request, requests, protocol=5)
            requests.flush()
        except BrokenPipeError:
            raise self._lost(worker) from None

    def _receive(self, worker: Process) -> Any:
        _, answers = _pipes(worker)
        try:
            raised, answer = pickle.load(answers)
        except (EOFError, pickle.UnpicklingError):
            raise self._lost(worker) from None
        if raised:
            raise RuntimeError(f"environment {self._env_id!r} raised in a worker process:\n{answer}")
        return answer

    def _lost(self, worker: Process) -> SeqevalError:
        worker.kill()
        return SeqevalError(
            f"environment {self._env_id!r}: a worker process ended by itself (exit code {worker.wait()}; out of "
            "memory?). Give the same command again, with fewer workers if it recurs."
        )


def _pipes(worker: Process) -> tuple[IO[bytes], IO[bytes]]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    return worker.stdin, worker.stdout


def _start() -> Process:
    # The module search path of this process, so that a plug-in's environment is found; one thread each.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    code = f"from seqeval_rl.environments.subprocess_vector_env import serve; serve({os.getpid()})"
    command = [sys.executable, "-P", "-c", code]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path, **single}
    )


def serve(parent: int) -> None:
    """Runs in a worker: opens its environments, then answers calls from standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an environment prints must not mix with the answers
    threading.Thread(target=exit_with_parent, args=(parent,), daemon=True).start()
    envs: VectorEnv | None = None
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            break
        try:
            if envs is None:
                envs, answer = open_here(*arguments), None
            else:
                answer = getattr(envs, name)(*arguments)
            reply = pickle.dumps((False, answer), protocol=5)
        except Exception:
            reply = pickle.dumps((True, traceback.format_exc()))
        answers.write(reply)
        answers.flush()
    if envs is not None:
        envs.close()
