"""Processes: how many cores there are, and worker processes that answer requests and end with their parent."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import IO, Any, cast

from seqeval_rl.utils.console import prepare_streams
from seqeval_rl.utils.interruption import SIGNALS

_NUMERIC_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_LOOK = 0.1  # seconds between two looks for the parent


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerEndedError(Exception):
    """A worker process ended by itself."""

    def __init__(self, status: int):
        super().__init__(f"exit code {status}")
        self.status = status


class WorkerProcess:
    """A child process that answers one request after the other with a function of a module.

    It is a fresh interpreter with this one's module search path and one thread of numerics. Children of `multiprocessing` would
    import the user's main module again, so that a script or notebook that uses them at its top would start itself over, and
    cannot be started below a daemonic worker. It ends with this process, however that ends.
    """

    def __init__(self, function: str):
        """Start it, to call `function`, given as `module:name`, with each request. Raises `OSError` where it does not start."""
        path = [entry or os.getcwd() for entry in sys.path]
        call = f"from seqeval_rl.utils.processes import serve; serve({function!r}, {os.getpid()})"
        environment = {**os.environ, **dict.fromkeys(_NUMERIC_THREADS, "1")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {call}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip
        self._requests, self._answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)

    def send(self, request: Any) -> None:
        """Send a request, whose answer is to be received before the next. Raises `WorkerEndedError`."""
        try:
            pickle.dump(request, self._requests, protocol=pickle.HIGHEST_PROTOCOL)
            self._requests.flush()
        except BrokenPipeError:
            raise WorkerEndedError(self._wait(1.0)) from None

    def receive(self, seconds: float | None = None) -> Any:
        """The answer to the request. An exception that the function raised is raised here, with its traceback as a note.

        Raises:
            TimeoutError: there was no answer after so many seconds; the process can only be killed.
            WorkerEndedError: the process ended by itself.
        """
        if seconds is not None and not wait([self._answers.fileno()], seconds):
            raise TimeoutError(f"no answer after {seconds:g} s")
        try:
            answer, error, trace = pickle.load(self._answers)
        except (EOFError, pickle.UnpicklingError):
            raise WorkerEndedError(self._wait(1.0)) from None
        if error is not None:
            error.add_note(trace)
            raise error
        return answer

    def end_input(self) -> None:
        """Tell it to end after the request that it is at."""
        with contextlib.suppress(BrokenPipeError):  # of what was not written when it ended by itself
            self._requests.close()

    def kill(self) -> None:
        """End it at once; a thread that waits in `receive` gets an error."""
        self._process.kill()

    def stop(self, seconds: float = 2.0) -> None:
        """End its input and wait; kill it where it has not ended after so many seconds."""
        self.end_input()
        self._wait(seconds)
        self._answers.close()

    def _wait(self, seconds: float) -> int:
        """Its exit code, when it has ended or was killed after so many seconds."""
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def serve(function: str, parent: int) -> None:
    """Answer requests from standard input in a worker process, until that closes or the parent ends."""
    exit_with_parent(parent)
    for number in SIGNALS:  # they reach the whole process group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    prepare_streams()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    module, _, name = function.partition(":")
    with contextlib.suppress(BrokenPipeError):  # the parent was killed
        answer_requests(getattr(importlib.import_module(module), name), requests, answers)


def answer_requests(function: Callable[[Any], Any], requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each pickled request with the pickled `(answer, exception, traceback)` of a function, until the input ends."""
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = pickle.dumps((function(request), None, ""), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            trace = traceback.format_exc()
            try:
                reply = pickle.dumps((None, error, trace))
                pickle.loads(reply)
            except Exception:  # an exception that cannot travel
                reply = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), trace))
        answers.write(reply)
        answers.flush()


def exit_with_parent(parent: int) -> None:
    """End this process with its parent, from a thread: also in the middle of a request, and where the pipe stays open because
    another child of the parent has inherited its end."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def call_as_worker(parent: int, function: str, *arguments: Any) -> None:
    """In a process of `multiprocessing`: call a function, given as `module:name`, and end with the parent.

    Given by name, it is imported when the process already knows to end with its parent: importing torch takes seconds.
    """
    exit_with_parent(parent)
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(*arguments)
