"""What happens after each evaluation of a run group: metrics are logged, checkpoints saved, and diverged runs taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqeval_rl.experiments.job import Failed, ProgressReporter, Scored
from seqeval_rl.protocol import Protocol
from seqeval_rl.results import checkpoint
from seqeval_rl.results.loggers.jsonl import JsonlLogger
from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun, OptionalLoggers
from seqeval_rl.results.read import PREQUENTIAL, main_metric
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.training.evaluation_queue import Outcome
from seqeval_rl.training.prequential import recorded

# Metrics that a run may lack at an evaluation point: no exploration episode ended, no transition was about to arrive.
MAY_BE_ABSENT = (PREQUENTIAL, "online/")


class Reporter:
    """Called with each evaluation's `Outcome`."""

    def __init__(
        self,
        recorders: Sequence[RunRecorder],
        protocol: Protocol,
        loggers: OptionalLoggers | None = None,
        progress: ProgressReporter | None = None,
        indices: Sequence[int] = (),
    ):
        """For the R runs of a group: their open recorders [R], loggers other than `metrics.jsonl`, what new scores and failures
        are reported to, and the runs' indices in the job [R]."""
        self._recorders, self._limit = recorders, protocol.divergence_limit
        self._progress, self._indices = progress, indices or range(len(recorders))
        self._runs = [LoggedRun("/".join(r.directory.parts[-3:]), r.directory, r.manifest) for r in recorders]
        self._metrics_file, self._loggers = JsonlLogger(), loggers or OptionalLoggers()
        self.failures: dict[int, str] = {}  # by run, why it cannot continue
        self.crashed: set[int] = set()  # those of them whose environment raised
        self.states: list[dict[str, Any]] = []  # [R], after the latest evaluation

    def __call__(self, outcome: Outcome) -> bool:
        """Log the evaluation and save a checkpoint of every run that can continue; False when none can.

        Raises:
            FileError: `metrics.jsonl` or a checkpoint cannot be written.
            BusyError: another process has taken a run over.
        """
        self.states = outcome.states
        scores: list[Scored] = []
        failures: list[Failed] = []
        for r, recorder in enumerate(self._recorders):
            if r in self.failures:
                continue
            recorder.require_ownership()
            if failure := self._cause(outcome, r):
                self.failures[r] = failure
                failures.append(Failed(self._indices[r], failure))
                self._record_failure(recorder, outcome, r)
                continue
            at, evaluation = outcome.point, outcome.evaluation
            metrics = _logged_metrics(outcome, r, main_metric(recorder.manifest))
            point = LoggedPoint(
                at.index, at.transitions, at.gradient_steps, at.env_steps, outcome.blocks[r],
                tuple(evaluation.returns[r].tolist()), tuple(evaluation.lengths[r].tolist()),
            )  # fmt: skip
            self._metrics_file.log(self._runs[r], point, metrics)
            recorder.require_ownership()
            checkpoint.save(recorder.checkpoints, point.index, outcome.states[r])
            self._loggers.log(self._runs[r], point, metrics)
            if (metric := main_metric(recorder.manifest)) in metrics:
                scores.append(Scored(self._indices[r], point.index, metrics[metric]))
        if self._progress is not None:
            self._progress.update(outcome.point.gradient_steps)
            self._progress.send(tuple(scores), tuple(failures))
        return len(self.failures) < len(self._recorders)

    def _record_failure(self, recorder: RunRecorder, outcome: Outcome, r: int) -> None:
        """A run that has diverged stays so; one whose environment raised is tried again by the same command."""
        traceback = {**outcome.evaluation.tracebacks, **outcome.tracebacks}.get(r)
        details = {"message": self.failures[r], "transitions": outcome.point.transitions}
        if traceback is None:
            recorder.event("failed", **details)
        else:
            self.crashed.add(r)
            recorder.event("crashed", **details, traceback=traceback)

    def _cause(self, outcome: Outcome, r: int) -> str | None:
        """Why run `r` cannot continue, in one line, or None."""
        where, limit = f"at {outcome.point.transitions} transitions", self._limit
        if r in outcome.failures:
            return f"{outcome.failures[r]} {where}"
        for name, values in outcome.metrics.items():
            if name.startswith(MAY_BE_ABSENT):
                continue
            if not np.isfinite(values[r]):
                return f"{name} is {values[r]} {where}: lower the learning rate, or look at the rewards' scale"
            if name.endswith("/q") and abs(values[r]) > limit:
                beyond = f"beyond protocol.divergence_limit = {limit:g}"
                return f"exploding Q value: {name} = {values[r]:.3g} {where}, {beyond}"
        if r in outcome.evaluation.failures:
            return f"{outcome.evaluation.failures[r]} {where}"
        return None


def _logged_metrics(outcome: Outcome, r: int, main: str) -> dict[str, float]:
    """The metrics of run `r`, the main one with its deviation over episodes, without those that it lacks at this point."""
    evaluation = outcome.evaluation
    metrics: dict[str, float] = {}
    if evaluation.returns.size:
        values = evaluation.scores[r] if main == "score" else evaluation.returns[r]
        metrics = {main: float(values.mean()), f"{main}_std": float(values.std())}
        metrics |= {"return": float(evaluation.returns[r].mean()), "length": float(evaluation.lengths[r].mean())}
    metrics |= {"seconds": outcome.seconds, "evaluation_seconds": evaluation.seconds}
    trained = recorded({name: float(values[r]) for name, values in outcome.metrics.items()})
    return metrics | {
        name: value for name, value in trained.items() if np.isfinite(value) or not name.startswith(MAY_BE_ABSENT)
    }
