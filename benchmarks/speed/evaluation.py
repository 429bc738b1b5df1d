"""Measures evaluation: environment steps per second, one evaluation at a time and several at once as while training on CUDA,
compared with a plain Gymnasium loop, interleaved."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from seqeval_rl.environments.make import worthwhile_workers
from seqeval_rl.environments.spaces import Shapes, gymnasium_shapes, open_environment
from seqeval_rl.environments.tasks import Task
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.results.manifest import describe_provenance
from seqeval_rl.training.device import torch_threads
from seqeval_rl.training.evaluation import Act, Evaluation, Evaluator
from seqeval_rl.training.evaluation_queue import AT_ONCE
from seqeval_rl.training.learner import act
from seqeval_rl.utils.processes import available_cores

SECONDS = 3.0  # smallest duration of one measurement; only complete evaluations are counted
EPISODES = 10  # of each run
_CPU = torch.device("cpu")


def bench_evaluation(
    entry: AlgorithmEntry, tasks: Sequence[Task], runs: Sequence[int], backend: str, workers: int, repeats: int
) -> dict[str, Any]:
    """Measure; returns the machine's description and one row per task and number of runs.

    The algorithm's untrained policy plays `EPISODES` episodes of each of R runs together, for each R in `runs`. For `backend` and
    `workers` see `make_vector_env`; 0 workers: as many as `seqeval run` would use. Reported are medians of `repeats`.
    """
    with torch_threads(1):
        rows = [
            _row(entry, task, r, backend, workers, repeats)
            for task, r in tqdm([(task, r) for task in tasks for r in runs], desc="bench", unit="row")
        ]
    return {
        "what": "environment steps per second; ratios are medians over repeats, in each of which both ran one after the other",
        "algorithm": entry.name,
        "episodes": EPISODES,
        "repeats": repeats,
        "seconds_at_least": SECONDS,
        **describe_provenance("cpu"),
        "rows": rows,
    }


def _row(entry: AlgorithmEntry, task: Task, runs: int, backend: str, workers: int, repeats: int) -> dict[str, Any]:
    shapes = gymnasium_shapes(task.environment)[1]
    spec = Spec(shapes.obs_shape, shapes.act_dim, tuple(range(runs)), _CPU, shapes.action_classes)
    config = entry.configure({}, "the benchmark")
    untrained: list[Act] = [
        partial(act, entry.build(config, spec), lambda observations: observations, _CPU, spec, True)
        for _ in range(AT_ONCE)
    ]
    speeds: dict[str, list[float]] = {"evaluator": [], "at_once": [], "loop": []}
    workers = workers or worthwhile_workers(task.environment, runs * EPISODES, backend, available_cores())
    evaluator = Evaluator(task, spec.seeds, EPISODES, backend, workers)
    with evaluator, open_environment(task.environment) as env:
        policy = _policy(shapes)
        contenders: dict[str, Callable[[int], int]] = {
            "evaluator": lambda number: evaluator.evaluate(untrained[0], number).env_steps,
            "at_once": lambda number: _at_once(evaluator, untrained, number),
            "loop": lambda number: _episode(env, policy, shapes, number),
        }
        for play in contenders.values():
            play(0)
        for repeat in range(repeats):
            for name, play in contenders.items():
                steps, number, started = 0, 0, time.perf_counter()
                while (taken := time.perf_counter() - started) < SECONDS:
                    number += 1
                    steps += play(number + 1000 * repeat)
                speeds[name].append(steps / taken)
    return {
        "task": task.name,
        "environment": task.env_id,
        "backend": evaluator.backend,
        "runs": runs,
        "workers": workers,
        "env_steps_per_second": speeds,
        "medians": {name: float(np.median(values)) for name, values in speeds.items()},
        "evaluator_over_loop": float(np.median(np.array(speeds["evaluator"]) / speeds["loop"])),
        "at_once_over_evaluator": float(np.median(np.array(speeds["at_once"]) / speeds["evaluator"])),
    }


def _at_once(evaluator: Evaluator, policies: Sequence[Act], number: int) -> int:
    """Two evaluations for each policy, of which as many run at a time as there are policies; their environment steps."""
    pending: deque[Future[Evaluation]] = deque()
    steps = 0
    for evaluation in range(2 * len(policies)):
        if len(pending) == len(policies):
            steps += pending.popleft().result().env_steps
        pending.append(evaluator.begin(policies[evaluation % len(policies)], 100 * number + evaluation))
    return steps + sum(each.result().env_steps for each in pending)


def _policy(shapes: Shapes) -> nn.Module:
    """A network of the default sizes, as in typical training scripts."""
    inputs, outputs = int(np.prod(shapes.obs_shape)), len(shapes.action_low)
    first, second, last = nn.Linear(inputs, 256), nn.Linear(256, 256), nn.Linear(256, outputs)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last, nn.Tanh())


@torch.no_grad()
def _episode(env: Any, policy: nn.Module, shapes: Shapes, seed: int) -> int:
    """One episode as typical training scripts run it, one environment step after the other; returns its length."""
    middle, half = (shapes.action_high + shapes.action_low) / 2, (shapes.action_high - shapes.action_low) / 2
    observation, _ = env.reset(seed=seed)
    steps, over = 0, False
    while not over:
        seen = torch.tensor(observation.reshape(1, -1), dtype=torch.float32)
        observation, _, terminated, truncated, _ = env.step(
            shapes.in_space(middle + half * policy(seen).numpy().flatten())
        )
        steps, over = steps + 1, terminated or truncated
    return steps


def as_table(report: dict[str, Any]) -> str:
    """The report as text."""
    versions = report["versions"]
    lines = [
        report["what"],
        f"{report['algorithm']}'s untrained policy, {report['episodes']} episodes of each run; medians of {report['repeats']}",
        f"{report['processor']}, {report['platform']}; "
        + ", ".join(f"{name} {versions[name]}" for name in ("python", "seqeval-rl", "torch", "gymnasium", "mujoco"))
        + f", revision {report['git_revision']}",
        "",
        f"{'task':<16} {'backend':<10} {'runs':>4} {'workers':>7} {'env steps/s':>12}"
        f" {'plain loop':>11} {'over loop':>10} {'at once':>8}",
    ]
    for row in report["rows"]:
        lines.append(
            f"{row['task']:<16} {row['backend']:<10} {row['runs']:>4} {row['workers']:>7} "
            f"{row['medians']['evaluator']:>12.0f} {row['medians']['loop']:>11.0f} {row['evaluator_over_loop']:>10.2f} "
            f"{row['at_once_over_evaluator']:>8.2f}"
        )
    lines += [
        "",
        "workers: processes, or threads of envpool. plain loop: one Gymnasium environment and a torch policy",
        f"of the same size, one action at a time. at once: ratio of {AT_ONCE} evaluations at the same time, as while training",
        "on CUDA, to one at a time.",
    ]
    return "\n".join(lines)
