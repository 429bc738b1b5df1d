"""Algorithm 1 of Sujit et al. (arXiv 2212.08131): sequential evaluation of a group of runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from seqeval_rl.training.trainer import Outcome, Pending, Trainer


def sequential_evaluation(
    stack: Trainer, report: Callable[[Outcome], bool], progress: Callable[[int], None], done: int = 0
) -> None:
    """Reveal the streams and train as they grow, evaluating at each point that the runs share.

    Args:
        stack: the runs, fresh or with the states loaded that they had after evaluation `done - 1`.
        report: takes each outcome, records and saves it; returns False when no run is left that could go on.
        progress: is told the gradient steps taken so far, a few times between evaluations.
        done: evaluations that are behind us.
    """
    points = stack.points()
    gradient_steps = points[done - 1].gradient_steps if done else 0
    waiting: list[Pending] = []
    alive = True

    def settle() -> None:
        nonlocal alive
        alive = report(waiting.pop().outcome()) and alive

    def tell(gradient_steps: int) -> None:
        progress(gradient_steps)
        # An evaluation beside training is recorded as soon as it is over, so that an interruption does not cost it.
        if waiting and waiting[0].evaluation.done():
            settle()

    for point in points[done:]:
        started = time.perf_counter()
        metrics = stack.advance(gradient_steps, point, tell)
        gradient_steps = point.gradient_steps
        if waiting:  # one evaluation at a time
            settle()
        if not alive:
            return
        waiting.append(stack.begin(point, metrics, started))
        if not stack.beside:
            settle()
    if waiting:
        settle()
