"""Worker processes of this machine that train jobs, each on a device of its own or on a share of the CPU's cores."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import pickle
import signal
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import torch

from seqeval_rl.data import cache
from seqeval_rl.environments.patience import STEP, WHO, share
from seqeval_rl.errors import SeqevalError
from seqeval_rl.experiments.display import Display
from seqeval_rl.experiments.grouping import free_memory
from seqeval_rl.experiments.job import Job, Progress, RunEnd
from seqeval_rl.experiments.worker import died, execute
from seqeval_rl.training.device import only_visible, release_memory
from seqeval_rl.utils.interruption import leave_signals_to_parent
from seqeval_rl.utils.processes import available_cores, call_as_worker

_POLL = 0.5  # seconds; the parent looks at least so often for signals
_GRACE = 5.0  # seconds that all processes together have to end


def train_in_processes(jobs: Sequence[Job], devices: Sequence[str], display: Display) -> list[RunEnd]:
    """Train jobs in one process for each of `devices`, see `place`; all have an equal share of the cores.

    A process that dies costs the runs of its group this attempt; another takes its place.

    Raises:
        SeqevalError: what a job raised, or a worker process does not start; after the others have been stopped.
    """
    threads = max(1, available_cores() // len(devices))
    workers = [_Worker(device, threads) for device in devices]
    waiting = dict(enumerate(jobs))
    ends: list[RunEnd] = []
    try:
        while waiting or any(worker.number is not None for worker in workers):
            while (placed := place(waiting, idle(workers), any(worker.free is None for worker in workers))) is not None:
                number, index = placed
                workers[index].start(number, waiting.pop(number))
            ready = wait([part for worker in workers for part in (worker.connection, worker.process.sentinel)], _POLL)
            for worker in workers:
                worker.end_if_overdue()
            for worker in workers.copy():
                if worker.connection not in ready and worker.process.sentinel not in ready:
                    continue
                message = worker.receive()
                if isinstance(message, Progress):
                    display.update(message)
                elif message.number is not None:
                    display.job_ended(message.number, message.ends)
                    ends += message.ends
                if worker.number is None and not worker.process.is_alive():
                    worker.connection.close()
                    workers.remove(worker)
                    if waiting:
                        workers.append(_Worker(worker.device, threads))
    except BaseException:
        # Processes that still work (after an error or Ctrl-C) are terminated: all is saved.
        for worker in workers:
            worker.process.terminate()
        raise
    finally:
        for worker in workers:
            worker.connection.close()
        last = time.monotonic() + _GRACE
        for worker in workers:
            worker.process.join(max(0.0, last - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
    return ends


def place(jobs: Mapping[int, Job], free: Mapping[int, float], busy: bool) -> tuple[int, int] | None:
    """Which job (of those that wait, the longest first) begins on which idle worker; None: wait for one that works.

    The job gets the worker whose device has most memory free, if it fits there: else a shorter one may. Where none fits and
    nothing works that would give back memory, the longest is tried there all the same.

    Args:
        jobs: by number.
        free: bytes that are free on an idle worker's device, by worker.
        busy: whether any worker works.
    """
    if not jobs or not free:
        return None
    worker = max(free, key=lambda each: free[each])
    fitting = [number for number, job in jobs.items() if job.bytes <= free[worker]]
    if fitting:
        return fitting[0], worker
    return None if busy else (next(iter(jobs)), worker)


def idle(workers: Sequence[_Worker]) -> dict[int, float]:
    """The workers that wait for a job, by index, each with the bytes that are free on its device.

    Of a device that several share that is what it saw when it became idle, but no more than all that was ever free there, less
    what the jobs of the others may take.
    """
    free: dict[int, float] = {}
    for index, worker in enumerate(workers):
        if worker.free is not None:
            others = [each for each in workers if each.device == worker.device and each is not worker]
            taken = sum(each.job.bytes for each in others if each.number is not None and each.job is not None)
            free[index] = min(worker.free, max(each.most_free for each in (worker, *others)) - taken)
    return free


class _Ended(NamedTuple):
    """A worker is idle: at the beginning (`number` is None), or after a job."""

    number: int | None
    ends: list[RunEnd]
    error: BaseException | None  # what the job raised in place of ends
    free: float | None  # bytes on its device; None: its process has died


class _Worker:
    """A worker process, as its parent sees it."""

    def __init__(self, device: str, threads: int):
        # spawn: forking after torch or MuJoCo have started threads can hang.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._overdue = context.RawArray("d", [math.inf] * len(WHO))  # when to end it, see `patience.share`
        arguments = os.getpid(), f"{__name__}:serve", theirs, self._overdue, device, threads, cache.verified()
        self.process = context.Process(target=call_as_worker, args=arguments)
        self.process.start()
        theirs.close()  # so that this end sees when the process has died
        self.device = device
        self.number: int | None = None  # of the job that it works on
        self.free: float | None = None  # bytes on its device; None while it does not wait for a job
        self.most_free = 0.0  # bytes on its device that it has ever seen
        self.job: Job | None = None  # the latest
        self._hangs: str | None = None  # the limit, of `WHO`, that was exceeded by far

    def end_if_overdue(self) -> None:
        """Kill it where its environment or its algorithm has hung for too long, and cannot be interrupted."""
        now = time.monotonic()
        self._hangs = next((option for option, when in zip(WHO, self._overdue, strict=True) if now > when), None)
        if self._hangs is not None:
            self.process.kill()

    def start(self, number: int, job: Job) -> None:
        """Begin a job."""
        self.number, self.free, self.job = number, None, job
        with contextlib.suppress(OSError):  # it has died, which `receive` finds
            self.connection.send((number, job))

    def receive(self) -> Progress | _Ended:
        """What it reports, or how the runs of its job have ended where it has died. Raises what a job raised."""
        message: Progress | _Ended
        try:
            if not self.connection.poll():  # the process has ended, and a process that it has started has not
                raise EOFError
            message = self.connection.recv()
        except (EOFError, OSError):
            message = self._died()
        if isinstance(message, _Ended):
            self.number, self.free = None, message.free
            self.most_free = max(self.most_free, message.free or 0.0)
            if message.error is not None:
                raise message.error
        return message

    def _died(self) -> _Ended:
        """The ends of the runs that it worked on. Raises `SeqevalError` where it has not got that far."""
        self.process.join(_GRACE)
        how = _how_it_died(self.process.exitcode)
        if self._hangs is not None and self.job is not None:
            patience = self.job.patience
            seconds = patience.step if self._hangs == STEP else patience.update
            how = f"was killed: {WHO[self._hangs]} gave no answer within {self._hangs} = {seconds:g} s"
        if self.job is None:
            raise SeqevalError(
                f"a worker process did not start: it {how}. In a script, call this below `if __name__ == '__main__':`."
            )
        runs = self.job.runs if self.number is not None else ()
        return _Ended(self.number, [died(run, f"its process {how}") for run in runs], None, None)


def _how_it_died(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended by itself with exit code {code}"
    name = signal.Signals(-code).name
    memory = ": out of memory?" if name == "SIGKILL" else ""
    return f"was killed by {name}{memory}"


def serve(
    connection: Connection, overdue: Any, device: str, threads: int, verified: Collection[tuple[str, str]]
) -> None:
    """A worker process: train one job after the other, until the parent closes the connection."""
    leave_signals_to_parent()
    device = only_visible(device)
    # More threads than the user allows would wait for each other on cores that others use.
    torch.set_num_threads(min(threads, torch.get_num_threads()) if "OMP_NUM_THREADS" in os.environ else threads)
    cache.trust(verified)
    share(overdue)
    with contextlib.suppress(OSError):  # the parent has closed it
        _work(connection, device, threads)


def _work(connection: Connection, device: str, threads: int) -> None:
    connection.send(_Ended(None, [], None, free_memory(torch.device(device))))
    while True:
        try:
            number, job = connection.recv()
        except EOFError:
            return
        ends: list[RunEnd] = []
        failure: BaseException | None = None
        try:
            ends = execute(replace(job, device=device), number, connection.send, threads)
        except BaseException as error:
            failure = sendable(error)
        release_memory(device)  # what the job had on the device
        connection.send(_Ended(number, ends, failure, free_memory(torch.device(device))))


def sendable(error: BaseException) -> BaseException:
    """The exception with its traceback as a note; another with its text where it cannot be sent to another process."""
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, SeqevalError):
        error.add_note(trace)
    return error
