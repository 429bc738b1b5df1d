"""A job: one stack of runs carried from where it stands to the end, with everything it leaves on disk."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqeval_rl import checkpoint
from seqeval_rl.errors import SeqevalError
from seqeval_rl.evaluation import Evaluator
from seqeval_rl.loop import Outcome, Stack, sequential_evaluation
from seqeval_rl.protocol import Protocol
from seqeval_rl.readers import load_dataset
from seqeval_rl.recording import RunRecorder
from seqeval_rl.registry import find_algorithm
from seqeval_rl.stream import Stream
from seqeval_rl.tasks import Task

LANES_WORTH_A_PROCESS = 4


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know; plain data, so that it travels."""

    stream: str
    sources: tuple[str, ...]  # see readers.load_dataset
    task: Task
    algorithm: str  # reference, see registry.find_algorithm
    settings: dict[str, Any]  # of its Config; the Config itself may be of a class that only this process has loaded
    protocol: Protocol
    seeds: tuple[int, ...]
    directories: tuple[Path, ...]  # one per seed
    manifests: tuple[dict[str, Any], ...]  # one per seed
    device: str
    backend: str  # of the environments: auto, envpool or gymnasium
    overwrite: bool
    cost: float  # estimated seconds of one core


@dataclass(frozen=True)
class Progress:
    """What a job tells while it runs."""

    job: int
    share: float  # of its gradient steps, 0 to 1
    note: str | None = None  # a new score, for people


@dataclass(frozen=True)
class RunEnd:
    """How a run ended."""

    directory: Path
    status: str  # finished, failed (diverged; it stays so) or crashed (an exception; the same command tries again)
    message: str = ""


class Reporter:
    """Records a stack's outcomes run by run, and takes a run that has diverged out of the books."""

    def __init__(self, job: Job, stack: Stack, recorders: list[RunRecorder], announce: Callable[[str], None]):
        """For a stack whose recorders are open."""
        self._job, self._stack, self._recorders, self._announce = job, stack, recorders, announce
        self.failures: dict[int, str] = {}

    def __call__(self, outcome: Outcome) -> bool:
        """Record and save every run that is still sound; False when none is."""
        states = self._stack.states()
        point = outcome.point
        for r, recorder in enumerate(self._recorders):
            if r in self.failures:
                continue
            failure = self._diverged(outcome, r)
            if failure:
                self.failures[r] = failure
                recorder.event("failed", message=failure, transitions=point.transitions)
                self._announce(f"{recorder.directory}: failed, {failure}")
                continue
            recorder.record(_entry(outcome, r), states[r])
            score = float(outcome.evaluation.scores[r].mean())
            self._announce(f"{self._name(r)} at {point.transitions:,} transitions: score {score:.1f}")
        return len(self.failures) < len(self._recorders)

    def _name(self, r: int) -> str:
        return f"{self._job.stream} {self._job.manifests[r]['algorithm']['name']} seed {self._job.seeds[r]}"

    def _diverged(self, outcome: Outcome, r: int) -> str | None:
        """Why run `r` cannot go on, in one line, or None."""
        where = f"at {outcome.point.transitions} transitions"
        limit = self._job.protocol.divergence_limit
        for name, values in outcome.metrics.items():
            if not np.isfinite(values[r]):
                return f"{name} is {values[r]} {where}: lower the learning rate, or look at the rewards' scale"
            if name.endswith("/q") and abs(values[r]) > limit:
                return (
                    f"exploding Q value: {name} = {values[r]:.3g} {where}, beyond protocol.divergence_limit = {limit:g}"
                )
        if r in outcome.evaluation.failures:
            return f"{outcome.evaluation.failures[r]} {where}"
        return None


def _entry(outcome: Outcome, r: int) -> dict[str, Any]:
    """One line of `metrics.jsonl`."""
    evaluation, point = outcome.evaluation, outcome.point
    metrics = {
        "score": float(evaluation.scores[r].mean()),
        "score_std": float(evaluation.scores[r].std()),
        "return": float(evaluation.returns[r].mean()),
        "length": float(evaluation.lengths[r].mean()),
        "seconds": outcome.seconds,
        "evaluation_seconds": evaluation.seconds,
        **{name: float(values[r]) for name, values in outcome.metrics.items()},
    }
    return {
        "evaluation": point.index,
        "phase": "offline",
        "block": outcome.block,
        "transitions": point.transitions,
        "gradient_steps": point.gradient_steps,
        "env_steps": 0,
        "metrics": metrics,
        "returns": evaluation.returns[r].tolist(),
        "lengths": evaluation.lengths[r].tolist(),
    }


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
    recorders = [RunRecorder(path, manifest) for path, manifest in zip(job.directories, job.manifests, strict=True)]
    opened: list[RunRecorder] = []
    try:
        for recorder in recorders:
            recorder.open(job.overwrite)
            opened.append(recorder)
        return _run(job, number, tell, environment_workers, recorders)
    except SeqevalError:
        raise
    except Exception as error:
        # A fault in a plug-in (or in here) must not cost the other runs; what was saved stays.
        text = traceback.format_exc()
        message = f"{type(error).__name__}: {error}"
        for recorder in opened:
            recorder.event("crashed", message=message, traceback=text)
        return [RunEnd(path, "crashed", f"{message} (traceback in events.jsonl)") for path in job.directories]
    finally:
        for recorder in opened:
            recorder.close()


def _run(
    job: Job, number: int, tell: Callable[[Progress], None], workers: int, recorders: list[RunRecorder]
) -> list[RunEnd]:
    stream = Stream(job.stream, [load_dataset(source, job.task, progress=False) for source in job.sources])
    entry = find_algorithm(job.algorithm)
    config = entry.configure(job.settings, f"the plan of {job.stream!r}")
    # A process for environments starts slowly; it is worth it from a handful of lanes on.
    workers = max(1, min(workers, len(job.seeds) * job.protocol.episodes // LANES_WORTH_A_PROCESS))
    with Evaluator(job.task, job.seeds, job.protocol.episodes, job.backend, workers) as evaluator:
        stack = Stack(stream, entry, config, job.protocol, job.seeds, evaluator, torch.device(job.device))
        done = _go_on(stack, recorders)
        for recorder in recorders:
            recorder.event("started", evaluations=done, environments=evaluator.backend)
        total = stack.schedule.gradient_steps
        last = 0.0
        share = 0.0

        def progress(gradient_steps: int) -> None:
            nonlocal last, share
            now = time.monotonic()
            if now - last > 0.3:
                last, share = now, gradient_steps / total
                tell(Progress(number, share))

        report = Reporter(job, stack, recorders, lambda note: tell(Progress(number, share, note)))
        sequential_evaluation(stack, report, progress, done)
    ends = []
    for r, recorder in enumerate(recorders):
        if r in report.failures:
            ends.append(RunEnd(recorder.directory, "failed", report.failures[r]))
        else:
            recorder.event("finished")
            ends.append(RunEnd(recorder.directory, "finished"))
    return ends


def _go_on(stack: Stack, recorders: list[RunRecorder]) -> int:
    """Load the newest state that all runs have; returns how many evaluations are behind it (0: from the start)."""
    common = set.intersection(*(set(recorder.resumable()) for recorder in recorders))
    for index in sorted(common, reverse=True):
        states = [checkpoint.load(recorder.checkpoints, index) for recorder in recorders]
        whole = [state for state in states if state is not None]
        if len(whole) == len(recorders):
            stack.load_states(whole)
            for recorder in recorders:
                recorder.keep(index + 1)
                recorder.event("resumed", evaluation=index)
            return index + 1
        for recorder, state in zip(recorders, states, strict=True):
            if state is None:
                recorder.event("warning", message=f"checkpoint of evaluation {index} is unreadable and not used")
    for recorder in recorders:
        recorder.keep(0)
    return 0
