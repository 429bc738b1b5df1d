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
    record: Callable[[Outcome], bool],
    progress: Callable[[int], None],
    resume_from: int = 0,
    asynchronous: bool | None = None,
) -> None:
    """Reveal the streams increment by increment, train on what is visible, and evaluate at each evaluation point.

    Args:
        trainer: the runs, untrained or with the states loaded that they had after evaluation `resume_from - 1`.
        evaluator: plays E evaluation episodes of each of the R runs; None: without an environment, the only scores are those of
            `Trainer.score_upcoming`.
        record: logs an outcome and saves the checkpoint; returns False when every run has failed.
        progress: takes the number of gradient steps so far, a few times between evaluations.
        resume_from: number of evaluations that are already recorded.
        asynchronous: see `EvaluationQueue`.
    """
    evaluations = EvaluationQueue(trainer, evaluator, record, asynchronous)

    def update_progress(gradient_steps: int) -> None:
        progress(gradient_steps)
        evaluations.record_finished()

    for point in trainer.points()[resume_from:]:
        started = time.perf_counter()
        for increments in trainer.increments_until(point):  # offline all of them at once, online one at a time
            trainer.reveal(increments)  # each makes `increment` more transitions visible
            trainer.update(increments, update_progress)  # `updates_per_increment` gradient steps each, see `Schedule`
        if not evaluations.wait_for_room():  # where earlier points are still evaluated
            return
        pending = evaluations.evaluate(point)
        metrics = trainer.metrics()
        trainer.score_upcoming(point)  # prequential scores: of transitions that are not revealed yet
        trainer.refresh_statistics(point)  # after the evaluation: that policy was trained under the previous ones
        blocks, states = trainer.labels(point), trainer.states()
        seconds = time.perf_counter() - started
        outcome = Outcome(point, blocks, pending, metrics, states, seconds, *trainer.environment_failures())
        if not evaluations.submit(outcome):  # recorded as soon as its evaluation is over
            return
    evaluations.wait()
