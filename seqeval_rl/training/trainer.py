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

from seqeval_rl.data.images import Pixels, join
from seqeval_rl.data.stream import Stream
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.interface.algorithm import Algorithm, Spec
from seqeval_rl.interface.config import grouped_config
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.interface.state import join_states, split_state
from seqeval_rl.protocol import EvaluationPoint, Protocol, Schedule
from seqeval_rl.training.cuda_graph_learner import build_learner
from seqeval_rl.training.cuda_graphs import Capture
from seqeval_rl.training.evaluation import Evaluation, Evaluator, nothing_evaluated
from seqeval_rl.training.learner import act
from seqeval_rl.training.normalization import Preprocessing, VisibleMoments
from seqeval_rl.training.online import Interaction
from seqeval_rl.training.prequential import Prequential
from seqeval_rl.training.replay_buffer import BatchSampler, ImageReplayBuffer, ReplayBuffer

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

    point: EvaluationPoint
    blocks: tuple[str, ...]  # by run: label of the block that the newest visible transition belongs to
    evaluation: Evaluation
    metrics: dict[str, NDArray[np.float64]]  # means since the point before, each [R]
    states: list[dict[str, Any]]  # by run: what it goes on from, see `Trainer.states`
    seconds: float  # wall time since the point before


class Pending(NamedTuple):
    """An outcome whose evaluation may still go on."""

    evaluation: Future[Evaluation]
    outcome: Callable[[], Outcome]  # waits for it


class Trainer:
    """R runs of one algorithm side by side. They differ in seed, in the values of float settings, or in stream (of one task)."""

    def __init__(
        self,
        runs: Sequence[Run],
        entry: AlgorithmEntry,
        protocol: Protocol,
        evaluator: Evaluator | None,
        device: torch.device,
        capture: Capture | None = None,
        beside: bool | None = None,
    ):
        """Nothing is trained yet.

        Args:
            runs: R of them, of one task.
            entry: the algorithm.
            protocol: of all runs.
            evaluator: with R times E environments; none: prequential scores alone.
            device: where to train.
            capture: captures update periods, see `captured`; none: on CUDA a graph, elsewhere nothing is captured.
            beside: a copy of the policy is evaluated on the CPU while training goes on; none: on CUDA, but for algorithms that
                cannot be captured.

        Raises:
            DataError: a stream is too short for the protocol, or an online phase of a task without an environment.
            UsageError: settings that do not suit images.
            ValueError: settings differ in something else than floats, or streams in length before an online phase.
        """
        self.runs, self.evaluator, self.device = tuple(runs), evaluator, device
        self.seeds = tuple(run.seed for run in runs)
        self.schedules = [Schedule(protocol, len(run.stream), f"stream {run.stream.name!r}") for run in runs]
        self._points = [schedule.points() for schedule in self.schedules]
        config = grouped_config([run.config for run in runs])
        stream = runs[0].stream
        spec = Spec(stream.obs_shape, stream.act_dim, self.seeds, device)
        rows, pixels, arrivals = _together(runs, protocol)
        normalise = getattr(config, "normalise_observations", False)
        if pixels is None:
            replay = ReplayBuffer(rows, arrivals, stream.obs_shape, stream.act_dim, device)
            obs_dim = int(np.prod(stream.obs_shape))
        else:
            _check_images(entry.name, stream.name, normalise, protocol)
            replay = ImageReplayBuffer(pixels, rows, arrivals, stream.act_dim, device)
            obs_dim = 0  # columns of an observation in a packed row
        self.interaction: Interaction | None = None
        if protocol.online:
            random = 0 if len(stream) else self.schedules[0].initial
            self.interaction = Interaction(stream.task, self.seeds, replay, len(stream), random, self._explore)
            # Without a log the first transitions come before everything else: statistics are of these.
            self.interaction.gather(len(stream) + random)
        moments = VisibleMoments(rows, arrivals, obs_dim, protocol.window) if normalise else None
        scales = np.array([_reward_scale(run, protocol) for run in runs])
        self.preprocessing = Preprocessing(moments, obs_dim, stream.act_dim, len(runs), scales, device)
        # As published: statistics of the whole log from the start, and never again others.
        self._fixed = protocol.uses_future_data and len(stream) > 0
        self.preprocessing.refresh(len(stream) if self._fixed else self.points()[0].transitions)
        self.algorithm: Algorithm = entry.build(config, spec)
        batches = BatchSampler(replay, self.schedules, self.seeds, entry.noise_dim(config, spec))
        self.learner = build_learner(self.algorithm, batches, self.preprocessing, capture)
        self.prequential = Prequential(runs, self.algorithm, config, replay, self.preprocessing, scales)
        # A plain algorithm has torch's global generator to itself while it acts: not beside another that does.
        capturable = getattr(self.algorithm, "capturable", True)
        self.beside = evaluator is not None and (device.type == "cuda" and capturable if beside is None else beside)
        self._copy: Algorithm | None = entry.build(config, replace(spec, device=CPU)) if self.beside else None

    def close(self) -> None:
        """Release the environments of the online phase."""
        if self.interaction is not None:
            self.interaction.close()

    def _explore(self, observations: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Exploring actions [R, 1, act_dim] for raw observations [R, 1, *obs] and standard normals [R, 1, act_dim]."""
        return act(self.algorithm, self.preprocessing.observations, self.device, observations, noise)

    def advance(
        self, gradient_steps: int, point: EvaluationPoint, progress: Callable[[int], None]
    ) -> dict[str, NDArray[np.float64]]:
        """Go on to a point: each increment reveals γ transitions (online: γ environment steps of the policy), and is followed
        by K gradient steps on the visible window. Returns the means since the point before, each [R]."""
        interaction, schedule = self.interaction, self.schedules[0]
        if interaction is None or not point.env_steps:
            return self.learner.train(gradient_steps, point.gradient_steps, progress)

        def reveal(increments: int) -> None:
            interaction.gather(int(schedule.seen(np.array(increments))))

        metrics = self.learner.train(
            gradient_steps, point.gradient_steps, progress, reveal, schedule.protocol.updates_per_increment
        )
        return {**metrics, **interaction.metrics()}

    def begin(self, point: EvaluationPoint, metrics: dict[str, NDArray[np.float64]], started: float) -> Pending:
        """Begin the evaluation at a point and take in what became visible up to it.

        `metrics` are the means since the point before, `started` is when (by `time.perf_counter`) it was left behind.
        """
        evaluation = self._evaluate(point.index)
        metrics = {**metrics, **self.prequential.found()}
        self.prequential.judge(point.transitions, self._next_offline(point))
        if not self._fixed:
            # Statistics change only here, after the policy that was trained under the old ones has been evaluated.
            self.preprocessing.refresh(point.transitions)
        blocks = tuple(run.stream.label_at(point.transitions) for run in self.runs)
        states, seconds = self.states(), time.perf_counter() - started
        return Pending(evaluation, lambda: Outcome(point, blocks, evaluation.result(), metrics, states, seconds))

    def _next_offline(self, point: EvaluationPoint) -> list[int]:
        """By run, transitions of the log that are visible at its next point."""
        following = [points[point.index + 1 :][:1] for points in self._points]
        return [
            min(points[0].transitions, schedule.log) if points else point.transitions
            for points, schedule in zip(following, self.schedules, strict=True)
        ]

    def _evaluate(self, index: int) -> Future[Evaluation]:
        """Evaluate the policy as it is now: the result is there already unless `beside`."""
        if self._copy is None or self.evaluator is None:
            found: Future[Evaluation] = Future()
            evaluator = self.evaluator
            found.set_result(
                nothing_evaluated(len(self.runs))
                if evaluator is None
                else evaluator.evaluate(self.learner.greedy, index)
            )
            return found
        self._copy.load_state_dict(join_states([self.algorithm.state_dict()]))
        return self.evaluator.begin(partial(act, self._copy, self.preprocessing.now(CPU), CPU), index)

    def points(self) -> list[EvaluationPoint]:
        """The points that all runs share: all of them where streams are equally long, else those before the first one ends."""
        shared = takewhile(lambda points: len(set(points)) == 1, zip(*self._points, strict=False))
        return [points[0] for points in shared]

    def states(self) -> list[dict[str, Any]]:
        """One state per run: networks, optimisers and statistics; batches need none (see `replay`)."""
        parts = {name: split_state(part.state_dict(), len(self.runs)) for name, part in self._parts().items()}
        return [{name: states[r] for name, states in parts.items()} for r in range(len(self.runs))]

    def load_states(self, states: list[dict[str, Any]]) -> None:
        """The inverse of `states`."""
        for name, part in self._parts().items():
            if name in states[0]:  # a checkpoint of an older version has no prequential scores
                part.load_state_dict(join_states([state[name] for state in states]))

    def _parts(self) -> dict[str, Any]:
        """What a run goes on from, by name."""
        parts = {
            "algorithm": self.algorithm,
            "preprocessing": self.preprocessing,
            "prequential": self.prequential,
            "online": self.interaction,
        }
        return {name: part for name, part in parts.items() if part is not None}


def _check_images(algorithm: str, stream: str, normalise: bool, protocol: Protocol) -> None:
    """Raise `UsageError` for settings that do not suit a log of images."""
    if normalise:
        raise UsageError(
            f"{algorithm}.normalise_observations: expected false for images, found true on {stream}. Set it to "
            "false; images come with values from 0 to 255, and scaling them is the algorithm's."
        )
    if protocol.online:
        raise UsageError(
            f"protocol.online: expected 0 for images, found {protocol.online} on {stream}. An online phase on images is not "
            "supported: leave it out."
        )


def _together(
    runs: Sequence[Run], protocol: Protocol
) -> tuple[NDArray[np.float32], Pixels | None, list[NDArray[np.int64]]]:
    """The rows of all streams, [N, D], their images where they have such, and each run's order of arrival among them; of one
    stream alone its memory maps themselves. With M online transitions each run has M rows more, behind those of the log."""
    streams = {id(run.stream): run.stream for run in runs}
    starts = dict(zip(streams, np.cumsum([0, *(len(stream) for stream in streams.values())]), strict=False))
    parts = [stream.rows() for stream in streams.values()]
    arrivals = [starts[id(run.stream)] + run.stream.arrival(protocol.order, run.seed) for run in runs]
    if protocol.online:
        if len({len(run.stream) for run in runs}) > 1:
            raise ValueError("streams of a stack with an online phase: expected equal lengths")
        own = np.arange(protocol.online) + sum(len(part) for part in parts)
        arrivals = [np.append(arrival, own + r * protocol.online) for r, arrival in enumerate(arrivals)]
        parts.append(np.zeros((len(runs) * protocol.online, parts[0].shape[1]), parts[0].dtype))
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
    images = [pixels for stream in streams.values() if (pixels := stream.pixels()) is not None]
    return rows, join(images) if images else None, arrivals


def _reward_scale(run: Run, protocol: Protocol) -> float:
    """What rewards are multiplied by, so that the task's reference returns are `return_range` apart; 1 where that is not set.

    As published, peeking, the returns of the whole log take the references' place.
    """
    span, task = getattr(run.config, "return_range", None), run.stream.task
    if span is None:
        return 1.0
    width = task.reference_max - task.reference_min
    if protocol.uses_future_data and len(run.stream):
        width = float(np.ptp(run.stream.returns()))
        if width <= 0:
            raise DataError(
                f"stream {run.stream.name!r}: expected episodes of different returns to scale rewards by, found one return. "
                "Leave out --paper, or set return_range=none."
            )
    return float(span / width)
