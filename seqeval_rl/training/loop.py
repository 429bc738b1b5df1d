"""Algorithm 1 of Sujit et al. (arXiv 2212.08131), sequential evaluation of offline RL, for a group of runs trained together."""

from __future__ import annotations

import time
from collections.abc import Callable

from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.evaluation_queue import EvaluationQueue, Outcome
from seqeval_rl.training.trainer import Trainer


def sequential_evaluation(
    trainer: Trainer,
    evaluator: Evaluator | None,
    report: Callable[[Outcome], bool],
    progress: Callable[[int], None],
    resume_from: int = 0,
    asynchronous: bool | None = None,
) -> None:
    """Reveal the streams increment by increment, train on what is visible, and evaluate at each evaluation point.

    Args:
        trainer: the runs, untrained or with the states loaded that they had after evaluation `resume_from - 1`.
        evaluator: of R times E environments; none: the only scores are prequential ones.
        report: takes each evaluation's outcome, logs it and saves the checkpoint; returns False when every run has failed.
        progress: takes the number of gradient steps so far, a few times between evaluations.
        resume_from: number of evaluations that are already recorded.
        asynchronous: see `EvaluationQueue`.
    """
    evaluations = EvaluationQueue(trainer, evaluator, report, asynchronous)

    def update_progress(gradient_steps: int) -> None:
        progress(gradient_steps)
        evaluations.report_finished()

    for point in trainer.points()[resume_from:]:
        started = time.perf_counter()
        for increments in trainer.increments_until(point):  # offline all of them at once, online one at a time
            trainer.reveal(increments)  # gamma more transitions become visible with each
            trainer.update(increments, update_progress)  # K gradient steps for each, the newest in the first batch
        if not evaluations.wait():  # for an asynchronous evaluation of the previous point
            return
        evaluation = evaluations.evaluate(point)
        metrics = trainer.metrics()
        trainer.score_upcoming(point)  # prequential: transitions are scored before they are revealed
        trainer.refresh_statistics(point)  # only now: the policy that was evaluated was trained under the old ones
        labels, states = trainer.labels(point), trainer.states()
        outcome = Outcome(point, labels, evaluation, metrics, states, time.perf_counter() - started)
        if not evaluations.report(outcome):  # as soon as the evaluation is over: log, save the checkpoint
            return
    evaluations.wait()
