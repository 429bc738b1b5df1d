"""A job: one stack of runs carried from where it stands to the end, with everything it leaves on disk."""

from __future__ import annotations

import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from seqeval_rl.environments.make import worthwhile_workers
from seqeval_rl.errors import SeqevalError
from seqeval_rl.experiments.job import Job, PlannedRun, RunEnd
from seqeval_rl.experiments.progress import Failed, Progress, Scored
from seqeval_rl.experiments.reporter import Recorded, Reporter
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Schedule
from seqeval_rl.results import checkpoint
from seqeval_rl.results.read import METRICS, read_lines
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.training.device import matrix_products
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.evaluation_queue import Outcome
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.trainer import Run, Trainer


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
    state: dict[str, Any]  # see `Trainer.states`; empty: from the start


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
                num_envs = len(runs) * episodes
                workers = worthwhile_workers(job.task.environment, num_envs, job.backend, self._environment_workers)
                evaluator = opened.enter_context(Evaluator(job.task, seeds, episodes, job.backend, workers))
            trainer = opened.enter_context(Trainer(members, self._entry, job.protocol, torch.device(job.device)))
            if states:
                trainer.load_states(states)
            for _, recorder in runs:
                environments = "none" if evaluator is None else evaluator.backend
                recorder.event("started", evaluations=done, environments=environments, stack=len(runs))
            points = trainer.points()
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
            sequential_evaluation(trainer, evaluator, report, told, done)
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
        del trainer, report, opened  # and with them what they have on the device
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
