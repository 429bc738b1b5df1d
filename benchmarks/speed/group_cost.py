"""Measures one run group: seconds per gradient step, and per reset and step of its evaluation environments."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seqeval_rl.benchmarks.speed.contenders import LearnerLoop, Problem
from seqeval_rl.benchmarks.speed.extent import Extent
from seqeval_rl.environments.make import make_vector_env, worthwhile_workers
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.device import torch_threads
from seqeval_rl.training.evaluation import Act, episode_seed

MAX_TRANSITIONS = 200_000  # of the synthetic data that updates are measured on


@dataclass(frozen=True)
class GroupCost:
    """What was measured for one algorithm on one environment, for the run group of one job."""

    seconds_per_update: float
    seconds_per_reset: float  # of all the job's environments
    seconds_per_index: float  # one step of all the job's environments, the policy's actions included


@dataclass(frozen=True)
class Measurement:
    """Where and how long to measure."""

    device: torch.device  # to train on
    threads: int  # of torch on the CPU, and the largest number of workers for the environments
    backend: str  # of the environments, see `environments.make_vector_env`
    seconds: float  # the least duration of a measurement that counts


def measure(
    entry: AlgorithmEntry, config: Any, extent: Extent, protocol: Protocol, runs: int, measurement: Measurement
) -> GroupCost:
    """Train R = `runs` runs on synthetic data, and step their environments with that policy; takes about 3 times
    `measurement.seconds` for each."""
    with torch_threads(measurement.threads):
        spec = Spec(extent.obs_shape, extent.act_dim, tuple(range(runs)), measurement.device)
        transitions = min(extent.transitions or MAX_TRANSITIONS, MAX_TRANSITIONS)
        problem = Problem(extent.obs_shape, extent.act_dim, protocol.batch_size, transitions)
        loop = LearnerLoop(entry, config, spec, problem)
        updates = 4 * int(getattr(loop.learner.algorithm, "period", 1))
        # Twice as many each time: all but the last measurement are for warming up.
        while (taken := loop.run(updates)) < measurement.seconds:
            updates *= 2
        if extent.task.env_id is None:
            return GroupCost(taken / updates, 0.0, 0.0)
        episodes = max(protocol.episodes, 1)
        return GroupCost(taken / updates, *_evaluation_cost(extent, runs, episodes, loop.learner.greedy, measurement))


def _evaluation_cost(
    extent: Extent, runs: int, episodes: int, act: Act, measurement: Measurement
) -> tuple[float, float]:
    """Mean seconds of a reset and of a step, with all environments running: when the first episode ends, all are reset."""
    environment, backend = extent.task.environment, measurement.backend
    workers = worthwhile_workers(environment, runs * episodes, backend, measurement.threads)
    with make_vector_env(environment, runs * episodes, backend, workers) as envs:
        everyone = np.arange(envs.num_envs)
        low, span = envs.action_low, envs.action_high - envs.action_low
        resetting, stepping, resets, steps = 0.0, 0.0, 0, 0
        while resetting + stepping < measurement.seconds:
            started = time.perf_counter()
            observations = envs.reset([episode_seed(r, resets, e) for r in range(runs) for e in range(episodes)])
            begun = now = time.perf_counter()
            resetting, resets, running = resetting + begun - started, resets + 1, True
            while running and now - begun < measurement.seconds:
                seen = np.ascontiguousarray(observations, np.float32).reshape(runs, episodes, *envs.obs_shape)
                actions = act(seen).reshape(envs.num_envs, -1).astype(np.float64)
                # The policy was trained on random data and may return anything; steps are timed with valid actions.
                chosen = low + (np.clip(np.nan_to_num(actions), -1.0, 1.0) + 1.0) / 2.0 * span
                observations, _, terminated, truncated = envs.step(chosen, everyone)
                running, now = not (terminated | truncated).any(), time.perf_counter()
                steps += 1
            stepping += now - begun
    return resetting / resets, stepping / steps
