"""Policies that collect logs: uniform actions, any algorithm's checkpoint, and the format of the bundled behavior policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm, registered
from seqeval_rl.networks.distributions import uniform
from seqeval_rl.results import checkpoint
from seqeval_rl.results.read import RunResult, read_results
from seqeval_rl.utils.files import atomic_path

# Raw observations float32 [B, *obs] and standard normals float32 [B, act_dim] to actions [B, act_dim] in [-1, 1].
Act = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
KEYS = ("w0", "b0", "w1", "b1", "w2", "b2")  # of the behavior format, see behavior/README.md
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Behavior:
    """What chooses the actions of a log, and where."""

    task: Task
    act: Act
    algorithm: str  # what it is, for a dataset's metadata
    purpose: str  # names its episodes and noise


def uniform_behavior(task: Task) -> Behavior:
    """Actions uniform on the whole action space."""
    return Behavior(task, lambda _, noise: uniform(torch.from_numpy(noise)).numpy(), "uniform random actions", "random")


def policy(entry: AlgorithmEntry, config: Any, task: Task, state: dict[str, Any], seed: int, explore: bool) -> Act:
    """The policy in the state that a run goes on from (`loop.Stack.states`), statistics of its observations included.

    Args:
        entry: the algorithm.
        config: its settings.
        task: gives the shapes.
        state: of one run.
        seed: of that run.
        explore: act with the algorithm's exploration; else greedily.

    Raises:
        DataError: the state is not one of this algorithm with these settings.
        EnvironmentMissingError: the task's environment is not installed.
    """
    shapes = gymnasium_shapes(task.environment)[1]
    spec = Spec(shapes.obs_shape, len(shapes.action_low), (seed,), CPU)
    algorithm = entry.build(config, spec)
    try:
        algorithm.load_state_dict(state["algorithm"])
        scale, shift = observation_map(state, int(np.prod(shapes.obs_shape)))
    except (KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"checkpoint of {entry.name}: expected its state for {task.env_id}, found {type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0]} Use the settings and the version of the algorithm that it was trained with."
        ) from error

    @torch.no_grad()
    def act(observations: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        flat = torch.from_numpy(observations).flatten(1) * scale + shift
        seen = flat.view(1, *observations.shape)
        actions: NDArray[np.float32] = algorithm.act(seen, torch.from_numpy(noise)[None] if explore else None)[
            0
        ].numpy()
        return actions

    return act


def observation_map(state: dict[str, Any], obs_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the run's preprocessing multiplies observations by and then adds, float32 [obs_dim] each; 1 and 0: nothing."""
    scale, shift = (state["preprocessing"][name].float().reshape(-1)[:obs_dim] for name in ("scale", "shift"))
    return scale, shift


def from_run(directory: Path, explore: bool, algorithm: str | None = None) -> Behavior:
    """The policy of a run's newest checkpoint.

    Args:
        directory: of one run, with its manifest.
        explore: see `policy`.
        algorithm: reference of the run's algorithm where it is not registered under its name.

    Raises:
        DataError: no such run, no checkpoint that can be read, or one of other settings.
        UsageError: the algorithm is not registered, or the run's task has no environment.
    """
    runs = read_results(directory)
    if len(runs) != 1:
        raise UsageError(
            f"{directory}: expected the directory of one run, found {len(runs)} runs. Name one, for example {runs[0].path}."
        )
    run = runs[0]
    task = Task(**run.manifest["task"])
    if task.env_id is None:
        raise UsageError(f"{directory}: expected a run whose task has an environment, found none. Use another run.")
    entry = _algorithm(run, algorithm)
    state, evaluation = newest_state(directory)
    config = entry.configure(run.config, f"{directory}/manifest.json")
    act = policy(entry, config, task, state, run.seed, explore)
    done = run.evaluations[evaluation]["transitions"] if evaluation < len(run.evaluations) else "unrecorded"
    how = "exploring" if explore else "greedy"
    return Behavior(
        task, act, f"{run.algorithm}, seed {run.seed}, after {done} transitions of {run.dataset}, {how}", "run"
    )


def _algorithm(run: RunResult, reference: str | None) -> AlgorithmEntry:
    if reference is None and run.algorithm not in registered():
        raise UsageError(
            f"{run.path}: made by {run.algorithm}, which is not registered here. Say where it is: --algorithm module:Class."
        )
    return find_algorithm(reference or run.algorithm, "--algorithm")


def newest_state(directory: Path) -> tuple[dict[str, Any], int]:
    """The newest state of a run that can be read, and its evaluation. Raises `DataError` where there is none."""
    folder = directory / "checkpoint"
    for evaluation in reversed(checkpoint.available(folder)):
        state = checkpoint.load(folder, evaluation)
        if state is not None:
            return state, evaluation
    raise DataError(f"{folder}: expected a checkpoint, found none that can be read. Name a run that has one.")


def behavior_arrays(state: dict[str, Any], obs_dim: int) -> dict[str, NDArray[np.float16]]:
    """The tanh-Gaussian policy of a run's state in the behavior format, normalisation taken into the first layer.

    Raises:
        DataError: the algorithm's actor is not a tanh-Gaussian perceptron of two hidden layers, or its weights do not fit
            into float16.
    """
    actor = state["algorithm"].get("actor", {})
    weights = [value[0, 0].double() for name, value in actor.items() if name.startswith("net.weights.")]
    if len(weights) != len(KEYS) or len(actor) != len(KEYS):
        raise DataError(
            f"behavior policy: expected an actor of two hidden layers as SAC has it, found the parameters "
            f"{', '.join(actor) or 'none'}. Train sac with two hidden layers."
        )
    scale, shift = (value.double() for value in observation_map(state, obs_dim))
    weights[1] = weights[1] + shift @ weights[0]
    weights[0] = scale[:, None] * weights[0]
    with np.errstate(over="ignore"):  # said below
        arrays = {key: value.numpy().astype(np.float16) for key, value in zip(KEYS, weights, strict=True)}
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise DataError("behavior policy: expected weights that fit into float16, found larger ones. Train it anew.")
    return arrays


def write_behavior(path: Path, arrays: dict[str, NDArray[np.float16]]) -> None:
    """Write a behavior policy, whole or not at all."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
