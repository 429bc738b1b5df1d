"""The boundary between harness and algorithm: what an algorithm is given, what it must offer, and how a plain one joins a stack.

A *stack* is R runs that train side by side; every tensor has a leading run axis. Axes in this file: R runs, B transitions of
a batch, E episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from seqeval_rl.errors import UsageError


class Batch(NamedTuple):
    """One batch of each run, float32 on the device. Observations and rewards come as the run's settings ask for them; images
    come with values from 0 to 255, here and in `act`, and scaling them is the algorithm's."""

    observations: Tensor  # [R, B, *obs_shape]
    actions: Tensor  # [R, B, act_dim], scaled to [-1, 1]
    rewards: Tensor  # [R, B]
    next_observations: Tensor  # [R, B, *obs_shape]
    masks: Tensor  # [R, B]; 0 where terminated, 1 else (a time limit keeps 1)
    noise: Tensor  # [R, B, n] standard normal; n = Algo.noise_dim(config, spec), 0 if not defined

    def run(self, r: int) -> Batch:
        """The batch of run `r` alone, without the run axis."""
        return Batch(*(column[r] for column in self))


@dataclass(frozen=True)
class Spec:
    """What an algorithm may know. No dataset size and no horizon, on purpose: no peeking."""

    obs_shape: tuple[int, ...]
    act_dim: int
    seeds: tuple[int, ...]  # R = len(seeds)
    device: torch.device

    @property
    def obs_dim(self) -> int:
        """Length of a flat observation vector; raises `UsageError` where observations are none, such as images."""
        if len(self.obs_shape) != 1:
            raise UsageError(
                f"algorithm: expected observations that are vectors, found shape {self.obs_shape}. Choose an algorithm that "
                "takes these."
            )
        return self.obs_shape[0]

    @property
    def runs(self) -> int:
        """R, the number of runs in the stack."""
        return len(self.seeds)


class Algorithm(Protocol):
    """What the harness needs; built as `Algo(config, spec)`.

    Class attributes: `Config`, a frozen dataclass with a default and a comment for each field; `stacked`, True if it works
    with a run axis; optionally `period`, the rhythm of updates that differ (2 for a policy update every second step);
    `noise_dim(config, spec) -> int`, static, how many standard normals per transition `update` takes.

    Some fields of `Config` speak to the harness, which prepares batches accordingly: `normalise_observations: bool`
    (mean and standard deviation over the visible window; absent: False) and `return_range: float | None` (rewards are
    scaled so that the task's reference returns are this far apart; absent: None, rewards as logged). Under a protocol that
    peeks, as the published runs do, the harness sets a field `decay_steps: int | None` to the gradient steps of the whole run.

    Two optional hooks serve the prequential scores (see `prequential`), each from observations [R, B, *obs_shape] and actions
    [R, B, act_dim] to [R, B] and without gradient: `values`, the algorithm's Q in the units of the rewards that it is given
    (it needs a setting `discount` beside it), and `log_prob`, the policy's log-density.

    Optionally `citation: str`, its BibTeX: runs record it, and `seqeval cite` prints it.

    In a stacked algorithm a float setting may arrive as a tensor [R], one value for each run (a sweep in one stack): losses
    are [R], so it broadcasts; `nets.setting` gives it the axes that it needs elsewhere. Optionally `capturable = False`, for
    one whose updates a CUDA graph cannot hold.

    In a stacked algorithm's `state_dict`, every tensor with at least one axis has the run axis first, so that the
    harness can keep one checkpoint per run.
    """

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step; returns detached metrics [R] named like `critic/loss`, `critic/q`, `actor/loss`."""
        ...

    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """[R, E, *obs_shape] -> [R, E, act_dim] in [-1, 1].

        `noise` is standard normal, [R, E, act_dim], to explore, or None to be greedy.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to go on: networks, targets, optimisers, counters."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        ...
