"""How fast an algorithm updates here: bare, or fed by the engine. Used for planning and by the benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from seqeval_rl.algorithm import Algorithm, Batch, Spec
from seqeval_rl.engine import Engine
from seqeval_rl.preprocessing import Preprocessing, VisibleMoments
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.registry import AlgorithmEntry
from seqeval_rl.replay import Batches, Replay


def random_batch(spec: Spec, batch_size: int, noise_dim: int) -> Batch:
    """A batch of standard normals (actions in [-1, 1], no terminals) of the right shapes."""
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(spec.runs, batch_size, *shape, generator=rng).to(spec.device)

    return Batch(
        normal(*spec.obs_shape), normal(spec.act_dim).tanh(), normal(), normal(*spec.obs_shape),
        torch.ones(spec.runs, batch_size, device=spec.device), normal(noise_dim),
    )  # fmt: skip


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of `work`, the device's included."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def seconds_per_update(
    entry: AlgorithmEntry, config: Any, obs_shape: tuple[int, ...], act_dim: int, batch_size: int, device: torch.device
) -> float:
    """A quick measurement for planning: wall seconds of one bare update of one run on one thread."""
    spec = Spec(obs_shape, act_dim, (0,), device)
    algorithm = entry.build(config, spec)
    batch = random_batch(spec, batch_size, entry.noise_dim(config, spec))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        algorithm.update(batch)
        return timed(lambda: [algorithm.update(batch) for _ in range(4)], device) / 4
    finally:
        torch.set_num_threads(threads)


class Contest:
    """The same algorithm twice, on the same shapes: fed by the engine from a log, and bare on one batch."""

    def __init__(
        self,
        entry: AlgorithmEntry,
        runs: int,
        device: torch.device,
        obs_dim: int = 11,
        act_dim: int = 3,
        batch_size: int = 256,
        transitions: int = 200_000,
    ):
        """A made log of `transitions` standard normals in Hopper's shapes unless told otherwise."""
        self.entry, self.device = entry, device
        self.config = entry.configure({}, "the benchmark")
        self.spec = Spec((obs_dim,), act_dim, tuple(range(runs)), device)
        noise_dim = entry.noise_dim(self.config, self.spec)
        self.bare: Algorithm = entry.build(self.config, self.spec)
        self.batch = random_batch(self.spec, batch_size, noise_dim)
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((transitions, 2 * obs_dim + act_dim + 2), dtype=np.float32)
        rows[:, obs_dim : obs_dim + act_dim] = np.tanh(rows[:, obs_dim : obs_dim + act_dim])
        rows[:, obs_dim + act_dim + 1] = 1.0
        arrivals = [np.random.default_rng(seed).permutation(transitions) for seed in self.spec.seeds]
        schedule = Schedule(Protocol(batch_size=batch_size), transitions)
        replay = Replay(rows, arrivals, (obs_dim,), act_dim, device)
        moments = (
            VisibleMoments(rows, arrivals, obs_dim, None)
            if getattr(self.config, "normalise_observations", False)
            else None
        )
        preprocessing = Preprocessing(moments, obs_dim, act_dim, runs, 1.0, device)
        preprocessing.refresh(schedule.protocol.initial)
        self.engine = Engine(
            entry.build(self.config, self.spec),
            Batches(replay, [schedule] * runs, self.spec.seeds, noise_dim),
            preprocessing,
        )
        self._done = 0

    def run_bare(self, updates: int) -> float:
        """Seconds of that many `update` calls on one batch that is there already."""

        def work() -> None:
            for _ in range(updates):
                self.bare.update(self.batch)

        return timed(work, self.device)

    def run_engine(self, updates: int) -> float:
        """Seconds of that many updates through the engine: drawing, gathering, preprocessing and metrics included."""
        start, self._done = self._done, self._done + updates
        return timed(lambda: self.engine.train(start, start + updates, lambda _: None), self.device)
