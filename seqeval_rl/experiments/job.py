"""A job: the runs of one group, what a worker process needs to train them, and what it reports while it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqeval_rl.data.stream import Stream, StreamSpec
from seqeval_rl.environments.patience import DEFAULT, Patience
from seqeval_rl.environments.tasks import Task
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.device import Precision

HALF_EMPTY = 1024
"""An update of a group with so many transitions (runs times batch size) leaves a GPU about half empty. On an H100 one of R runs
of TD3+BC takes 120 + 17 R microseconds, one of CQL 900 + 290 R, with 256 transitions each."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a job; can be sent to another process."""

    stream: StreamSpec
    # Of the algorithm's Config; the Config itself may be of a class that only this process has loaded.
    settings: dict[str, Any]
    seed: int
    directory: Path
    manifest: dict[str, Any]
    number: int = 0  # among all runs of the sweep, whatever is finished or belongs to another shard


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know: the runs of a group, and how they are trained."""

    runs: tuple[PlannedRun, ...]
    task: Task
    algorithm: str  # reference, see registry.find_algorithm
    protocol: Protocol
    device: str
    backend: str  # of the environments: auto, envpool or gymnasium
    precision: Precision  # of matrix products
    overwrite: bool
    cost: float  # estimated seconds of one core
    loggers: tuple[str, ...] = ()  # more than `metrics.jsonl`, see `find_logger`
    patience: Patience = DEFAULT  # with environments
    bytes: int = 0  # of a CUDA device's memory that its runs take, estimated; 0 on a CPU

    @property
    def small(self) -> bool:
        """Whether it leaves a GPU half empty, so that another such job can be trained there at the same time."""
        return len(self.runs) * self.protocol.batch_size <= HALF_EMPTY


@dataclass(frozen=True)
class RunEnd:
    """How a run ended."""

    directory: Path
    # finished, failed (diverged; it stays so, see `Sweep.retry_failed`) or crashed (it raised, or its environment did, or its
    # process died; the same command tries again)
    status: str
    message: str = ""


_loaded: dict[StreamSpec, Stream] = {}


def load_stream(spec: StreamSpec, progress: bool = False) -> Stream:
    """The stream, from memory where this process has loaded it. Raises what `StreamSpec.load` raises."""
    if spec not in _loaded:
        stream = spec.load(progress)
        _loaded[spec] = _loaded[replace(spec, task=stream.task)] = stream
    return _loaded[spec]


def forget_streams() -> None:
    """Release the streams in memory: files may change before the next sweep."""
    _loaded.clear()


_INTERVAL = 0.5  # seconds between two reports without a new score or failure


class Scored(NamedTuple):
    """A run's score at an evaluation."""

    run: int  # its index in the job
    evaluation: int
    score: float  # its return where the task has no reference returns


class Failed(NamedTuple):
    """A run that cannot continue."""

    run: int  # its index in the job
    reason: str


@dataclass(frozen=True)
class Progress:
    """What a job reports while it runs: about twice a second, and at each evaluation."""

    job: int
    share: float  # of its gradient steps, 0 to 1
    gradient_steps: int = 0  # taken since the job began, by all of its runs together
    transitions: int | None = None  # t of the runs that train at the moment; None before they begin
    scores: tuple[Scored, ...] = ()  # new ones, and at first those of earlier attempts
    failures: tuple[Failed, ...] = ()  # new ones
    warnings: tuple[str, ...] = ()  # one line each, for people


class ProgressReporter:
    """Counts the gradient steps of a job and reports its progress."""

    def __init__(self, job: int, report: Callable[[Progress], None]):
        """For the job of that number; `report` takes its progress."""
        self.job, self.report = job, report
        self.total = 0  # gradient steps that all runs together have to take
        self._done = 0  # of these
        self._reported = 0.0

    def begin_group(self, schedule: Schedule, runs: int, gradient_steps: int) -> None:
        """The runs that train from now on: the schedule of the longest, how many, and the steps that each took in earlier groups
        or attempts."""
        self._schedule, self._runs = schedule, runs
        self._base = self._done - gradient_steps * runs
        self.send()

    def update(self, gradient_steps: int) -> None:
        """Each run of the group has now taken so many gradient steps, in all attempts."""
        # An asynchronous evaluation is reported when training is ahead of it.
        self._done = max(self._done, self._base + gradient_steps * self._runs)
        if time.monotonic() - self._reported > _INTERVAL:
            self.send()

    def send(self, scores: tuple[Scored, ...] = (), failures: tuple[Failed, ...] = ()) -> None:
        """Report now, with these new scores and failures."""
        self._reported = time.monotonic()
        steps = (self._done - self._base) // self._runs
        increments = np.array(steps // self._schedule.protocol.updates_per_increment)
        transitions = int(self._schedule.seen(increments))
        # More than the total where steps are taken again, after memory did not suffice.
        share = min(self._done / self.total, 1.0) if self.total else 1.0
        self.report(Progress(self.job, share, self._done, transitions, scores, failures))
