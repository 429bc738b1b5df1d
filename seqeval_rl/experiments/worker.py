"""Executes a job: trains the runs of one group to their ends, from where each was interrupted, and leaves their files."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqeval_rl.environments.make import worthwhile_workers
from seqeval_rl.environments.patience import with_patience
from seqeval_rl.errors import RunError, SeqevalError
from seqeval_rl.experiments.forking import first_state
from seqeval_rl.experiments.job import Job, PlannedRun, Progress, ProgressReporter, RunEnd, Scored, load_stream
from seqeval_rl.experiments.reporter import Reporter
from seqeval_rl.interface.isolation import isolated
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm
from seqeval_rl.protocol import EvaluationPoint, Schedule
from seqeval_rl.results.fork import FORKED_FROM
from seqeval_rl.results.loggers.logger import OptionalLoggers
from seqeval_rl.results.read import main_metric, scan_results
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.training.device import matrix_products, release_memory
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.trainer import Run, Trainer
from seqeval_rl.utils.failures import is_out_of_memory
from seqeval_rl.utils.interruption import was_interrupted
from seqeval_rl.utils.text import one_line
from seqeval_rl.utils.tracebacks import placed


def execute(job: Job, number: int, report: Callable[[Progress], None], environment_workers: int) -> list[RunEnd]:
    """Train the job's runs to their ends.

    Args:
        job, number: what to run, and its number for progress.
        report: takes progress, at most a few times a second.
        environment_workers: processes (or threads of envpool) for the evaluation's environments.

    Raises:
        SeqevalError: the files or the data do not allow it; nothing that was there is lost.
    """
    report(Progress(number, 0.0))
    recorders = [RunRecorder(run.directory, run.manifest) for run in job.runs]
    opened: list[RunRecorder] = []
    ends: dict[Path, RunEnd] = {}
    module = ""  # of the algorithm
    try:
        for recorder in recorders:
            recorder.open(job.overwrite)
            opened.append(recorder)
        loggers = OptionalLoggers(job.loggers, lambda text: report(Progress(number, 0.0, warnings=(text,))))
        progress = ProgressReporter(number, report)
        algorithm = find_algorithm(job.algorithm)
        module = algorithm.algorithm.__module__
        with isolated(job.device), matrix_products(job.precision), with_patience(job.patience), closing(loggers):
            _Execution(job, algorithm, progress, loggers, environment_workers, ends).run(recorders)
        return [ends[run.directory] for run in job.runs]
    except (Exception, SystemExit) as error:
        if was_interrupted() or (isinstance(error, SeqevalError) and not isinstance(error, RunError)):
            raise
        # A fault in a plug-in (or in here), or in an environment, must not cost the other runs; what was saved stays.
        reason = _reason(error, module)
        for recorder in opened:
            if recorder.directory not in ends:
                recorder.event("crashed", message=reason, traceback=traceback.format_exc())
        return [ends.get(run.directory, RunEnd(run.directory, "crashed", reason)) for run in job.runs]
    finally:
        for recorder in recorders:
            recorder.close()


def died(run: PlannedRun, reason: str) -> RunEnd:
    """How a run has ended whose process has died: this is recorded in its events, unless it had ended before."""
    found, recorder = scan_results(run.directory), RunRecorder(run.directory, run.manifest)
    if found and (found[0].status == "finished" or (found[0].status == "failed" and not found[0].crashed)):
        recorder.tidy()
        return RunEnd(run.directory, found[0].status, found[0].failure or "")
    if found:
        at = f"after evaluation {len(found[0].evaluations) - 1}" if len(found[0].evaluations) else "at its start"
        reason = f"{reason} ({at})"
        recorder.event("crashed", message=reason)
    return RunEnd(run.directory, "crashed", reason)


def _reason(error: BaseException, module: str) -> str:
    """Why a run cannot continue, in one line, with the file and line in the algorithm's `module`, or else in an environment."""
    if isinstance(error, RunError):
        return placed(error, module, " ".join(str(error).split()).rstrip("."))
    return placed(error, module)


@dataclass(frozen=True)
class _Member:
    """A run of the job."""

    index: int  # in the job
    run: PlannedRun
    schedule: Schedule
    recorder: RunRecorder
    state: dict[str, Any]  # to resume from, see `Trainer.states`; empty at the start


@dataclass(frozen=True)
class _Execution:
    """A job in progress."""

    job: Job
    algorithm: AlgorithmEntry
    progress: ProgressReporter
    loggers: OptionalLoggers
    environment_workers: int
    ends: dict[Path, RunEnd]  # filled as runs end

    def run(self, recorders: Sequence[RunRecorder]) -> None:
        """Train all runs to their ends."""
        pairs = list(enumerate(recorders))
        groups = self._resume(pairs)
        scores: list[Scored] = []
        for index, recorder in pairs:
            metric = main_metric(self.job.runs[index].manifest)
            entries = enumerate(recorder.lines().entries)
            scores += [
                Scored(index, i, entry["metrics"][metric])
                for i, entry in entries
                if entry and metric in entry["metrics"]
            ]
        if scores:
            self.progress.report(Progress(self.progress.job, 0.0, scores=tuple(scores)))
        for recorded, members in groups.items():
            for member in members:
                steps = _steps_before(member.schedule.points(), recorded)
                self.progress.total += member.schedule.gradient_steps - steps
        self._train_all(groups)

    def _resume(self, recorders: Sequence[tuple[int, RunRecorder]]) -> dict[int, list[_Member]]:
        """The runs of these recorders, by the number of evaluations that they have recorded.

        A run whose checkpoints are damaged goes back alone: what the others have recorded is not computed again.
        """
        groups: dict[int, list[_Member]] = defaultdict(list)
        for index, recorder in recorders:
            run = self.job.runs[index]
            recorded, state = recorder.resume()
            stream = load_stream(run.stream)
            if not recorded and FORKED_FROM in run.manifest:
                state = first_state(run, stream, self.algorithm, self.job.protocol, self.job.patience)
                recorder.begin_fork(state)
                recorded = recorder.begins_after + 1
            schedule = Schedule(self.job.protocol, len(stream))
            groups[recorded].append(_Member(index, run, schedule, recorder, state))
        return groups

    def _train_all(self, groups: Mapping[int, Sequence[_Member]]) -> None:
        """Train those runs together that resume from the same evaluation."""
        for recorded, members in groups.items():
            self._train(members, [member.state for member in members], recorded)

    def _train(self, members: Sequence[_Member], states: list[dict[str, Any]], recorded: int) -> None:
        """Train runs that have the same evaluations behind them: together as far as they share evaluation points, then those of
        the shortest streams, and the others, in groups of their own. Where memory does not suffice, in two halves."""
        try:
            left, states, points = self._train_together(members, states, recorded)
        except Exception as error:
            if len(members) == 1 or not is_out_of_memory(error):
                raise
            reason = one_line(error)
        else:
            for part in left:
                self._train([members[r] for r in part], [states[r] for r in part], points)
            return
        # Not inside of the handler: the exception refers to everything that is to be released.
        release_memory(self.job.device)
        half = -(-len(members) // 2)
        text = f"out of memory with {len(members)} runs in a group, which continue with {half} at a time ({reason})"
        first = members[0].run.directory
        self.progress.report(Progress(self.progress.job, 0.0, warnings=(f"{first} and others: {text}",)))
        for member in members:
            member.recorder.event("warning", message=text)
        for some in (members[:half], members[half:]):
            unended = [member for member in some if member.run.directory not in self.ends]
            self._train_all(self._resume([(member.index, member.recorder) for member in unended]))

    def _train_together(
        self, members: Sequence[_Member], states: list[dict[str, Any]], recorded: int
    ) -> tuple[list[list[int]], list[dict[str, Any]], int]:
        """Train runs to the last evaluation point that all share: their indices in the groups that are left, see `_end`, their
        states, and the number of points."""
        reporter: Reporter | None = None
        with ExitStack() as stack:
            stack.callback(lambda: self._record_failures(members, reporter))
            evaluator = self._open_evaluator(members, stack)
            runs = []
            for run in (member.run for member in members):
                # Streams are loaded once: runs on the same stream share its rows in memory.
                config = self.algorithm.configure(run.settings, f"the plan of {run.stream.name!r}")
                runs.append(Run(load_stream(run.stream), config, run.seed))
            device = torch.device(self.job.device)
            trainer = stack.enter_context(Trainer(runs, self.algorithm, self.job.protocol, device))
            if recorded:
                trainer.load_states(states)
            environments = "none" if evaluator is None else evaluator.backend
            for member in members:
                member.recorder.event("started", evaluations=recorded, environments=environments, runs=len(members))
            points = trainer.points()
            longest = max((member.schedule for member in members), key=lambda schedule: schedule.total)
            self.progress.begin_group(longest, len(members), _steps_before(points, recorded))
            recorders = [member.recorder for member in members]
            reporter = Reporter(
                recorders, self.job.protocol, self.loggers, self.progress, [member.index for member in members]
            )
            sequential_evaluation(trainer, evaluator, reporter, self.progress.update, recorded)
        self.progress.update(points[-1].gradient_steps)
        return self._end(members, len(points)), reporter.states or states, len(points)

    def _open_evaluator(self, members: Sequence[_Member], stack: ExitStack) -> Evaluator | None:
        job, episodes = self.job, self.job.protocol.episodes
        if not episodes:
            return None
        num_envs = len(members) * episodes
        workers = worthwhile_workers(job.task.environment, num_envs, job.backend, self.environment_workers)
        seeds = [member.run.seed for member in members]
        return stack.enter_context(
            Evaluator(job.task, seeds, episodes, job.backend, workers, job.protocol.max_episode_steps)
        )

    def _record_failures(self, members: Sequence[_Member], reporter: Reporter | None) -> None:
        """The ends of the runs that could not continue."""
        if reporter is None:
            return
        for r, reason in reporter.failures.items():
            directory = members[r].run.directory
            self.ends[directory] = RunEnd(directory, "crashed" if r in reporter.crashed else "failed", reason)

    def _end(self, members: Sequence[_Member], points: int) -> list[list[int]]:
        """Record which runs have ended after so many evaluation points; returns the indices of those that are left: of the
        shortest streams, which are nearly done, then the others."""
        left: dict[bool, list[int]] = {}
        shortest = min(member.schedule.total for member in members)
        for r, member in enumerate(members):
            directory = member.run.directory
            if directory in self.ends:
                continue
            if len(member.schedule.points()) == points:
                member.recorder.event("finished")
                self.ends[directory] = RunEnd(directory, "finished")
            else:
                left.setdefault(member.schedule.total != shortest, []).append(r)
        return [left[longer] for longer in sorted(left)]


def _steps_before(points: Sequence[EvaluationPoint], recorded: int) -> int:
    return points[recorded - 1].gradient_steps if recorded else 0
