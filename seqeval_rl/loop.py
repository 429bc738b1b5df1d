"""Sequential evaluation as one function: Algorithm 1 of Sujit et al. (arXiv 2212.08131), for a stack of runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.algorithm import Algorithm, Spec
from seqeval_rl.engine import Engine
from seqeval_rl.evaluation import Evaluation, Evaluator
from seqeval_rl.preprocessing import Preprocessing, VisibleMoments
from seqeval_rl.protocol import Point, Protocol, Schedule
from seqeval_rl.registry import AlgorithmEntry
from seqeval_rl.replay import Batches, Replay
from seqeval_rl.state import join_states, split_state
from seqeval_rl.stream import Stream


@dataclass(frozen=True)
class Outcome:
    """What a point of the loop yields for the runs of a stack."""

    point: Point
    block: str  # label of the block that the newest visible transition belongs to
    evaluation: Evaluation
    metrics: dict[str, NDArray[np.float64]]  # means since the point before, each [R]
    seconds: float  # wall time since the point before


class Stack:
    """R runs of one algorithm on one stream, differing in seed, ready to train side by side."""

    def __init__(
        self,
        stream: Stream,
        entry: AlgorithmEntry,
        config: Any,
        protocol: Protocol,
        seeds: tuple[int, ...],
        evaluator: Evaluator,
        device: torch.device,
    ):
        """Nothing is trained yet. Raises `DataError` where the stream is too short for the protocol."""
        self.stream, self.evaluator, self.seeds = stream, evaluator, seeds
        self.schedule = Schedule(protocol, len(stream), f"stream {stream.name!r}")
        first, task = stream.first, stream.first.task
        spec = Spec(first.obs_shape, first.act_dim, seeds, device)
        rows, arrivals = stream.rows(), [stream.arrival(protocol.order, seed) for seed in seeds]
        replay = Replay(rows, arrivals, first.obs_shape, first.act_dim, device)
        obs_dim = int(np.prod(first.obs_shape))
        normalise = getattr(config, "normalise_observations", False)
        moments = VisibleMoments(rows, arrivals, obs_dim, protocol.window) if normalise else None
        span = getattr(config, "return_range", None)
        reward_scale = 1.0 if span is None else span / (task.reference_max - task.reference_min)
        self.preprocessing = Preprocessing(moments, obs_dim, first.act_dim, len(seeds), reward_scale, device)
        self.preprocessing.refresh(protocol.initial)
        self.algorithm: Algorithm = entry.build(config, spec)
        batches = Batches(replay, self.schedule, seeds, entry.noise_dim(config, spec))
        self.engine = Engine(self.algorithm, batches, self.preprocessing)

    def states(self) -> list[dict[str, Any]]:
        """One state per run: networks, optimisers and statistics; batches need none (see `replay`)."""
        runs = len(self.seeds)
        algorithm = split_state(self.algorithm.state_dict(), runs)
        preprocessing = split_state(self.preprocessing.state_dict(), runs)
        return [{"algorithm": a, "preprocessing": p} for a, p in zip(algorithm, preprocessing, strict=True)]

    def load_states(self, states: list[dict[str, Any]]) -> None:
        """The inverse of `states`."""
        self.algorithm.load_state_dict(join_states([state["algorithm"] for state in states]))
        self.preprocessing.load_state_dict(join_states([state["preprocessing"] for state in states]))


def sequential_evaluation(
    stack: Stack, report: Callable[[Outcome], bool], progress: Callable[[int], None], done: int = 0
) -> None:
    """Reveal the stream and train as it grows, evaluating at each point of the schedule.

    Args:
        stack: the runs, fresh or with the states loaded that they had after evaluation `done - 1`.
        report: takes each outcome, records and saves it; returns False when no run is left that could go on.
        progress: is told the gradient steps taken so far, a few times between evaluations.
        done: evaluations that are behind us.
    """
    points = stack.schedule.points()
    gradient_steps = points[done - 1].gradient_steps if done else 0
    for point in points[done:]:
        started = time.perf_counter()
        # Each increment reveals γ transitions and is followed by K gradient steps on the visible window.
        metrics = stack.engine.train(gradient_steps, point.gradient_steps, progress)
        gradient_steps = point.gradient_steps
        evaluation = stack.evaluator.evaluate(stack.engine.greedy, point.index)
        # Statistics change only here, after the policy that was trained under the old ones has been evaluated.
        stack.preprocessing.refresh(point.transitions)
        block = stack.stream.block_at(point.transitions).label
        if not report(Outcome(point, block, evaluation, metrics, time.perf_counter() - started)):
            return
