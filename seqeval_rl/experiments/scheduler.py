"""The local scheduler: jobs over the cores, one single-threaded process each; what they tell is shown by `screen`."""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from seqeval_rl.errors import Interrupted, SeqevalError
from seqeval_rl.experiments.display import Screen
from seqeval_rl.experiments.grouping import WORTH_A_PROCESS
from seqeval_rl.experiments.job import Job, RunEnd
from seqeval_rl.experiments.progress import Progress
from seqeval_rl.experiments.worker import execute
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.utils.processes import available_cores, exit_with_parent

_channel: Any = None  # in a worker: the queue back to the parent
_environment_workers = 1


def run_jobs(jobs: Sequence[Job], progress: bool = True, log: Path | None = None) -> list[RunEnd]:
    """Run all jobs, each to its end, longest first; returns how every run ended.

    Args:
        jobs: what to run.
        progress: show it on standard error: a table on a terminal, else plain lines.
        log: file that plain lines are appended to.

    A run that diverges or a plug-in that raises ends that job alone. Raises `Interrupted` on Ctrl-C or SIGTERM, and whatever
    `SeqevalError` a job meets (a full disk, say), after the other processes have been stopped.
    """
    if not jobs:
        return []
    on_cpu = all(job.device == "cpu" for job in jobs)
    worth = math.ceil(sum(job.cost for job in jobs) / WORTH_A_PROCESS)
    # A class that was defined in a notebook exists in this process alone.
    everywhere = all(find_algorithm(name).importable for name in {job.algorithm for job in jobs})
    workers = max(1, min(available_cores(), len(jobs), worth)) if on_cpu and everywhere else 1
    with Screen(jobs, progress, log) as screen, _stoppable():
        try:
            if workers == 1:
                return _here(jobs, screen)
            return _in_processes(jobs, workers, screen)
        except KeyboardInterrupt:
            raise Interrupted(
                "interrupted; every run is saved up to its last evaluation. The same command goes on from there."
            ) from None


def _here(jobs: Sequence[Job], screen: Screen) -> list[RunEnd]:
    ends: list[RunEnd] = []
    for number, job in enumerate(jobs):
        found = execute(job, number, screen.tell, available_cores())
        screen.ended(number, found)
        ends += found
    return ends


def _in_processes(jobs: Sequence[Job], workers: int, screen: Screen) -> list[RunEnd]:
    # spawn: forking after torch or MuJoCo have started threads can hang.
    context = multiprocessing.get_context("spawn")
    channel = context.Queue()
    threads = max(1, available_cores() // workers)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (channel, threads, os.getpid()))
    ends: list[RunEnd] = []
    try:
        futures: dict[Future[list[RunEnd]], int] = {pool.submit(_work, job, n): n for n, job in enumerate(jobs)}
        left = set(futures)
        while left:
            done, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
            _drain(channel, screen.tell, [futures[future] for future in done if future.exception() is None])
            for future in done:
                found = future.result()
                screen.ended(futures[future], found)
                ends += found
    except BrokenProcessPool as error:
        raise SeqevalError(
            "a worker process ended before its time (out of memory?). Every run is saved up to its last evaluation; "
            "the same command goes on from there."
        ) from error
    finally:
        # Queued jobs are dropped; processes that still work (after an error or Ctrl-C) are ended, all is saved.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=not left, cancel_futures=True) if not sys.exc_info()[0] else _end(pool, processes)
    return ends


def _end(pool: ProcessPoolExecutor, processes: Sequence[Any]) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(10)


def _drain(channel: Any, tell: Callable[[Progress], None], over: Collection[int]) -> None:
    """Pass on what has been told; of the jobs that are over also what is still on its way."""
    waiting = set(over)
    while True:
        try:
            news = channel.get(timeout=1.0) if waiting else channel.get_nowait()
        except queue.Empty:
            return
        tell(news)
        if news.last:
            waiting.discard(news.job)


def _start_worker(channel: Any, threads: int, parent: int) -> None:
    global _channel, _environment_workers
    _channel, _environment_workers = channel, threads
    torch.set_num_threads(threads)
    # Ctrl-C reaches the whole process group; the parent decides and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=exit_with_parent, args=(parent,), daemon=True).start()


def _work(job: Job, number: int) -> list[RunEnd]:
    ends = execute(job, number, _channel.put, _environment_workers)
    _channel.put(Progress(number, 1.0, last=True))
    return ends


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM is handled like Ctrl-C while jobs run; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
