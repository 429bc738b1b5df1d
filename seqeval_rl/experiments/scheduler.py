"""Runs a sweep: plans it, then trains what is missing, on a CPU in one process per core, on CUDA one job after the other."""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from seqeval_rl.data import cache
from seqeval_rl.errors import DivergedError, Interrupted, SeqevalError
from seqeval_rl.experiments.display import Display
from seqeval_rl.experiments.grouping import WORTH_A_PROCESS
from seqeval_rl.experiments.job import Job, Progress, RunEnd, forget_streams
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.experiments.worker import execute
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.results.run_log import RUN_LOG
from seqeval_rl.training.device import choose_device
from seqeval_rl.utils.console import error_stream
from seqeval_rl.utils.interruption import leave_signals_to_parent, signals_interrupt
from seqeval_rl.utils.processes import available_cores, exit_with_parent


def run_sweep(
    sweep: Sweep,
    out: Path,
    device: str = "auto",
    backend: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
    allow_changed_code: bool = False,
) -> list[RunEnd]:
    """Plan and run; returns how each run ended, and which had failed before. Finished runs are not among them.

    Args:
        sweep: what to run.
        out: results directory.
        device: where to train; `auto`: on CUDA where it is available.
        backend: of the environments: `auto`, `envpool` or `gymnasium`.
        overwrite: begin again what is there.
        progress: show it on standard error: a table on a terminal, else plain lines.
        allow_changed_code: resume runs also where the file that defines their algorithm has changed since they began.

    Raises:
        Interrupted: by a signal, see `signals_interrupt`; the same command resumes.
        SeqevalError: see `plan`; or what a job raised (a full disk, say), after the other processes have been stopped. A run
            that diverges or a plug-in that raises ends that job alone.
    """
    try:
        with signals_interrupt():
            planned = plan(sweep, out, choose_device(device), backend, overwrite, progress, None, allow_changed_code)
            if progress and any(len(job.runs) > 1 for job in planned.jobs):
                print(f"plan: {planned}", file=error_stream())
            return [*planned.failed, *_run_jobs(planned.jobs, progress, out / RUN_LOG if progress else None)]
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; every run is saved up to its last evaluation. The same command resumes from there."
        ) from None
    finally:
        forget_streams()


def raise_crashed(ends: Iterable[RunEnd]) -> None:
    """Raise `SeqevalError` if a run stopped with an exception."""
    crashed = [end for end in ends if end.status == "crashed"]
    if crashed:
        remedy = "The same command tries again; the traceback is in that directory's events.jsonl."
        raise SeqevalError(f"{_first(crashed, 'stopped with an exception')}. {remedy}")


def raise_diverged(ends: Iterable[RunEnd]) -> None:
    """Raise `DivergedError` if a run diverged."""
    diverged = [end for end in ends if end.status == "failed"]
    if diverged:
        raise DivergedError(f"{_first(diverged, 'diverged')}. They stay so unless they are run with --overwrite.")


def _first(ends: Sequence[RunEnd], how: str) -> str:
    """How many runs ended like this, and why the first did."""
    return f"{len(ends)} run{'s' * (len(ends) != 1)} {how}, first {ends[0].directory}: {ends[0].message.rstrip('.')}"


_channel: Any = None  # in a worker: the queue back to the parent
_environment_workers = 1


def _run_jobs(jobs: Sequence[Job], progress: bool, log: Path | None) -> list[RunEnd]:
    if not jobs:
        return []
    on_cpu = all(job.device == "cpu" for job in jobs)
    worth = math.ceil(sum(job.cost for job in jobs) / WORTH_A_PROCESS)
    # A class that was defined in a notebook exists in this process alone.
    everywhere = all(find_algorithm(name).importable for name in {job.algorithm for job in jobs})
    workers = max(1, min(available_cores(), len(jobs), worth)) if on_cpu and everywhere else 1
    with Display(jobs, progress, log) as display:
        if workers > 1:
            return _in_processes(jobs, workers, display)
        ends: list[RunEnd] = []
        for number, job in enumerate(jobs):
            ended = execute(job, number, display.update, available_cores())
            display.job_ended(number, ended)
            ends += ended
        return ends


def _in_processes(jobs: Sequence[Job], workers: int, display: Display) -> list[RunEnd]:
    # spawn: forking after torch or MuJoCo have started threads can hang.
    context = multiprocessing.get_context("spawn")
    channel = context.Queue()
    arguments = channel, max(1, available_cores() // workers), os.getpid(), cache.verified()
    pool = ProcessPoolExecutor(workers, context, _start_worker, arguments)
    ends: list[RunEnd] = []
    try:
        futures: dict[Future[list[RunEnd]], int] = {pool.submit(_work, job, n): n for n, job in enumerate(jobs)}
        left = set(futures)
        while left:
            done, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
            _drain(channel, display.update, [futures[future] for future in done if future.exception() is None])
            for future in done:
                ended = future.result()
                display.job_ended(futures[future], ended)
                ends += ended
    except BrokenProcessPool as error:
        raise SeqevalError(
            "a worker process died (out of memory?). Every run is saved up to its last evaluation; the same command "
            "resumes from there."
        ) from error
    finally:
        # Queued jobs are dropped; processes that still work (after an error or Ctrl-C) are terminated: all is saved.
        stopped = list((pool._processes or {}).values()) if sys.exc_info()[0] else []
        pool.shutdown(wait=not stopped, cancel_futures=True)
        for process in stopped:
            process.terminate()
        for process in stopped:
            process.join(10)
    return ends


def _drain(channel: Any, update: Callable[[Progress], None], ended: Collection[int]) -> None:
    """Pass on what has been reported; waits for the last report of each job that has ended."""
    waiting = set(ended)
    while True:
        try:
            progress = channel.get(timeout=1.0) if waiting else channel.get_nowait()
        except queue.Empty:
            return
        update(progress)
        if progress.last:
            waiting.discard(progress.job)


def _start_worker(channel: Any, threads: int, parent: int, verified: Collection[tuple[str, str]]) -> None:
    global _channel, _environment_workers
    _channel, _environment_workers = channel, threads
    torch.set_num_threads(threads)
    cache.trust(verified)
    leave_signals_to_parent()
    exit_with_parent(parent)


def _work(job: Job, number: int) -> list[RunEnd]:
    ends = execute(job, number, _channel.put, _environment_workers)
    _channel.put(Progress(number, 1.0, last=True))
    return ends
