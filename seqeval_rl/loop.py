"""Sequential evaluation as one function: Algorithm 1 of Sujit et al. (arXiv 2212.08131), for a stack of runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.algorithm import Algorithm, Spec
from seqeval_rl.captured import Capture, make_engine
from seqeval_rl.engine import greedy
from seqeval_rl.errors import UsageError
from seqeval_rl.evaluation import Evaluation, Evaluator
from seqeval_rl.pixel_replay import PixelReplay
from seqeval_rl.pixels import Pixels, join
from seqeval_rl.preprocessing import Preprocessing, VisibleMoments
from seqeval_rl.protocol import Point, Protocol, Schedule
from seqeval_rl.registry import AlgorithmEntry
from seqeval_rl.replay import Batches, Replay
from seqeval_rl.stacking import stacked_config
from seqeval_rl.state import join_states, split_state
from seqeval_rl.stream import Stream

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """One run of a stack: what is revealed to it, with which settings, from which seed."""

    stream: Stream
    config: Any  # the algorithm's settings
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a point of the loop yields for the runs of a stack."""

    point: Point
    blocks: tuple[str, ...]  # by run: label of the block that the newest visible transition belongs to
    evaluation: Evaluation
    metrics: dict[str, NDArray[np.float64]]  # means since the point before, each [R]
    states: list[dict[str, Any]]  # by run: what it goes on from, see `Stack.states`
    seconds: float  # wall time since the point before


class Pending(NamedTuple):
    """An outcome whose evaluation may still go on."""

    evaluation: Future[Evaluation]
    outcome: Callable[[], Outcome]  # waits for it


class Stack:
    """R runs of one algorithm side by side. They differ in seed, in the values of float settings, or in stream (of one task)."""

    def __init__(
        self,
        runs: Sequence[Run],
        entry: AlgorithmEntry,
        protocol: Protocol,
        evaluator: Evaluator,
        device: torch.device,
        capture: Capture | None = None,
        beside: bool | None = None,
    ):
        """Nothing is trained yet.

        Args:
            runs: R of them, of one task.
            entry: the algorithm.
            protocol: of all runs.
            evaluator: with R times E lanes.
            device: where to train.
            capture: captures update periods, see `captured`; none: on CUDA a graph, elsewhere nothing is captured.
            beside: a copy of the policy is evaluated on the CPU while training goes on; none: on CUDA, but for algorithms that
                cannot be captured.

        Raises:
            DataError: a stream is too short for the protocol.
            ValueError: settings differ in something else than floats.
        """
        self.runs, self.evaluator, self.device = tuple(runs), evaluator, device
        self.seeds = tuple(run.seed for run in runs)
        self.schedules = [Schedule(protocol, len(run.stream), f"stream {run.stream.name!r}") for run in runs]
        config = stacked_config([run.config for run in runs])
        first = runs[0].stream.first
        spec = Spec(first.obs_shape, first.act_dim, self.seeds, device)
        rows, pixels, arrivals = _together(runs, protocol)
        normalise = getattr(config, "normalise_observations", False)
        if pixels is None:
            replay = Replay(rows, arrivals, first.obs_shape, first.act_dim, device)
            obs_dim = int(np.prod(first.obs_shape))
        else:
            if normalise:
                raise UsageError(
                    f"{entry.name}.normalise_observations: expected false for images, found true on {first.name}. Set it to "
                    "false; images come with values from 0 to 255, and scaling them is the algorithm's."
                )
            replay = PixelReplay(pixels, rows, arrivals, first.act_dim, device)
            obs_dim = 0  # columns of an observation in a packed row
        moments = VisibleMoments(rows, arrivals, obs_dim, protocol.window) if normalise else None
        scales = np.array([_reward_scale(run) for run in runs])
        self.preprocessing = Preprocessing(moments, obs_dim, first.act_dim, len(runs), scales, device)
        self.preprocessing.refresh(protocol.initial)
        self.algorithm: Algorithm = entry.build(config, spec)
        batches = Batches(replay, self.schedules, self.seeds, entry.noise_dim(config, spec))
        self.engine = make_engine(self.algorithm, batches, self.preprocessing, capture)
        # A plain algorithm has torch's global generator to itself while it acts: not beside another that does.
        capturable = getattr(self.algorithm, "capturable", True)
        self.beside = device.type == "cuda" and capturable if beside is None else beside
        self._copy: Algorithm | None = entry.build(config, replace(spec, device=CPU)) if self.beside else None

    def begin(self, point: Point, metrics: dict[str, NDArray[np.float64]], started: float) -> Pending:
        """Begin the evaluation at a point and take in what became visible up to it.

        `metrics` are the means since the point before, `started` is when (by `time.perf_counter`) it was left behind.
        """
        evaluation = self._evaluate(point.index)
        # Statistics change only here, after the policy that was trained under the old ones has been evaluated.
        self.preprocessing.refresh(point.transitions)
        blocks = tuple(run.stream.block_at(point.transitions).label for run in self.runs)
        states, seconds = self.states(), time.perf_counter() - started
        return Pending(evaluation, lambda: Outcome(point, blocks, evaluation.result(), metrics, states, seconds))

    def _evaluate(self, index: int) -> Future[Evaluation]:
        """Evaluate the policy as it is now: the result is there already unless `beside`."""
        if self._copy is None:
            found: Future[Evaluation] = Future()
            found.set_result(self.evaluator.evaluate(self.engine.greedy, index))
            return found
        self._copy.load_state_dict(join_states([self.algorithm.state_dict()]))
        act = partial(greedy, self._copy, self.preprocessing.now(CPU), CPU)
        return self.evaluator.begin(act, index)

    def points(self) -> list[Point]:
        """The points that all runs share: all of them where streams are equally long, else those before the first one ends."""
        all_points = [schedule.points() for schedule in self.schedules]
        shared = takewhile(lambda points: len(set(points)) == 1, zip(*all_points, strict=False))
        return [points[0] for points in shared]

    def states(self) -> list[dict[str, Any]]:
        """One state per run: networks, optimisers and statistics; batches need none (see `replay`)."""
        runs = len(self.runs)
        algorithm = split_state(self.algorithm.state_dict(), runs)
        preprocessing = split_state(self.preprocessing.state_dict(), runs)
        return [{"algorithm": a, "preprocessing": p} for a, p in zip(algorithm, preprocessing, strict=True)]

    def load_states(self, states: list[dict[str, Any]]) -> None:
        """The inverse of `states`."""
        self.algorithm.load_state_dict(join_states([state["algorithm"] for state in states]))
        self.preprocessing.load_state_dict(join_states([state["preprocessing"] for state in states]))


def _together(
    runs: Sequence[Run], protocol: Protocol
) -> tuple[NDArray[np.float32], Pixels | None, list[NDArray[np.int64]]]:
    """The rows of all streams, [N, D], their images where they have such, and each run's order of arrival among them; of one
    stream alone its memory maps themselves."""
    streams = {id(run.stream): run.stream for run in runs}
    starts = dict(zip(streams, np.cumsum([0, *(len(stream) for stream in streams.values())]), strict=False))
    parts = [stream.rows() for stream in streams.values()]
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
    images = [pixels for stream in streams.values() if (pixels := stream.pixels()) is not None]
    return (
        rows,
        join(images) if images else None,
        [starts[id(run.stream)] + run.stream.arrival(protocol.order, run.seed) for run in runs],
    )


def _reward_scale(run: Run) -> float:
    """What rewards are multiplied by, so that the task's reference returns are `return_range` apart; 1 where that is not set."""
    span, task = getattr(run.config, "return_range", None), run.stream.first.task
    return 1.0 if span is None else float(span / (task.reference_max - task.reference_min))


def sequential_evaluation(
    stack: Stack, report: Callable[[Outcome], bool], progress: Callable[[int], None], done: int = 0
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
        # Each increment reveals γ transitions and is followed by K gradient steps on the visible window.
        metrics = stack.engine.train(gradient_steps, point.gradient_steps, tell)
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
