"""Throughput and time left of all jobs, from the progress that they report. Needs no torch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from seqeval_rl.experiments.job import Progress
from seqeval_rl.results.read import main_metric
from seqeval_rl.results.status import means
from seqeval_rl.results.status_table import GroupStatus

if TYPE_CHECKING:
    from seqeval_rl.experiments.job import Job, RunEnd

RECENT = 30.0  # seconds over which updates/s are measured
LONG = 600.0  # seconds over which the pace for the time left is measured: several evaluations, which slow it


class _Pace:
    """How fast an amount grows."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, now: float, amount: float) -> None:
        samples = self._samples
        # Two samples a second apart are as good as a hundred between them.
        if len(samples) > 1 and now - samples[-2][0] < 1.0:
            samples.pop()
        samples.append((now, amount))
        while samples[0][0] < now - LONG:
            samples.popleft()

    def rate(self, now: float, over: float) -> float | None:
        """Growth per second in the last `over` seconds; None until there is half a second to measure."""
        if not self._samples:
            return None
        last, amount = self._samples[-1]
        # Reports come in bursts, so the time since the last counts only when reports are missing.
        end = last if now - last < 2.0 else now
        first, before = next(((t, a) for t, a in self._samples if t >= end - over), self._samples[-1])
        return (amount - before) / (end - first) if end - first > 0.5 else None


class _Track:
    """One job."""

    def __init__(self, job: Job):
        runs = job.runs
        self.begun: float | None = None  # when, in seconds of a monotonic clock
        self.ended: float | None = None
        self.share = 0.0
        self.failed: dict[int, str] = {}  # run -> reason
        self._steps = 0
        self._transitions: int | None = None
        self._total = max(run.manifest["dataset"]["transitions"] + job.protocol.online for run in runs)
        self._dataset = _several([run.stream.name for run in runs])
        self._algorithm = _several([run.directory.parent.name for run in runs])
        self._metric = main_metric(runs[0].manifest)  # a job has one task
        self._seeds = tuple(sorted({run.seed for run in runs}))
        self._pace = _Pace()
        self._scores: dict[int, dict[int, float]] = {}  # run -> evaluation -> score

    def update(self, progress: Progress, now: float) -> None:
        if self.begun is None:
            self.begun = now
        self.share = max(self.share, progress.share)
        for run, evaluation, score in progress.scores:
            self._scores.setdefault(run, {})[evaluation] = score
        self.failed.update(progress.failures)
        if progress.transitions is not None:
            self._transitions, self._steps = progress.transitions, max(self._steps, progress.gradient_steps)
            self._pace.add(now, self._steps)

    def status(self, now: float) -> GroupStatus:
        sound = [scores for run, scores in self._scores.items() if run not in self.failed and scores]
        return GroupStatus(
            self._dataset, self._algorithm, self._seeds, self._transitions, self._total, means(sound),
            fmean(scores[max(scores)] for scores in sound) if sound else None,
            self._pace.rate(now, RECENT) if self.ended is None else None, self.left(now), metric=self._metric,
        )  # fmt: skip

    def left(self, now: float) -> float | None:
        """Seconds to its end at the pace of the last minutes; None where that is not known."""
        pace = self._pace.rate(now, LONG)
        if self.ended is not None or not pace or not self.share:
            return None
        return self._steps * (1 - self.share) / self.share / pace


def _several(names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    return different[0] if len(different) == 1 else f"{different[0]} +{len(different) - 1}"


class Totals(NamedTuple):
    """All jobs together."""

    done: int  # runs that have finished, failed or crashed
    runs: int
    running: int  # run groups
    waiting: int  # run groups
    elapsed: float  # seconds
    left: float | None  # seconds


class Tracker:
    """All jobs of a command; safe to update and to read from different threads."""

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self._lock = threading.Lock()
        self._tracks = [_Track(job) for job in jobs]
        self._began = clock()
        self._runs = sum(len(job.runs) for job in jobs)
        self._done = 0
        # An algorithm that raises is expected to cost nothing; it must not divide by it.
        self._costs = [max(job.cost, 1e-6) for job in jobs]
        self._pace = _Pace()
        self._pace.add(self._began, 0.0)

    def update(self, progress: Progress) -> None:
        """Take in a job's progress."""
        with self._lock:
            now = self.clock()
            self._tracks[progress.job].update(progress, now)
            self._pace.add(now, self._work())

    def end(self, number: int, ends: Sequence[RunEnd]) -> None:
        """A job is done."""
        self.update(Progress(number, 1.0))
        with self._lock:
            self._tracks[number].ended = self.clock()
            self._done += len(ends)

    def status(self, number: int) -> GroupStatus:
        """Progress, scores and throughput of a job."""
        with self._lock:
            return self._tracks[number].status(self.clock())

    def elapsed(self, number: int) -> float:
        """Seconds from a job's beginning to now, or to its end."""
        with self._lock:
            track, now = self._tracks[number], self.clock()
            return 0.0 if track.begun is None else (now if track.ended is None else track.ended) - track.begun

    def running(self) -> list[GroupStatus]:
        """The run groups that train, in the order in which they began."""
        with self._lock:
            now = self.clock()
            return [track.status(now) for track in sorted(self._running(), key=lambda track: track.begun or 0.0)]

    def totals(self) -> Totals:
        """All jobs together."""
        with self._lock:
            now, running = self.clock(), self._running()
            waiting = sum(track.begun is None for track in self._tracks)
            pace = self._pace.rate(now, LONG)
            # Costs are estimates and the last group may run alone: it is never over before the slowest that runs.
            left = [seconds for track in running if (seconds := track.left(now)) is not None]
            if pace:
                left.append((sum(self._costs) - self._work()) / pace)
            return Totals(self._done, self._runs, len(running), waiting, now - self._began, max(left, default=None))

    def _running(self) -> list[_Track]:
        return [track for track in self._tracks if track.begun is not None and track.ended is None]

    def _work(self) -> float:
        """Work done, in estimated seconds of one core."""
        return sum(track.share * cost for track, cost in zip(self._tracks, self._costs, strict=True))
