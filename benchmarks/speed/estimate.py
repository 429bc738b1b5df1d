"""How long a sweep will take on this machine, from a few seconds of measurement."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch

from seqeval_rl.benchmarks.speed.contenders import LearnerLoop, Problem
from seqeval_rl.data.load import load_dataset, parse_source
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.make import make_vector_env, worthwhile_workers
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.tasks import Task, task_named
from seqeval_rl.errors import DataError
from seqeval_rl.experiments.grouping import WORTH_A_PROCESS, GroupCandidate, GroupKey, divide, room_for_groups
from seqeval_rl.experiments.sweep import Sweep, Variant
from seqeval_rl.experiments.update_cost import UpdateCost, cost_of_run
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.config import common_settings, differing, grouped_config
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Schedule
from seqeval_rl.training.evaluation import episode_seed
from seqeval_rl.utils.processes import available_cores

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

    @property
    def width(self) -> int:
        """Numbers of a packed row. Images count as if they were numbers and kept for each transition, which is too much."""
        return 2 * math.prod(self.obs_shape) + self.act_dim + 2


@dataclass(frozen=True)
class GroupCost:
    """What was measured for one algorithm on one environment, for the stack of one job."""

    seconds_per_update: float
    seconds_per_reset: float  # of all the job's environments
    seconds_per_index: float  # all the job's environments one step on, the policy's actions included


@dataclass(frozen=True)
class Seconds:
    """How long a job, or a run's share of one, takes."""

    training: float
    evaluation: float  # at most: every episode as long as the time limit; 0 where there is no limit


@dataclass(frozen=True)
class Forecast:
    """One algorithm on one stream."""

    stream: str
    algorithm: str
    runs: int
    runs_per_job: int  # in the largest of the stacks that its runs are in, runs of other variants and streams included
    updates: int  # gradient steps of one run
    evaluations: int  # of one run
    episodes: int  # of one run in one evaluation
    env_steps: int  # of one run's online phase
    time_limit: int | None
    cost: GroupCost  # in that stack, while all of it trains
    seconds: Seconds  # its runs' shares of their jobs, together

    @property
    def hours(self) -> float:
        """Of one worker, all jobs one after the other."""
        return (self.seconds.training + self.seconds.evaluation) / 3600

    @property
    def env_steps_per_second(self) -> float:
        """While a job evaluates, resets left out."""
        return self.runs_per_job * self.episodes / self.cost.seconds_per_index if self.episodes else 0.0


@dataclass(frozen=True)
class Estimate:
    """A sweep's forecasts and what they come to."""

    forecasts: tuple[Forecast, ...]
    stacks: tuple[int, ...]  # runs of each job
    workers: int  # jobs at once
    threads: int  # of each worker
    seconds: float  # from the first job's start to the last one's end


def seconds_of(
    cost: GroupCost, updates: int, evaluations: int, episodes: int, env_steps: int, limit: int | None
) -> Seconds:
    """Of a job, or of a stage of one, whose runs each have `updates` gradient steps, `evaluations` of `episodes` episodes and an
    online phase of `env_steps`; one of these is taken to cost what one of an evaluation's environments does."""
    training = updates * cost.seconds_per_update + env_steps * cost.seconds_per_index / max(episodes, 1)
    if limit is None or not episodes:
        return Seconds(training, 0.0)
    return Seconds(training, evaluations * (cost.seconds_per_reset + limit * cost.seconds_per_index))


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
) -> GroupCost:
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
        backend: of the environments, see `environments.make_vector_env`.
        seconds: that the measurement that counts takes at least.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        spec = Spec(extent.obs_shape, extent.act_dim, tuple(range(runs)), device)
        problem = Problem(extent.obs_shape, extent.act_dim, batch_size, min(extent.transitions or _MADE, _MADE))
        loop = LearnerLoop(entry, config, spec, problem)
        updates = 4 * int(getattr(loop.learner.algorithm, "period", 1))
        # Twice as many each time: all but the last measurement are for warming up.
        while (taken := loop.run(updates)) < seconds:
            updates *= 2
        if extent.task.env_id is None:
            return GroupCost(taken / updates, 0.0, 0.0)
        num_envs = runs * max(episodes, 1)
        workers = worthwhile_workers(extent.task.environment, num_envs, backend, threads)
        reset, index = _evaluation_cost(extent.task, runs, max(episodes, 1), loop, workers, backend, seconds)
        return GroupCost(taken / updates, reset, index)
    finally:
        torch.set_num_threads(before)


def _evaluation_cost(
    task: Task, runs: int, episodes: int, loop: LearnerLoop, workers: int, backend: str, seconds: float
) -> tuple[float, float]:
    """Mean seconds of a reset and of a time index, with all environments alive: after the first end all begin anew."""
    with make_vector_env(task.environment, runs * episodes, backend, workers) as envs:
        everyone = np.arange(envs.num_envs)
        low, span = envs.action_low, envs.action_high - envs.action_low
        resetting, stepping, resets, indices = 0.0, 0.0, 0, 0
        while resetting + stepping < seconds:
            started = time.perf_counter()
            seeds = [episode_seed(r, resets, e) for r in range(runs) for e in range(episodes)]
            observations = envs.reset(seeds)
            begun = time.perf_counter()
            resetting, resets = resetting + begun - started, resets + 1
            alive, now = True, begun
            while alive and now - begun < seconds:
                seen = np.ascontiguousarray(observations, np.float32).reshape(runs, episodes, *envs.obs_shape)
                actions = loop.learner.greedy(seen).reshape(envs.num_envs, -1).astype(np.float64)
                # Made data may have driven the policy anywhere; what is timed needs actions in range only.
                chosen = low + (np.clip(np.nan_to_num(actions), -1.0, 1.0) + 1.0) / 2.0 * span
                observations, _, terminated, truncated = envs.step(chosen, everyone)
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


class _Row(NamedTuple):
    """One variant on one stream."""

    spec: StreamSpec
    extent: Extent
    variant: Variant
    schedule: Schedule


def estimate(
    sweep: Sweep, device: torch.device, backend: str = "auto", seconds: float | None = None, room: float | None = None
) -> Estimate:
    """Forecast a sweep of which nothing has been run yet, as the planner would divide it and the local scheduler run it.

    Args:
        sweep: what to run.
        device: where to train: on CUDA runs that fit together are one stack, and jobs run one after the other; on a CPU
            each run is a job and each core a worker.
        backend: of the environments.
        seconds: see `measure`; default `SECONDS`.
        room: bytes that stacks may take, see `sweep.plan`.

    Raises:
        SeqevalError: whatever is wrong with the sweep, before anything is measured.
    """
    chosen = sweep.variants()
    streams = [(spec, extent(spec)) for spec in sweep.streams]
    rows = [
        _Row(
            spec,
            found,
            variant,
            Schedule(variant.protocol, found.transitions, f"stream {spec.name!r} in {sweep.where}"),
        )
        for spec, found in streams
        for variant in chosen
    ]
    on_cpu, cores = device.type == "cpu", available_cores()
    stacks = _stacks(rows, len(sweep.seeds), device, room)
    workers = min(cores, len(stacks)) if on_cpu else 1
    threads = max(1, cores // workers)
    seconds = SECONDS if seconds is None else seconds
    costs: dict[Any, GroupCost] = {}

    def cost(runs: Sequence[_Row]) -> GroupCost:
        """Of a stack of these runs."""
        found, variant = runs[0].extent, runs[0].variant
        entry, protocol = variant.entry, variant.protocol
        config = grouped_config([row.variant.config for row in runs])
        # Widths and counts make updates dearer, and which floats differ; which values they have does not.
        sizes = (found.obs_shape, found.act_dim, protocol.batch_size, protocol.episodes, len(runs))
        key = (entry.reference, common_settings(variant.config), differing(config), found.task, *sizes)
        if key not in costs:
            costs[key] = measure(
                entry,
                config,
                found,
                protocol.batch_size,
                len(runs),
                protocol.episodes,
                device,
                threads,
                backend,
                seconds,
            )
        return costs[key]

    jobs: list[Seconds] = []
    shares: dict[int, list[Seconds]] = {id(row): [] for row in rows}
    largest: dict[int, tuple[int, GroupCost]] = {}
    for stack in stacks:
        parts = []
        for stage in stages([(row, row.schedule.gradient_steps, len(row.schedule.points())) for row in stack]):
            count, each, protocol = len(stage.runs), cost(stage.runs), stage.runs[0].variant.protocol
            limit = stage.runs[0].extent.time_limit
            # Runs with an online phase are equally long: there is one stage.
            part = seconds_of(each, stage.updates, stage.evaluations, protocol.episodes, protocol.online, limit)
            parts.append(part)
            for row in stage.runs:
                shares[id(row)].append(Seconds(part.training / count, part.evaluation / count))
                largest[id(row)] = max(largest.get(id(row), (0, each)), (count, each), key=lambda known: known[0])
        jobs.append(_total(parts))
    forecasts = tuple(
        Forecast(
            row.spec.name, row.variant.directory, len(sweep.seeds), largest[id(row)][0], row.schedule.gradient_steps,
            len(row.schedule.points()), row.variant.protocol.episodes, row.variant.protocol.online, row.extent.time_limit,
            largest[id(row)][1], _total(shares[id(row)]),
        )
        for row in rows
    )  # fmt: skip
    # As the scheduler: no more processes than the training is worth, and its order knows nothing of evaluations.
    workers = max(1, min(workers, math.ceil(sum(job.training for job in jobs) / WORTH_A_PROCESS)))
    # On CUDA evaluations go on beside training.
    together = sum if on_cpu else max
    order = sorted(jobs, key=lambda job: -job.training)
    wall = packed([together((job.training, job.evaluation)) for job in order], workers)
    return Estimate(forecasts, tuple(len(stack) for stack in stacks), workers, threads, wall)


def _stacks(rows: Sequence[_Row], seeds: int, device: torch.device, room: float | None) -> list[list[_Row]]:
    """The runs, one of a row for each seed, in the stacks that `sweep.plan` makes of them."""
    known: dict[Any, UpdateCost] = {}
    candidates = []
    for row in rows:
        spec, found, variant, schedule = row
        protocol = variant.protocol
        alike = GroupKey.of(variant, schedule, found.task)
        # On a CPU no memory is counted, and nothing need be measured to find that.
        cuda = device.type == "cuda"
        own = cost_of_run(variant, found.obs_shape, found.act_dim, device, known).bytes if cuda else 0
        own += 4 * protocol.online * found.width
        candidates += [GroupCandidate(row, alike, spec, 4 * found.transitions * found.width, own)] * seeds
    found_room = room_for_groups(device) if room is None else room
    return [[candidate.run for candidate in stack] for stack in divide(candidates, found_room)]


def _total(parts: Sequence[Seconds]) -> Seconds:
    return Seconds(sum(part.training for part in parts), sum(part.evaluation for part in parts))


RunT = TypeVar("RunT")


@dataclass(frozen=True)
class Stage(Generic[RunT]):
    """What some runs do side by side."""

    runs: tuple[RunT, ...]
    updates: int  # gradient steps of each of them
    evaluations: int  # of each of them


def stages(runs: Sequence[tuple[RunT, int, int]]) -> list[Stage[RunT]]:
    """The stages of a stack whose runs, each with its gradient steps and evaluations, begin together; one where all are equally
    long."""
    found: list[Stage[RunT]] = []
    updates = evaluations = 0
    for end in sorted({ends for _, ends, _ in runs}):
        left = [run for run in runs if run[1] >= end]
        evaluated = min(count for _, _, count in left)
        found.append(Stage(tuple(run for run, _, _ in left), end - updates, evaluated - evaluations))
        updates, evaluations = end, evaluated
    return found
