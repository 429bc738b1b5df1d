"""Policies that collect datasets: uniform actions, a run's policy, and the file format of the bundled behavior policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.collection.policy import Policy, observation_map
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError
from seqeval_rl.networks.distributions import uniform
from seqeval_rl.utils.files import atomic_path

# Raw observations float32 [B, *obs] and standard normals float32 [B, act_dim] to actions [B, act_dim] in [-1, 1].
Act = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
KEYS = ("w0", "b0", "w1", "b1", "w2", "b2")  # of the behavior format, see data/bundled_policies/README.md


@dataclass(frozen=True)
class Behavior:
    """What chooses the actions of a dataset, and where."""

    task: Task
    act: Act
    algorithm: str  # what it is, for a dataset's metadata
    purpose: str  # names its episodes and noise


def uniform_behavior(task: Task) -> Behavior:
    """Actions uniform on the whole action space."""
    return Behavior(task, lambda _, noise: uniform(torch.from_numpy(noise)).numpy(), "uniform random actions", "random")


def policy_behavior(policy: Policy, algorithm: str, purpose: str, explore: bool = True) -> Behavior:
    """A trained policy, with its exploration or greedy; `algorithm` and `purpose` as in `Behavior`."""
    return Behavior(policy.task, policy.act if explore else lambda seen, _: policy.act(seen), algorithm, purpose)


def run_behavior(directory: Path, explore: bool, algorithm: str | None = None) -> Behavior:
    """The policy of a run's newest checkpoint; arguments and errors as for `Policy.load`."""
    policy = Policy.load(directory, algorithm)
    how = "exploring" if explore else "greedy"
    return policy_behavior(policy, f"{policy.description}, {how}", "run", explore)


def behavior_arrays(state: dict[str, Any], obs_dim: int) -> dict[str, NDArray[np.float16]]:
    """The tanh-Gaussian policy of a run's state in the behavior format, normalization taken into the first layer.

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
    """Write a behavior policy atomically. Raises `OSError`."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
