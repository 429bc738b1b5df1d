"""Training a behavior policy: an algorithm in the online phase from nothing, with every checkpoint that may become a level.

The run has a directory as any other, and resumes when it was interrupted. In addition to its own two checkpoints it
keeps, under `policies/`, the state of every evaluation that scored more than all before (see `levels`).
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.description import describe_stream
from seqeval_rl.data.minari_writer import check_vectors
from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.spaces import check_time_limit
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import MismatchError, SeqevalError
from seqeval_rl.experiments.reporter import Reporter
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.results import checkpoint
from seqeval_rl.results.manifest import Manifest, describe_provenance
from seqeval_rl.results.read import read_results
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.evaluation_queue import Outcome
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.online import TERMINATED
from seqeval_rl.training.sequences import check_sequences
from seqeval_rl.training.trainer import Run, Trainer
from seqeval_rl.training.visible_columns import check_columns
from seqeval_rl.utils.console import progress_bar

POLICIES = "policies"  # in a run's directory


@dataclass(frozen=True)
class Training:
    """A training, before, during and after it."""

    directory: Path
    task: Task
    entry: AlgorithmEntry
    config: Any
    protocol: Protocol  # of the online phase: `online` transitions in all, the first `initial` with uniform actions
    seed: int

    @property
    def stream(self) -> Stream:
        """Without a dataset: online learning alone."""
        return Stream(f"{self.task.name} online", [], self.task)

    def manifest(self, device: torch.device) -> dict[str, Any]:
        """As a sweep writes it."""
        stream = self.stream
        return Manifest(
            suite="collect",
            dataset=describe_stream(stream) | {"sha256": None},
            task=self.task.as_dict(),
            algorithm=self.entry.name,
            config=asdict(self.config),
            protocol=self.protocol,
            seed=self.seed,
            precision="float32",
            evaluations_expected=len(Schedule(self.protocol, 0, stream.name).points()),
            citation=self.entry.citation,
            source_sha256=self.entry.source_sha256,
            provenance=describe_provenance(str(device)),
        ).as_dict()

    def scores(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Transitions [P] and scores [P] of the evaluations so far."""
        return read_results(self.directory)[0].curve("score")

    def policy(self, evaluation: int) -> Policy:
        """The policy as it was at an evaluation that scored more than all before. Raises `SeqevalError` where it is lost."""
        return Policy(self.entry, self.config, self.task, self.state(evaluation), self.seed)

    def state(self, evaluation: int) -> dict[str, Any]:
        """Its state, see `Trainer.states`, without what it had gathered."""
        folder = self._folder(evaluation)
        state = checkpoint.load(folder, evaluation)
        if state is None:
            raise SeqevalError(f"{folder}: expected the policy of evaluation {evaluation}, found none. Train it again.")
        return state

    def replay(self, transitions: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """What it gathered first: rows [n, D], where episodes ended [n], and where in a terminal state [n]."""
        evaluation, state = checkpoint.newest(self.directory / "checkpoint")
        if evaluation + 1 < len(self.scores()[0]):
            raise SeqevalError(f"{self.directory}: its newest checkpoint cannot be read. Train it again.")
        rows, ends = (state["online"][name][0].numpy()[:transitions] for name in ("rows", "ends"))
        return rows, ends > 0, ends == TERMINATED

    def _folder(self, evaluation: int) -> Path:
        return self.directory / POLICIES / f"{evaluation:06d}"

    def keep(self, outcome: Outcome, scores: list[float]) -> None:
        """Save the policy of this evaluation if it is better than all before, whose scores these are."""
        score = float(outcome.evaluation.scores[0].mean())
        if not scores or score > max(scores):
            state = {name: outcome.states[0][name] for name in ("algorithm", "preprocessing")}
            checkpoint.save(self._folder(outcome.point.index), outcome.point.index, state)


def train(training: Training, device: torch.device, overwrite: bool = False, progress: bool = True) -> None:
    """Train to the end, from wherever an attempt before was left; with `overwrite`, a run of other settings that is in the
    way is deleted first.

    Raises:
        UsageError: the task's observations are images, the algorithm is for other actions, or it has no online phase.
        MismatchError: the directory holds a run of other settings.
        BusyError: another process writes to it.
        FileError: it cannot be written.
        SeqevalError: the training diverged, or its environment raised.
    """
    _check(training, device)
    recorder = RunRecorder(training.directory, training.manifest(device))
    try:
        recorder.check()
        anew = False
    except MismatchError:
        if not overwrite:
            raise
        anew = True
    recorder.open(anew)
    try:
        _resume(training, recorder, device, progress)
    finally:
        recorder.close()


def _check(training: Training, device: torch.device) -> None:
    """Raise `UsageError` unless the algorithm can be trained in this task."""
    check_vectors(training.task, f"training in {training.task.name}")
    entry, stream, where = training.entry, training.stream, f"task {training.task.name}"
    spec = Spec(stream.obs_shape, stream.act_dim, (training.seed,), device, stream.action_classes)
    entry.check_spaces(spec, where)
    check_columns(entry.name, entry.columns(training.config), training.protocol, where)
    check_sequences(entry, training.config, training.protocol, stream, where)


def _resume(training: Training, recorder: RunRecorder, device: torch.device, progress: bool) -> None:
    done, state = recorder.resume()
    if done == recorder.manifest["evaluations_expected"]:
        return
    if not done:
        shutil.rmtree(training.directory / POLICIES, ignore_errors=True)
    scores = training.scores()[1].tolist() if done else []
    stream, protocol = training.stream, training.protocol
    check_time_limit(training.task.environment, protocol.max_episode_steps)
    name = f"{training.task.name} {training.entry.name}"
    with (
        Evaluator(
            training.task, [training.seed], protocol.episodes, "auto", 1, protocol.max_episode_steps
        ) as evaluator,
        Trainer([Run(stream, training.config, training.seed)], training.entry, protocol, device) as trainer,
        progress_bar(name, Schedule(protocol, 0, stream.name).gradient_steps, progress, " updates") as bar,
    ):
        if state:
            trainer.load_states([state])
        recorder.event("started", evaluations=done, environments=evaluator.backend, runs=1)
        record = Reporter([recorder], protocol)

        def report(outcome: Outcome) -> bool:
            # The policy first: a recorded evaluation always has what it may be asked for.
            training.keep(outcome, scores)
            alive = record(outcome)
            scores.append(float(outcome.evaluation.scores[0].mean()))
            bar.set_postfix_str(f"score {scores[-1]:.1f}")
            return alive

        def show_progress(gradient_steps: int) -> None:
            bar.update(gradient_steps - bar.n)

        sequential_evaluation(trainer, evaluator, report, show_progress, done)
        show_progress(bar.total)
    if record.failures:
        remedy = "Correct it" if record.crashed else "Train it with other settings, or another seed"
        raise SeqevalError(f"{training.directory}: {record.failures[0]}. {remedy}.")
    recorder.event("finished")
