"""What the speed benchmark compares: one algorithm trained in three ways, and its matrix products alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.benchmarks.speed.roofline import Products, record
from seqeval_rl.data.images import Pixels
from seqeval_rl.experiments.grouping import random_batch, timed
from seqeval_rl.interface.algorithm import Algorithm, Batch, Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.build import Transitions, build_learner, build_replay_buffer

_IMAGES = 256  # different ones in the synthetic data


@dataclass(frozen=True)
class Problem:
    """Sizes of the synthetic data; the defaults are Hopper's."""

    obs_shape: tuple[int, ...] = (11,)
    act_dim: int = 3
    batch_size: int = 256
    transitions: int = 200_000  # at least 2

    def rows(self) -> NDArray[np.float32]:
        """Packed rows [transitions, D] (see `Dataset.rows`): standard normals, actions in [-1, 1], no terminals."""
        width = self.obs_columns
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((self.transitions, 2 * width + self.act_dim + 2), dtype=np.float32)
        actions = slice(width, width + self.act_dim)
        rows[:, actions] = np.tanh(rows[:, actions])
        rows[:, width + self.act_dim + 1] = 1.0
        return rows

    @property
    def obs_columns(self) -> int:
        """Columns of an observation in a row; 0 for images."""
        return self.obs_shape[0] if len(self.obs_shape) == 1 else 0

    def pixels(self) -> Pixels | None:
        """A few random images, repeated, where observations are images."""
        if self.obs_columns:
            return None
        count = min(self.transitions, _IMAGES)
        frames = np.random.default_rng(0).integers(0, 256, (count + 1, *self.obs_shape), np.uint8)
        index = np.arange(self.transitions) % count
        return Pixels(frames, np.stack([index, index, index + 1], 1))


class LearnerLoop:
    """A run group as `seqeval run` trains it: drawing, gathering, preprocessing and metrics included."""

    def __init__(
        self, entry: AlgorithmEntry, config: Any, spec: Spec, problem: Problem, rows: NDArray[np.float32] | None = None
    ):
        """On `rows`, by default those of the problem."""
        self.device = spec.device
        rows = problem.rows() if rows is None else rows
        arrivals = [np.random.default_rng(seed).permutation(len(rows)) for seed in spec.seeds]
        initial = min(Protocol().initial, len(rows) // 2)
        schedule = Schedule(Protocol(batch_size=problem.batch_size, initial=initial), len(rows))
        replay = build_replay_buffer(Transitions(rows, problem.pixels(), arrivals), spec)
        self.learner = build_learner(entry, config, spec, replay, [schedule] * spec.runs, schedule.initial)
        self.metrics: dict[str, NDArray[np.float64]] = {}  # of the latest call, each [R]
        self._done = 0

    def run(self, updates: int) -> float:
        """Seconds of that many updates of all runs, in one call of the learner."""
        start, self._done = self._done, self._done + updates

        def work() -> None:
            self.learner.train(start, start + updates, lambda _: None)
            self.metrics = self.learner.metrics()

        return timed(work, self.device)


class EagerLoop:
    """One run as a typical training script has it: draw indices, gather, draw noise, update; one step after the other."""

    def __init__(
        self, entry: AlgorithmEntry, config: Any, spec: Spec, problem: Problem, rows: NDArray[np.float32] | None = None
    ):
        """On `rows`, by default those of the problem; only the first seed of `spec` is trained."""
        self.spec = Spec(spec.obs_shape, spec.act_dim, spec.seeds[:1], spec.device)
        self.algorithm: Algorithm = entry.build(config, self.spec)
        self.rows = torch.from_numpy(problem.rows() if rows is None else rows).to(spec.device)
        self.batch_size, self.noise_dim = problem.batch_size, entry.noise_dim(config, self.spec)
        self.draws = torch.Generator(spec.device).manual_seed(spec.seeds[0])
        self.metrics: dict[str, Tensor] = {}  # of the latest update, each [1]

    def batch(self) -> Batch:
        """B transitions of the full dataset, drawn with replacement, and noise."""
        device, width, size = self.spec.device, int(np.prod(self.spec.obs_shape)), self.batch_size
        chosen = torch.randint(len(self.rows), (size,), generator=self.draws, device=device)
        columns = self.rows[chosen].split([width, self.spec.act_dim, 1, 1, width], 1)
        observations, actions, rewards, masks, next_observations = (column.contiguous() for column in columns)
        return Batch(
            observations.view(1, size, *self.spec.obs_shape),
            actions.view(1, size, -1),
            rewards.view(1, size),
            next_observations.view(1, size, *self.spec.obs_shape),
            masks.view(1, size),
            torch.randn(1, size, self.noise_dim, generator=self.draws, device=device),
        )

    def run(self, updates: int) -> float:
        """Seconds of that many updates of the one run."""

        def work() -> None:
            for _ in range(updates):
                self.metrics = self.algorithm.update(self.batch())

        return timed(work, self.spec.device)


class Contenders:
    """One algorithm with R runs on one problem, and what it is compared with.

    `by_name` holds functions from a number of updates, a multiple of `period`, to the seconds that they took:

    learner: R runs trained by the learner.
    bare: the `update` of R runs, again and again on one batch.
    eager: one run in a plain loop.
    products: the matrix products of the R runs' updates alone; absent where the algorithm has none.
    """

    def __init__(
        self,
        entry: AlgorithmEntry,
        runs: int,
        device: torch.device,
        problem: Problem | None = None,
        config: Any = None,
    ):
        """Build everything and take a first period of bare updates.

        Args:
            entry: the algorithm.
            runs: R ≥ 1.
            device: where.
            problem: sizes of the data; default Hopper's.
            config: the algorithm's settings; default its own.
        """
        self.entry, self.runs, self.device, self.problem = entry, runs, device, problem or Problem()
        config = entry.configure({}, "the benchmark") if config is None else config
        self.spec = Spec(self.problem.obs_shape, self.problem.act_dim, tuple(range(runs)), device)
        rows = self.problem.rows()
        self.learner = LearnerLoop(entry, config, self.spec, self.problem, rows)
        self.eager = EagerLoop(entry, config, self.spec, self.problem, rows)
        self.bare: Algorithm = entry.build(config, self.spec)
        self.batch = random_batch(self.spec, self.problem.batch_size, entry.noise_dim(config, self.spec))
        self.period: int = getattr(self.bare, "period", 1)
        self.recording = record(lambda: self.bare.update(self.batch), self.period)
        self.products = Products(self.recording.products, device)
        self.by_name: dict[str, Callable[[int], float]] = {
            "learner": self.learner.run,
            "bare": self._run_bare,
            "eager": self.eager.run,
        }
        if self.recording.products:
            self.by_name["products"] = self._run_products

    def whole_periods(self, updates: float) -> int:
        """The smallest positive multiple of the period that is at least this many updates."""
        return max(1, math.ceil(updates / self.period)) * self.period

    def _run_bare(self, updates: int) -> float:
        def work() -> None:
            for _ in range(updates):
                self.bare.update(self.batch)

        return timed(work, self.device)

    def _run_products(self, updates: int) -> float:
        return timed(lambda: self.products.run(updates // self.period), self.device)
