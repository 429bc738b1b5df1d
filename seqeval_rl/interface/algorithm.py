"""The contract between harness and algorithm: what an algorithm is given, and the methods that it must have.

A *run group* is R runs that train together; every tensor has a leading run axis. Axes: R runs, B transitions of a batch,
E episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from seqeval_rl.errors import UsageError

ActionSpace = Literal["continuous", "discrete"]


class Batch(NamedTuple):
    """One batch of each run, float32 (discrete actions int64) on the device.

    Observations are normalized and rewards scaled as the run's settings say. Images have values from 0 to 255, here and in
    `act`; the algorithm scales them.
    """

    observations: Tensor  # [R, B, *obs_shape]
    actions: Tensor  # [R, B, act_dim], scaled to [-1, 1]; discrete ones [R, B], int64 from 0 to action_classes - 1
    rewards: Tensor  # [R, B]
    next_observations: Tensor  # [R, B, *obs_shape]
    masks: Tensor  # [R, B]; 0 where terminated, 1 else (a time limit keeps 1)
    noise: Tensor  # [R, B, n] standard normal; n = Algo.noise_dim(config, spec), 0 if not defined
    # Those that Algo.columns(config) names, else None; as of the latest evaluation point, from visible transitions alone.
    # [R, B, act_dim], of the next transition; NaN where it is not visible, or there is none.
    next_actions: Tensor | None = None
    # [R, B], discounted, to the episode's end; -inf where this is not visible, or cut off.
    returns: Tensor | None = None
    # [R, B], share of transitions in episodes of larger returns; NaN in episodes not wholly visible.
    ranks: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `change` applied to each field that is there."""
        return Batch(*(None if column is None else change(column) for column in self))  # type: ignore[arg-type]

    def run(self, r: int) -> Batch:
        """The batch of run `r` alone, without the run axis."""
        return self.each(lambda column: column[r])


@dataclass(frozen=True)
class Spec:
    """What an algorithm may know. It has no dataset size and no horizon, so that an algorithm cannot use future data."""

    obs_shape: tuple[int, ...]
    act_dim: int  # 1 where actions are discrete
    seeds: tuple[int, ...]  # R = len(seeds)
    device: torch.device
    action_classes: int | None = None  # how many discrete actions there are; None: actions are continuous

    @property
    def obs_dim(self) -> int:
        """Length of a flat observation vector; raises `UsageError` where observations are not vectors, such as images."""
        if len(self.obs_shape) != 1:
            raise UsageError(
                f"expected observations that are vectors, found shape {self.obs_shape}. Choose an algorithm for "
                "observations of this shape."
            )
        return self.obs_shape[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an observation; raises `UsageError` where observations are not images."""
        if len(self.obs_shape) != 3:
            raise UsageError(
                f"expected observations that are images, found shape {self.obs_shape}. Choose an algorithm for "
                "observations of this shape."
            )
        channels, height, width = self.obs_shape
        return channels, height, width

    @property
    def action_space(self) -> ActionSpace:
        """The kind of its actions."""
        return "continuous" if self.action_classes is None else "discrete"

    @property
    def discrete_actions(self) -> int:
        """The number of discrete actions; raises `UsageError` where actions are continuous."""
        if self.action_classes is None:
            raise UsageError(
                f"expected discrete actions, found {self.act_dim} continuous dimensions. Choose an algorithm for "
                "continuous actions."
            )
        return self.action_classes

    @property
    def act_noise_dim(self) -> int:
        """Standard normals that `act` gets to explore with: one for each action dimension, two for a discrete action."""
        return self.act_dim if self.action_classes is None else 2

    @property
    def runs(self) -> int:
        """R, the number of runs in the group."""
        return len(self.seeds)


class Algorithm(Protocol):
    """The methods that the harness calls; it builds an algorithm as `Algo(config, spec)`.

    A *vectorized* algorithm works on all runs at once, with a leading run axis. A *single-run* algorithm sees tensors without
    the run axis and one seed; the harness builds one for each run (`PerSeed`).

    Class attributes:
        Config: a frozen dataclass; each field has a default and a comment.
        vectorized: True for a vectorized algorithm. Absent: False.
        action_space: "continuous" or "discrete", the actions that it is for. Absent: "continuous".
        observation_space: "images" for an algorithm of these alone, which checks and measurements then give it. Absent: others
            are not refused, and both give it vectors.
        period: after how many updates the kinds of updates repeat, 2 for a policy update every second step. Absent: 1.
        noise_dim: static method `(config, spec) -> int`, how many standard normals per transition `update` needs. Absent: 0.
        columns: static method `(config) -> tuple of names`, which of `next_actions`, `returns` and `ranks` batches have. Absent:
            none.
        sequence_length: H ≥ 1 (or a field of `Config` of that name): batches are `sequences.SequenceBatch`, [R, B, H, ...], of
            consecutive transitions of one episode. Not with the order `shuffled`, nor with images. Absent or None: `Batch`.
        returns_to_go: True if batches of sequences are to have returns to go: only transitions of complete episodes are drawn,
            and there is no online phase. Absent: False.
        acts_on_history: True if `act` gets a `sequences.History` of H = `sequence_length` transitions in place of observations.
            Absent: False.
        capturable: False if a CUDA graph cannot capture `update`. Absent: True.
        published: the settings of the published runs that are not the defaults, which `--paper` sets; the value `OFFLINE_STEPS`
            of a setting is the number of gradient steps that a run takes on its dataset. Absent: none.
        citation: BibTeX, which runs record and `seqeval cite` prints. Absent: none.

    Fields of `Config` with a meaning for the harness:
        normalise_observations (bool): normalize by mean and standard deviation of the visible window. Absent: False.
        return_range (float | None): scale rewards so that the task's reference returns are this far apart. Absent or None:
            rewards as in the dataset.
        discount (float): gamma, which the prequential scores of `values` need.
        n_step (int): batches hold n-step transitions: `rewards` are r_0 + gamma r_1 + ... + gamma^l r_l, with gamma = `discount`
            of `Config`, `masks` are gamma^l, or 0 where a terminal state is reached, and `next_observations` are those after the
            (l+1)-th transition. So r + gamma m V(s') is the n-step target. l + 1 is n, or fewer where the episode ends or the
            next transition may not be sampled yet. Absent: 1. Not with `columns`, nor with `sequence_length`.
        dataset_share (float | None): in an online phase the share of each batch that is drawn from the dataset. Absent or None:
            batches are drawn uniformly from all visible transitions.
        decay_steps (int | None): set to the run's gradient steps under a protocol that uses future data, if there is no online
            phase and `published` does not name it.

    Optional methods for the prequential scores (`seqeval_rl.training.prequential`), both from observations [R, B, *obs_shape]
    and actions as in `Batch` to detached [R, B]: `values`, the algorithm's Q in the units of the rewards that it is given;
    `log_prob`, the policy's log-density, of discrete actions its log-probability.

    In a vectorized algorithm a float setting may arrive as a tensor [R], one value per run (a sweep in one group): losses are
    [R], so it broadcasts; `seqeval_rl.networks.setting` adds axes where needed. In its `state_dict` every tensor with at least
    one axis has the run axis first, so that the harness can keep one checkpoint per run.
    """

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step; returns detached metrics [R], the same ones at every update, named like `critic/loss`, `critic/q`,
        `actor/loss`. Those of a single-run algorithm may be numbers, or tensors of one number with a gradient."""

    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """[R, E, *obs_shape] -> [R, E, act_dim] in [-1, 1]; discrete actions [R, E], int64.

        `noise`: standard normal [R, E, act_dim] for exploration ([R, E, 2] where actions are discrete), or None for the greedy
        action.
        """

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to resume: networks, targets, optimizers, counters."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
