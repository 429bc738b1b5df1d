"""When evaluations run: at once, or asynchronously on the CPU while training continues on the GPU; recorded in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.protocol import EvaluationPoint
from seqeval_rl.training.evaluation import Evaluation, Evaluator
from seqeval_rl.training.trainer import Trainer

AT_ONCE = 2
"""Asynchronous evaluations at the same time. While the policy of one acts, the environments of the other are stepped, and the
last long episodes of one leave no core idle."""


@dataclass(frozen=True)
class Outcome:
    """What one evaluation point yields for the R runs of a group."""

    point: EvaluationPoint
    blocks: tuple[str, ...]  # [R], label of the block that the newest visible transition belongs to
    pending: Future[Evaluation]
    metrics: dict[str, NDArray[np.float64]]  # means since the previous point, each [R]
    states: list[dict[str, Any]]  # [R], what each run resumes from, see `Trainer.states`
    seconds: float  # wall time since the previous point
    failures: dict[int, str] = field(
        default_factory=dict
    )  # of environments of the online phase: run -> why, in one line
    # run -> traceback, of the failures above that are the environment's own
    tracebacks: dict[int, str] = field(default_factory=dict)

    @property
    def evaluation(self) -> Evaluation:
        """The scores; waits for them. Raises what the evaluation raised."""
        return self.pending.result()


class EvaluationQueue:
    """Evaluates a run group's policy and records the outcomes in order; at most `AT_ONCE` evaluations run at a time."""

    def __init__(
        self,
        trainer: Trainer,
        evaluator: Evaluator | None,
        record: Callable[[Outcome], bool],
        asynchronous: bool | None,
    ):
        """Without an `evaluator` evaluations are empty. `record` returns False when no run is left to train.

        Where `asynchronous`, a copy of the policy is evaluated on the CPU, in a thread, while training continues. None: on CUDA,
        except for algorithms that are not `capturable`. Those may use torch's global random generator when they act, which must
        not happen while they train.
        """
        if asynchronous is None:
            asynchronous = trainer.device.type == "cuda" and getattr(trainer.algorithm, "capturable", True)
        self.asynchronous = evaluator is not None and asynchronous
        self._trainer, self._evaluator, self._record = trainer, evaluator, record
        self._pending: deque[Outcome] = deque()  # in order, without those that are recorded
        self._alive = True

    def evaluate(self, point: EvaluationPoint) -> Future[Evaluation]:
        """Evaluate the policy as it is now, after `wait_for_room`; unless `asynchronous`, the result is there on return."""
        done: Future[Evaluation] = Future()
        if self._evaluator is None:
            none = np.empty((len(self._trainer.runs), 0))
            done.set_result(Evaluation(returns=none, lengths=none.astype(np.int64), scores=none))
        elif self.asynchronous:
            # The evaluation before the last `AT_ONCE` - 1 is over, and with it the use of its copy.
            policy = self._trainer.copy_policy(point.index % AT_ONCE)
            return self._evaluator.begin(policy, point.index)
        else:
            done.set_result(self._evaluator.evaluate(self._trainer.learner.policy(), point.index))
        return done

    def submit(self, outcome: Outcome) -> bool:
        """Record the outcome, at once or when its evaluation is over; False when no run is left to train."""
        self._pending.append(outcome)
        return self._alive if self.asynchronous else self.wait()

    def record_finished(self) -> None:
        """Record finished evaluations, without waiting for one that is not: an interruption then does not lose them."""
        while self._pending and self._pending[0].pending.done():
            self._record_next()

    def wait_for_room(self) -> bool:
        """Wait until another evaluation may begin; False when no run is left to train."""
        while len(self._pending) >= AT_ONCE:
            self._record_next()
        return self._alive

    def wait(self) -> bool:
        """Wait for the running evaluations and record them; False when no run is left to train."""
        while self._pending:
            self._record_next()
        return self._alive

    def _record_next(self) -> None:
        self._alive = self._record(self._pending.popleft()) and self._alive
