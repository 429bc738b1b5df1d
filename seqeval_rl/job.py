"""A job: one stack of runs carried from where it stands to the end, with everything it leaves on disk."""

from __future__ import annotations

import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.make import worthwhile_workers
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import SeqevalError
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.progress import Failed, Progress, Scored
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.results import checkpoint
from seqeval_rl.results.read import METRICS, PREFIX, read_lines
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.training.device import Precision, matrix_products
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.prequential import recorded
from seqeval_rl.training.trainer import Outcome, Run, Stack

# Metrics that a run may not have at a point: no exploration episode ended, nothing was about to arrive.
MAY_BE_ABSENT = (PREFIX, "online/")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a job; plain data, so that it travels."""

    stream: StreamSpec
    # Of the algorithm's Config; the Config itself may be of a class that only this process has loaded.
    settings: dict[str, Any]
    seed: int
    directory: Path
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know: runs that train as one stack, and how."""

    runs: tuple[PlannedRun, ...]
    task: Task
    algorithm: str  # reference, see registry.find_algorithm
    protocol: Protocol
    device: str
    backend: str  # of the environments: auto, envpool or gymnasium
    precision: Precision  # of matrix products
    overwrite: bool
    cost: float  # estimated seconds of one core


@dataclass(frozen=True)
class RunEnd:
    """How a run ended."""

    directory: Path
    status: str  # finished, failed (diverged; it stays so) or crashed (an exception; the same command tries again)
    message: str = ""


class Reporter:
    """Records a stack's outcomes run by run, and takes a run that has diverged out of the books."""

    def __init__(
        self,
        runs: Sequence[Recorded],
        divergence_limit: float,
        announce: Callable[[Mapping[int, float], Mapping[int, str], Outcome], None],
    ):
        """For the runs of a stack, whose recorders are open; `announce` takes new scores and failures by run."""
        self._runs, self._limit, self._announce = runs, divergence_limit, announce
        self.failures: dict[int, str] = {}
        self.states: list[dict[str, Any]] = []  # as last reported

    def __call__(self, outcome: Outcome) -> bool:
        """Record and save every run that is still sound; False when none is."""
        self.states = outcome.states
        scores: dict[int, float] = {}
        failures: dict[int, str] = {}
        for r, (_, recorder) in enumerate(self._runs):
            if r in self.failures:
                continue
            failure = self._diverged(outcome, r)
            if failure:
                self.failures[r] = failures[r] = failure
                recorder.event("failed", message=failure, transitions=outcome.point.transitions)
                continue
            entry = event_entry(outcome, r)
            recorder.record(entry, outcome.states[r])
            if "score" in entry["metrics"]:
                scores[r] = entry["metrics"]["score"]
        self._announce(scores, failures, outcome)
        return len(self.failures) < len(self._runs)

    def _diverged(self, outcome: Outcome, r: int) -> str | None:
        """Why run `r` cannot go on, in one line, or None."""
        where = f"at {outcome.point.transitions} transitions"
        limit = self._limit
        for name, values in outcome.metrics.items():
            if name.startswith(MAY_BE_ABSENT):
                continue
            if not np.isfinite(values[r]):
                return f"{name} is {values[r]} {where}: lower the learning rate, or look at the rewards' scale"
            if name.endswith("/q") and abs(values[r]) > limit:
                return (
                    f"exploding Q value: {name} = {values[r]:.3g} {where}, beyond protocol.divergence_limit = {limit:g}"
                )
        if r in outcome.evaluation.failures:
            return f"{outcome.evaluation.failures[r]} {where}"
        return None


def event_entry(outcome: Outcome, r: int) -> dict[str, Any]:
    """One line of `metrics.jsonl`."""
    evaluation, point = outcome.evaluation, outcome.point
    played: dict[str, float] = {}
    if evaluation.scores.size:
        played = {
            "score": float(evaluation.scores[r].mean()),
            "score_std": float(evaluation.scores[r].std()),
            "return": float(evaluation.returns[r].mean()),
            "length": float(evaluation.lengths[r].mean()),
        }
    found = recorded({name: float(values[r]) for name, values in outcome.metrics.items()})
    metrics = {
        **played,
        "seconds": outcome.seconds,
        "evaluation_seconds": evaluation.seconds,
        **{name: value for name, value in found.items() if np.isfinite(value) or not name.startswith(MAY_BE_ABSENT)},
    }
    return {
        "evaluation": point.index,
        "phase": point.phase,
        "block": outcome.blocks[r],
        "transitions": point.transitions,
        "gradient_steps": point.gradient_steps,
        "env_steps": point.env_steps,
        "metrics": metrics,
        "returns": evaluation.returns[r].tolist(),
        "lengths": evaluation.lengths[r].tolist(),
    }


class Recorded(NamedTuple):
    """A run and what writes its files."""

    run: PlannedRun
    recorder: RunRecorder


def execute(job: Job, number: int, tell: Callable[[Progress], None], environment_workers: int) -> list[RunEnd]:
    """Carry the job's runs to the end.

    Args:
        job: what to run.
        number: the job's number, for progress.
        tell: takes progress, at most a few times a second.
        environment_workers: processes (or threads of envpool) for the evaluation's environments.

    Raises:
        SeqevalError: the files or the data do not allow it; nothing that was there is lost.
    """
    tell(Progress(number, 0.0))
    runs = [Recorded(run, RunRecorder(run.directory, run.manifest)) for run in job.runs]
    opened: list[RunRecorder] = []
    ends: dict[Path, RunEnd] = {}
    try:
        for _, recorder in runs:
            recorder.open(job.overwrite)
            opened.append(recorder)
        with matrix_products(job.precision):
            _Work(job, number, tell, environment_workers, ends).go_on(_saved(runs))
        return [ends[run.directory] for run in job.runs]
    except SeqevalError:
        raise
    except Exception as error:
        # A fault in a plug-in (or in here) must not cost the other runs; what was saved stays.
        text = traceback.format_exc()
        message = f"{type(error).__name__}: {error}"
        for recorder in opened:
            if recorder.directory not in ends:
                recorder.event("crashed", message=message, traceback=text)
        crashed = f"{message} (traceback in events.jsonl)"
        return [ends.get(run.directory, RunEnd(run.directory, "crashed", crashed)) for run in job.runs]
    finally:
        for recorder in opened:
            recorder.close()


class Saved(NamedTuple):
    """A run and what it goes on from."""

    run: Recorded
    state: dict[str, Any]  # see `loop.Stack.states`; empty: from the start


class _Work:
    """A job on its way: its data, its algorithm, and how its runs ended."""

    def __init__(
        self,
        job: Job,
        number: int,
        tell: Callable[[Progress], None],
        environment_workers: int,
        ends: dict[Path, RunEnd],
    ):
        """`ends` is filled as runs end."""
        self._job, self._number, self._tell, self._environment_workers = job, number, tell, environment_workers
        self._entry = find_algorithm(job.algorithm)
        # One object for each stream: runs that share it share its rows in memory.
        self._streams = {
            spec: replace(spec, task=job.task).load() for spec in dict.fromkeys(run.stream for run in job.runs)
        }
        self._places = {run.directory: place for place, run in enumerate(job.runs)}
        self._total = 0  # gradient steps to be taken, of all runs together
        self._done = 0  # of these
        self._told = 0.0
        self.ends = ends

    def _schedule(self, run: PlannedRun) -> Schedule:
        return Schedule(self._job.protocol, len(self._streams[run.stream]))

    def go_on(self, saved: Mapping[int, Sequence[Saved]]) -> None:
        """Carry all runs to their ends, from the evaluations at which they stand (see `_saved`)."""
        for done, part in saved.items():
            for one in part:
                schedule = self._schedule(one.run.run)
                self._total += schedule.gradient_steps - (schedule.points()[done - 1].gradient_steps if done else 0)
        earlier = [
            Scored(self._places[one.run.run.directory], index, entry["metrics"]["score"])
            for part in saved.values()
            for one in part
            for index, entry in enumerate(read_lines(one.run.recorder.directory / METRICS))
            if "score" in entry["metrics"]
        ]
        if earlier:
            self._tell(Progress(self._number, 0.0, scores=tuple(earlier)))
        for done, part in saved.items():
            self.carry([one.run for one in part], [one.state for one in part] if done else [], done)

    def carry(self, runs: Sequence[Recorded], states: list[dict[str, Any]], done: int) -> None:
        """Carry runs that stand at the same evaluation to their ends: side by side as far as they have points in common,
        then those of the shortest streams and the others each by themselves."""
        job = self._job
        planned = [run for run, _ in runs]
        members = [
            Run(
                self._streams[run.stream],
                self._entry.configure(run.settings, f"the plan of {run.stream.name!r}"),
                run.seed,
            )
            for run in planned
        ]
        episodes = job.protocol.episodes
        with ExitStack() as opened:
            evaluator = None
            if episodes:
                seeds = [run.seed for run in planned]
                lanes = len(runs) * episodes
                workers = worthwhile_workers(job.task.environment, lanes, job.backend, self._environment_workers)
                evaluator = opened.enter_context(Evaluator(job.task, seeds, episodes, job.backend, workers))
            stack = Stack(members, self._entry, job.protocol, evaluator, torch.device(job.device))
            opened.callback(stack.close)
            if states:
                stack.load_states(states)
            for _, recorder in runs:
                environments = "none" if evaluator is None else evaluator.backend
                recorder.event("started", evaluations=done, environments=environments, stack=len(runs))
            points = stack.points()
            base = self._done - (points[done - 1].gradient_steps if done else 0) * len(runs)
            longest = max((self._schedule(run) for run in planned), key=lambda schedule: schedule.total)

            def told(steps: int, force: bool = False, **news: Any) -> None:
                self._done = base + steps * len(runs)
                self._progress(longest, steps, force, **news)

            def announce(scores: Mapping[int, float], failures: Mapping[int, str], outcome: Outcome) -> None:
                place = [self._places[run.directory] for run in planned]
                told(
                    # An evaluation beside training may be told when training has gone on from there.
                    max(outcome.point.gradient_steps, (self._done - base) // len(runs)),
                    True,
                    scores=tuple(Scored(place[r], outcome.point.index, score) for r, score in scores.items()),
                    failures=tuple(Failed(place[r], reason) for r, reason in failures.items()),
                )

            report = Reporter(runs, job.protocol.divergence_limit, announce)
            told(points[done - 1].gradient_steps if done else 0, True)
            sequential_evaluation(stack, report, told, done)
        self._done = base + points[-1].gradient_steps * len(runs)
        left: dict[bool, list[int]] = {}
        shortest = min(self._schedule(run).total for run in planned)
        for r, (run, recorder) in enumerate(runs):
            if r in report.failures:
                self.ends[run.directory] = RunEnd(run.directory, "failed", report.failures[r])
            elif len(self._schedule(run).points()) == len(points):
                recorder.event("finished")
                self.ends[run.directory] = RunEnd(run.directory, "finished")
            else:
                left.setdefault(self._schedule(run).total == shortest, []).append(r)
        states = report.states or states
        del stack, report, opened  # and with them what they have on the device
        for _, part in sorted(left.items(), reverse=True):  # the shortest first: they are nearly there
            self.carry([runs[r] for r in part], [states[r] for r in part], len(points))

    def _progress(self, schedule: Schedule, steps: int, force: bool, **news: Any) -> None:
        """Tell how much is done and what is new, twice a second at most unless there are news.

        Args:
            schedule: of the runs that train at the moment.
            steps: gradient steps that each of them has taken, in all attempts.
            force: tell it now.
            news: see `Progress`.
        """
        now = time.monotonic()
        if force or now - self._told > 0.5:
            self._told = now
            increments = np.array(steps // self._job.protocol.updates_per_increment)
            transitions = int(schedule.seen(increments))
            self._tell(
                Progress(
                    self._number, self._done / self._total if self._total else 1.0, self._done, transitions, **news
                )
            )


def _saved(runs: Sequence[Recorded]) -> dict[int, list[Saved]]:
    """The runs by how many evaluations are behind them, each with its newest state that can be read; 0: from the start.

    A run of a stack whose checkpoints are damaged goes back by itself: what the others have recorded stays.
    """
    found: dict[int, list[Saved]] = defaultdict(list)
    for one in runs:
        recorder = one.recorder
        done, state = 0, None
        for index in sorted(recorder.resumable(), reverse=True):
            state = checkpoint.load(recorder.checkpoints, index)
            if state is not None:
                done = index + 1
                recorder.event("resumed", evaluation=index)
                break
            recorder.event("warning", message=f"checkpoint of evaluation {index} is unreadable and not used")
        recorder.keep(done)
        found[done].append(Saved(one, state or {}))
    return found
