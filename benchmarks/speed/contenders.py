"""What the speed benchmark compares: one algorithm trained in three ways, and its matrix products alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.benchmarks.speed.roofline import Products, Recording, record
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.images import Pixels
from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.experiments.grouping import random_batch_of, timed
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.batch_sampler import CHUNK
from seqeval_rl.training.build import build_learner
from seqeval_rl.training.cuda_graph_learner import WARM_UP
from seqeval_rl.training.cuda_graphs import Capture
from seqeval_rl.training.n_step import build_sequences
from seqeval_rl.training.replay_buffer import ReplayBuffer, Transitions, build_replay_buffer
from seqeval_rl.training.visible_columns import VisibleColumns

_IMAGES = 256  # different ones in the synthetic data
_IMAGE_SHAPE, _IMAGE_ACTIONS = (9, 84, 84), 6  # of V-D4RL's walker-walk
_FEWER = 64  # transitions or sequences of a batch where an update is long


@dataclass(frozen=True)
class Problem:
    """Sizes of the synthetic data; the defaults are Hopper's."""

    obs_shape: tuple[int, ...] = (11,)
    act_dim: int = 3
    batch_size: int = 256
    transitions: int = 200_000  # at least 2
    action_classes: int | None = None  # of discrete actions; then act_dim is 1

    @cached_property
    def rows(self) -> NDArray[np.float32]:
        """Packed rows [transitions, D] (see `Dataset.rows`): standard normals, actions in [-1, 1] or discrete, no terminals."""
        width = self.obs_shape[0] if len(self.obs_shape) == 1 else 0  # images are not in the rows
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((self.transitions, 2 * width + self.act_dim + 2), dtype=np.float32)
        actions = slice(width, width + self.act_dim)
        rows[:, actions] = np.tanh(rows[:, actions])
        if self.action_classes is not None:
            rows[:, actions] = rng.integers(self.action_classes, size=(self.transitions, 1))
        rows[:, width + self.act_dim + 1] = 1.0
        return rows

    @cached_property
    def stream(self) -> Stream:
        """The rows as episodes of 1 000 transitions, fewer where there are few, for what batches have of episodes."""
        length = min(1000, max(1, self.transitions // 20))
        starts = np.append(np.arange(0, self.transitions, length), self.transitions)
        truncations = np.zeros(self.transitions, np.bool_)
        task = Task("synthetic", None)
        made = Dataset("synthetic", task, self.rows, self.obs_shape, self.act_dim, truncations, starts)
        return Stream("synthetic", [made])

    @classmethod
    def usual(cls, entry: AlgorithmEntry, config: Any) -> Problem:
        """What an algorithm is measured on by default: as `suited`, with fewer images or sequences in a batch."""
        long = entry.observation_space == "images" or entry.sequence_length(config) is not None
        return cls(batch_size=_FEWER if long else cls.batch_size).suited(entry)

    def suited(self, entry: AlgorithmEntry) -> Problem:
        """This problem, or for an algorithm for discrete actions one with as many of them as this has action dimensions; for one
        for images one of these."""
        if entry.observation_space == "images" and len(self.obs_shape) == 1:
            return replace(self, obs_shape=_IMAGE_SHAPE, act_dim=_IMAGE_ACTIONS)
        if entry.action_space == "continuous" or self.action_classes is not None:
            return self
        return replace(self, act_dim=1, action_classes=max(self.act_dim, 2))

    def spec(self, runs: int, device: torch.device) -> Spec:
        """What R = `runs` runs on it may know."""
        return Spec(self.obs_shape, self.act_dim, tuple(range(runs)), device, self.action_classes)

    def pixels(self) -> Pixels | None:
        """A few random images, repeated, where observations are images."""
        if len(self.obs_shape) == 1:
            return None
        count = min(self.transitions, _IMAGES)
        frames = np.random.default_rng(0).integers(0, 256, (count + 1, *self.obs_shape), np.uint8)
        index = np.arange(self.transitions) % count
        return Pixels(frames, np.stack([index, index, index + 1], 1))


def add_columns(entry: AlgorithmEntry, config: Any, problem: Problem, replay: ReplayBuffer, runs: int) -> None:
    """Give batches the fields that the algorithm needs besides its transitions, all of which are visible."""
    if names := entry.columns(config):
        columns = VisibleColumns(names, [problem.stream] * runs, replay, [0.99] * runs, np.ones(runs))
        columns.refresh(problem.transitions)
        replay.columns = columns


class LearnerLoop:
    """A run group as `seqeval run` trains it: drawing, gathering, preprocessing and metrics included."""

    def __init__(
        self, entry: AlgorithmEntry, config: Any, spec: Spec, problem: Problem, capture: Capture | None = None
    ):
        """For `capture` see `build_learner`."""
        length = problem.transitions
        arrivals = [np.random.default_rng(seed).permutation(length) for seed in spec.seeds]
        if entry.sequence_length(config) is not None:
            arrivals = [np.arange(length)] * spec.runs
        initial = min(Protocol().initial, length // 2)
        schedule = Schedule(Protocol(batch_size=problem.batch_size, initial=initial), length)
        transitions = Transitions(problem.rows, problem.pixels(), arrivals)
        replay = build_replay_buffer(transitions, spec, together=capture is not None)
        add_columns(entry, config, problem, replay, spec.runs)
        sequences = build_sequences(entry, config, replay, [problem.stream] * spec.runs)
        self.learner = build_learner(
            entry, config, spec, replay, [schedule] * spec.runs, schedule.initial, capture=capture, sequences=sequences
        )
        self.metrics: dict[str, NDArray[np.float64]] = {}  # of the latest call, each [R]
        self.done = 0
        self.period: int = getattr(self.learner.algorithm, "period", 1)

    def warm_up(self) -> None:
        """Take the updates in which something is compiled or captured, which takes long."""
        self.train((WARM_UP + 2) * self.period)

    def train(self, updates: int) -> None:
        """Take that many updates of all runs, in one call of the learner; a chunk of them and more from a chunk's first on, as in
        a run, whose evaluations are thousands of updates apart. The updates before it are left out."""
        start = self.done if updates < CHUNK else math.ceil(self.done / CHUNK) * CHUNK
        self.done = start + updates
        self.learner.train(start, self.done, lambda _: None)
        self.metrics = self.learner.metrics()


class EagerLoop:
    """One run as a typical training script has it: draw indices, gather, draw noise, update; one step after the other."""

    def __init__(self, entry: AlgorithmEntry, config: Any, spec: Spec, problem: Problem):
        """Only the first seed of `spec` is trained."""
        self.spec = replace(spec, seeds=spec.seeds[:1])
        self.algorithm = entry.build(config, self.spec)
        arrivals = [np.arange(problem.transitions)]
        self.replay = build_replay_buffer(Transitions(problem.rows, problem.pixels(), arrivals), self.spec)
        add_columns(entry, config, problem, self.replay, 1)
        self.sequences = build_sequences(entry, config, self.replay, [problem.stream])
        self.batch_size, self.noise_dim = problem.batch_size, entry.noise_dim(config, self.spec)
        self.draws = torch.Generator(spec.device).manual_seed(spec.seeds[0])
        self.metrics: dict[str, Tensor] = {}  # of the latest update, each [1]

    def batch(self) -> Any:
        """B transitions or sequences of the full dataset, drawn with replacement, and noise."""
        size, device = (1, self.batch_size), self.spec.device
        chosen = torch.randint(len(self.replay.host), size, generator=self.draws, device=device)
        noise = torch.randn(*size, self.noise_dim, generator=self.draws, device=device)
        if self.sequences is None:
            return self.replay.batch(chosen, noise, None, None)
        length = self.sequences.length
        return self.sequences.batch(chosen * length + length - 1, noise, None, None)

    def train(self, updates: int) -> None:
        """Take that many updates of the one run."""
        for _ in range(updates):
            self.metrics = self.algorithm.update(self.batch())


def _traced(entry: AlgorithmEntry, config: Any, spec: Spec, problem: Problem) -> Recording:
    """What a period of updates consists of in torch's own operations, of which Triton's kernels show nothing: traced on the meta
    device. Raises RuntimeError where the algorithm cannot be."""
    spec = replace(spec, device=torch.device("meta"))
    algorithm = entry.build(config, spec)
    batch = random_batch_of(entry, config, spec, problem.batch_size)
    return record(lambda: algorithm.update(batch), getattr(algorithm, "period", 1))


class Contenders:
    """One algorithm with R runs on one problem, and what it is compared with.

    `by_name` holds functions of a number of updates, a multiple of `period`, which take these:

    learner: R runs trained by the learner.
    bare: the `update` of R runs, again and again on one batch; on a CPU by the learner's own algorithm, since two of one kind
        differ by up to 2 % with where their tensors lie. On CUDA by another one, since the learner's is captured.
    eager: one run in a plain loop.
    products: the matrix products of the R runs' updates alone; absent where the algorithm has none.
    """

    def __init__(self, entry: AlgorithmEntry, runs: int, device: torch.device, problem: Problem, config: Any):
        """Build everything for R = `runs` ≥ 1, with the algorithm's settings `config`, and take a first period of bare
        updates."""
        self.entry, self.runs, self.device = entry, runs, device
        problem = problem.suited(entry)
        spec = problem.spec(runs, device)
        self.learner = LearnerLoop(entry, config, spec, problem)
        self.eager = EagerLoop(entry, config, spec, problem)
        bare = self.learner.learner.algorithm if device.type == "cpu" else entry.build(config, spec)
        batch = random_batch_of(entry, config, spec, problem.batch_size)
        self.period: int = getattr(bare, "period", 1)
        self.recording = record(lambda: bare.update(batch), self.period)
        if device.type == "cuda":
            with suppress(RuntimeError):  # of a plug-in that needs numbers
                self.recording = _traced(entry, config, spec, problem)

        def update_bare(updates: int) -> None:
            for _ in range(updates):
                bare.update(batch)

        self.by_name: dict[str, Callable[[int], object]] = {
            "learner": self.learner.train,
            "bare": update_bare,
            "eager": self.eager.train,
        }
        if self.recording.products:
            products = Products(self.recording.products, device)
            self.by_name["products"] = lambda updates: products.run(updates // self.period)

    def seconds(self, name: str, updates: int) -> float:
        """Wall seconds of that many updates by one of the contenders."""
        return timed(lambda: self.by_name[name](updates), self.device)

    def whole_periods(self, updates: float) -> int:
        """The smallest positive multiple of the period that is at least this many updates; from a chunk on, of a chunk too."""
        unit = self.period if updates < CHUNK else math.lcm(self.period, CHUNK)
        return max(1, math.ceil(updates / unit)) * unit
