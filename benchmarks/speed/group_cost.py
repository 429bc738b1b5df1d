"""What one run group costs: size and shapes of its stream, and measured seconds per gradient step and environment step."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from seqeval_rl.benchmarks.speed.contenders import LearnerLoop, Problem
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.readers.base import parse_source
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.make import make_vector_env, worthwhile_workers
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.tasks import Task, task_named
from seqeval_rl.errors import DataError
from seqeval_rl.experiments.grouping import timed
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.device import torch_threads
from seqeval_rl.training.evaluation import Act, episode_seed

SECONDS = 1.5  # the least duration of the measurement of one update, and of that of one environment step
MAX_TRANSITIONS = 200_000  # of the synthetic data that updates are measured on


@dataclass(frozen=True)
class Extent:
    """What a stream's sources and its environment say about it."""

    transitions: int
    task: Task
    obs_shape: tuple[int, ...]
    act_dim: int
    time_limit: int | None  # of an episode, in environment steps; None: the environment has none
    action_classes: int | None = None  # of discrete actions

    @property
    def width(self) -> int:
        """Numbers of a packed row. Images are counted as numbers, and once for each transition, which is an upper bound."""
        return 2 * math.prod(self.obs_shape) + self.act_dim + 2


def extent(spec: StreamSpec) -> Extent:
    """Size, task and shapes of a stream. Bundled datasets are not built; others are loaded.

    Raises:
        SeqevalError: a source is unknown, cannot be read or is not of the environment; blocks of different tasks.
    """
    if not spec.sources:
        stream = spec.load()
        limit = _time_limit(stream.task)
        return Extent(0, stream.task, stream.obs_shape, stream.act_dim, limit, stream.action_classes)
    blocks = [_block(source, spec) for source in spec.sources]
    first = blocks[0]
    for source, block in zip(spec.sources, blocks, strict=True):
        if (block.task, block.obs_shape, block.act_dim) != (first.task, first.obs_shape, first.act_dim):
            raise DataError(
                f"stream {spec.name!r}: expected blocks of one task, found {first.task.name} in {spec.sources[0]} and "
                f"{block.task.name} in {source}. Make two streams of them."
            )
    return replace(first, transitions=sum(block.transitions for block in blocks))


def _block(source: str, spec: StreamSpec) -> Extent:
    base, size = parse_source(source)
    if base in bundled.names():
        _, task_name, level = base.split("/")
        transitions = bundled.full_size(task_name) if size is None else size
        bundled.check(task_name, level, transitions)
        task = spec.task or task_named(task_name)
        shapes = gymnasium_shapes(task.environment)[1]
        return Extent(
            transitions, task, shapes.obs_shape, shapes.act_dim, shapes.max_episode_length, shapes.action_classes
        )
    dataset = spec.read(source)
    if dataset.task.env_id is not None:
        check_environment(dataset)
    limit = _time_limit(dataset.task)
    return Extent(len(dataset), dataset.task, dataset.obs_shape, dataset.act_dim, limit, dataset.action_classes)


def _time_limit(task: Task) -> int | None:
    return None if task.env_id is None else gymnasium_shapes(task.environment)[1].max_episode_length


@dataclass(frozen=True)
class GroupCost:
    """What was measured for one algorithm on one environment, for the run group of one job."""

    seconds_per_update: float
    seconds_per_reset: float  # of all the job's environments
    seconds_per_index: float  # one step of all the job's environments, the policy's actions included


def measure(
    entry: AlgorithmEntry,
    config: Any,
    extent: Extent,
    protocol: Protocol,
    runs: int,
    device: torch.device,
    threads: int,
) -> GroupCost:
    """Train R = `runs` runs on synthetic data, and step their environments with that policy; takes about 3 times `SECONDS` for
    each. `threads` are those of torch, and the most workers for the environments."""
    with torch_threads(threads):
        spec = Spec(extent.obs_shape, extent.act_dim, tuple(range(runs)), device, extent.action_classes)
        entry.check_spaces(spec, extent.task.name)
        transitions = min(extent.transitions or MAX_TRANSITIONS, MAX_TRANSITIONS)
        problem = Problem(extent.obs_shape, extent.act_dim, protocol.batch_size, transitions, extent.action_classes)
        loop = LearnerLoop(entry, config, spec, problem)
        loop.warm_up()
        updates = loop.period
        # Twice as many each time: all but the last measurement are for warming up.
        while (taken := timed(partial(loop.train, updates), device)) < SECONDS:
            updates *= 2
        if extent.task.env_id is None:
            return GroupCost(taken / updates, 0.0, 0.0)
        episodes = max(protocol.episodes, 1)
        return GroupCost(taken / updates, *_evaluation_cost(extent.task, runs, episodes, loop.learner.act, threads))


def _evaluation_cost(task: Task, runs: int, episodes: int, act: Act, threads: int) -> tuple[float, float]:
    """Mean seconds of a reset and of a step, with all environments running: when the first episode ends, all are reset."""
    workers = worthwhile_workers(task.environment, runs * episodes, "auto", threads)
    with make_vector_env(task.environment, runs * episodes, "auto", workers) as envs:
        everyone = np.arange(envs.num_envs)
        resetting, stepping, resets, steps = 0.0, 0.0, 0, 0
        while resetting + stepping < SECONDS:
            started = time.perf_counter()
            observations = envs.reset([episode_seed(r, resets, e) for r in range(runs) for e in range(episodes)])
            begun = now = time.perf_counter()
            resetting, resets, running = resetting + begun - started, resets + 1, True
            while running and now - begun < SECONDS:
                seen = np.ascontiguousarray(observations, np.float32).reshape(runs, episodes, *envs.obs_shape)
                actions = act(seen).reshape(envs.num_envs, -1).astype(np.float64)
                # The policy was trained on random data and may return anything; steps are timed with valid actions.
                chosen = envs.shapes.in_units(np.nan_to_num(actions))
                observations, _, terminated, truncated = envs.step(chosen, everyone)
                running, now = not (terminated | truncated).any(), time.perf_counter()
                steps += 1
            stepping += now - begun
    return resetting / resets, stepping / steps
