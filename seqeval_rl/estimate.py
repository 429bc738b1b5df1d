"""How long a sweep will take on this machine, from a few seconds of measurement and the arithmetic of its schedule.

    job = updates x seconds per update + evaluations x (reset + time limit x seconds per time index)
          (on CUDA the larger of the two, since they go on side by side)
    wall = the jobs, longest training first, each given to the worker that is free first

Nothing is trained beyond the measurement, and bundled logs are not built: their size is in their name, their shapes are the
environment's. Left out: building logs, starting processes and writing results, which take seconds to minutes.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seqeval_rl import bundled
from seqeval_rl.algorithm import Spec
from seqeval_rl.contest import EngineLoop, Problem
from seqeval_rl.dataset import check_environment
from seqeval_rl.environments import available_cores, gymnasium_shapes, make_lanes
from seqeval_rl.errors import DataError
from seqeval_rl.evaluation import episode_seed
from seqeval_rl.job import LANES_WORTH_A_PROCESS
from seqeval_rl.protocol import Schedule
from seqeval_rl.readers import load_dataset, parse_source
from seqeval_rl.registry import AlgorithmEntry
from seqeval_rl.scheduler import WORTH_A_PROCESS
from seqeval_rl.stacking import common_settings
from seqeval_rl.stream import StreamSpec
from seqeval_rl.sweep import Sweep
from seqeval_rl.tasks import Task, task_named

SECONDS = 1.5  # at least, of the measurement of one update and of that of one time index
_MADE = 200_000  # transitions at most in the log that updates are measured on


@dataclass(frozen=True)
class Extent:
    """What a stream's name and its environment tell about it."""

    transitions: int
    task: Task
    obs_shape: tuple[int, ...]
    act_dim: int
    time_limit: int | None  # of an episode, in environment steps; None: the environment has none


@dataclass(frozen=True)
class Cost:
    """What was measured for one algorithm on one environment, for the stack of one job."""

    seconds_per_update: float
    seconds_per_reset: float  # of all the job's environments
    seconds_per_index: float  # all the job's environments one step on, the policy's actions included


@dataclass(frozen=True)
class Forecast:
    """One algorithm on one stream."""

    stream: str
    algorithm: str
    runs: int
    runs_per_job: int
    updates: int  # gradient steps of one run
    evaluations: int  # of one run
    episodes: int  # of one run in one evaluation
    env_steps: int  # of one run's online phase
    time_limit: int | None
    cost: Cost

    @property
    def jobs(self) -> int:
        """How many jobs the runs make."""
        return self.runs // self.runs_per_job

    @property
    def training_seconds(self) -> float:
        """Of one job; an environment step of the online phase is taken to cost what one of an evaluation's lanes does."""
        index = self.cost.seconds_per_index / max(self.episodes, 1)
        return self.updates * self.cost.seconds_per_update + self.env_steps * index

    @property
    def evaluation_seconds(self) -> float:
        """Of one job, at most: every episode as long as the time limit; 0 where there is no limit."""
        if self.time_limit is None or not self.episodes:
            return 0.0
        return self.evaluations * (self.cost.seconds_per_reset + self.time_limit * self.cost.seconds_per_index)

    @property
    def hours(self) -> float:
        """Of one worker, all jobs one after the other."""
        return self.jobs * (self.training_seconds + self.evaluation_seconds) / 3600

    @property
    def env_steps_per_second(self) -> float:
        """While a job evaluates, resets left out."""
        return self.runs_per_job * self.episodes / self.cost.seconds_per_index if self.episodes else 0.0


@dataclass(frozen=True)
class Estimate:
    """A sweep's forecasts and what they come to."""

    forecasts: tuple[Forecast, ...]
    workers: int  # jobs at once
    threads: int  # of each worker
    seconds: float  # from the first job's start to the last one's end


def extent(spec: StreamSpec) -> Extent:
    """Size, task and shapes of a stream. Bundled logs are not built; others are loaded.

    Raises:
        SeqevalError: a source is unknown, cannot be read or is not of the environment; blocks of different tasks.
    """
    if not spec.sources:
        stream = spec.load()
        limit = gymnasium_shapes(stream.task.environment)[1].max_episode_length
        return Extent(0, stream.task, stream.obs_shape, stream.act_dim, limit)
    blocks = [_block(source, spec) for source in spec.sources]
    first = blocks[0]
    for source, block in zip(spec.sources, blocks, strict=True):
        if (block.task, block.obs_shape, block.act_dim) != (first.task, first.obs_shape, first.act_dim):
            raise DataError(
                f"stream {spec.name!r}: expected blocks of one task, found {first.task.name} in {spec.sources[0]} and "
                f"{block.task.name} in {source}. Make two streams of them."
            )
    total = sum(block.transitions for block in blocks)
    return Extent(total, first.task, first.obs_shape, first.act_dim, first.time_limit)


def _block(source: str, spec: StreamSpec) -> Extent:
    base, size = parse_source(source)
    task = spec.task
    if base in bundled.names():
        _, task_name, level = base.split("/")
        transitions = bundled.FULL if size is None else size
        bundled.check(task_name, level, transitions)
        task = task or task_named(task_name)
        shapes = gymnasium_shapes(task.environment)[1]
        return Extent(transitions, task, shapes.obs_shape, len(shapes.action_low), shapes.max_episode_length)
    dataset = load_dataset(source, task, spec.mode, progress=False)
    limit = None
    if dataset.task.env_id is not None:
        check_environment(dataset)
        limit = gymnasium_shapes(dataset.task.environment)[1].max_episode_length
    return Extent(len(dataset), dataset.task, dataset.obs_shape, dataset.act_dim, limit)


def measure(
    entry: AlgorithmEntry,
    config: Any,
    extent: Extent,
    batch_size: int,
    runs: int,
    episodes: int,
    device: torch.device,
    threads: int,
    backend: str,
    seconds: float,
) -> Cost:
    """Train through the engine on made data, and step the environments with that policy, for about 3 x `seconds` each.

    Args:
        entry: the algorithm.
        config: its settings.
        extent: of the stream.
        batch_size: B.
        runs: R, side by side in one job.
        episodes: of each run in an evaluation.
        device: where to train.
        threads: of torch on the CPU, and at most so many workers for the environments.
        backend: of the environments, see `environments.make_lanes`.
        seconds: that the measurement that counts takes at least.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        spec = Spec(extent.obs_shape, extent.act_dim, tuple(range(runs)), device)
        problem = Problem(extent.obs_shape, extent.act_dim, batch_size, min(extent.transitions or _MADE, _MADE))
        loop = EngineLoop(entry, config, spec, problem)
        updates = 4 * int(getattr(loop.engine.algorithm, "period", 1))
        # Twice as many each time: all but the last measurement are for warming up.
        while (taken := loop.run(updates)) < seconds:
            updates *= 2
        if extent.task.env_id is None:
            return Cost(taken / updates, 0.0, 0.0)
        lanes = runs * max(episodes, 1)
        workers = max(1, min(threads, lanes // LANES_WORTH_A_PROCESS))
        reset, index = _evaluation_cost(extent.task, runs, max(episodes, 1), loop, workers, backend, seconds)
        return Cost(taken / updates, reset, index)
    finally:
        torch.set_num_threads(before)


def _evaluation_cost(
    task: Task, runs: int, episodes: int, loop: EngineLoop, workers: int, backend: str, seconds: float
) -> tuple[float, float]:
    """Mean seconds of a reset and of a time index, with all environments alive: after the first end all begin anew."""
    with make_lanes(task.environment, runs * episodes, backend, workers) as lanes:
        everyone = np.arange(lanes.lanes)
        low, span = lanes.action_low, lanes.action_high - lanes.action_low
        resetting, stepping, resets, indices = 0.0, 0.0, 0, 0
        while resetting + stepping < seconds:
            started = time.perf_counter()
            seeds = [episode_seed(r, resets, e) for r in range(runs) for e in range(episodes)]
            observations = lanes.reset(seeds)
            begun = time.perf_counter()
            resetting, resets = resetting + begun - started, resets + 1
            alive, now = True, begun
            while alive and now - begun < seconds:
                seen = np.ascontiguousarray(observations, np.float32).reshape(runs, episodes, *lanes.obs_shape)
                actions = loop.engine.greedy(seen).reshape(lanes.lanes, -1).astype(np.float64)
                # Made data may have driven the policy anywhere; what is timed needs actions in range only.
                chosen = low + (np.clip(np.nan_to_num(actions), -1.0, 1.0) + 1.0) / 2.0 * span
                observations, _, terminated, truncated = lanes.step(chosen, everyone)
                alive, now = not (terminated | truncated).any(), time.perf_counter()
                indices += 1
            stepping += now - begun
    return resetting / resets, stepping / indices


def packed(jobs: Sequence[float], workers: int) -> float:
    """Seconds until all jobs [seconds] are done that are taken in this order by whichever worker is free first."""
    free = [0.0] * workers
    for job in jobs:
        heapq.heapreplace(free, free[0] + job)
    return max(free)


def estimate(sweep: Sweep, device: torch.device, backend: str = "auto", seconds: float | None = None) -> Estimate:
    """Forecast a sweep of which nothing has been run yet, as the local scheduler would run it.

    Args:
        sweep: what to run.
        device: where to train: on CUDA all seeds are one job and jobs run one after the other (variants and streams that
            would share a stack are counted as jobs of their own, so this is an upper bound); on a CPU each run is a job
            and each core a worker.
        backend: of the environments.
        seconds: see `measure`; default `SECONDS`.

    Raises:
        SeqevalError: whatever is wrong with the sweep, before anything is measured.
    """
    chosen = sweep.variants()
    streams = [(spec, extent(spec)) for spec in sweep.streams]
    where = {spec.name: f"stream {spec.name!r} in {sweep.where}" for spec in sweep.streams}
    for spec, found in streams:  # errors before anything is measured
        for variant in chosen:
            Schedule(variant.protocol, found.transitions, where[spec.name])
    on_cpu, cores, seeds = device.type == "cpu", available_cores(), len(sweep.seeds)
    runs_per_job = 1 if on_cpu else seeds
    jobs = len(streams) * len(chosen) * seeds // runs_per_job
    workers = min(cores, jobs) if on_cpu else 1
    threads = max(1, cores // workers)
    seconds = SECONDS if seconds is None else seconds
    costs: dict[Any, Cost] = {}
    forecasts = []
    for spec, found in streams:
        for variant in chosen:
            schedule = Schedule(variant.protocol, found.transitions, where[spec.name])
            batch_size, episodes = variant.protocol.batch_size, variant.protocol.episodes
            # Widths and counts make updates dearer, rates do not.
            kind = common_settings(variant.config)
            sizes = (found.obs_shape, found.act_dim, batch_size, episodes)
            key = (variant.entry.reference, kind, found.task, *sizes)
            if key not in costs:
                costs[key] = measure(
                    variant.entry, variant.config, found, batch_size, runs_per_job, episodes, device, threads, backend, seconds
                )  # fmt: skip
            forecasts.append(
                Forecast(
                    spec.name, variant.directory, seeds, runs_per_job, schedule.gradient_steps, len(schedule.points()), episodes,
                    variant.protocol.online, found.time_limit, costs[key],
                )
            )  # fmt: skip
    training = sum(f.jobs * f.training_seconds for f in forecasts)
    # As the scheduler: no more processes than the training is worth, and its order knows nothing of evaluations.
    workers = max(1, min(workers, math.ceil(training / WORTH_A_PROCESS)))
    order = sorted(forecasts, key=lambda f: -f.training_seconds)
    # On CUDA evaluations go on beside training.
    together = sum if on_cpu else max
    wall = packed([together((f.training_seconds, f.evaluation_seconds)) for f in order for _ in range(f.jobs)], workers)
    return Estimate(tuple(forecasts), workers, threads, wall)
