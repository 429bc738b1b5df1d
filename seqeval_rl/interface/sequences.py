"""Batches of sequences: consecutive transitions of one episode, for algorithms that declare a `sequence_length`.

A sequence ends with the transition that was drawn; where its episode has fewer than H transitions up to there, the first places
are padding, in which everything is 0. Padding is at the start only.

Axes: R runs, B sequences of a batch, H transitions of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqeval_rl.errors import UsageError
from seqeval_rl.interface.algorithm import Batch


class SequenceBatch(NamedTuple):
    """One batch of sequences of each run; values as in `Batch`."""

    observations: Tensor  # [R, B, H, *obs_shape]
    actions: Tensor  # [R, B, H, act_dim]
    rewards: Tensor  # [R, B, H]
    next_observations: Tensor  # [R, B, H, *obs_shape]
    masks: Tensor  # [R, B, H]; 0 where terminated, and in padding
    noise: Tensor  # [R, B, n], as in `Batch`: of a sequence, not of its transitions
    valid: Tensor  # [R, B, H]; 1 where there is a transition, 0 in padding
    steps: Tensor  # [R, B, H] int64, which transition of its episode, from 0
    # [R, B, H], the sum of the rewards from the transition to its episode's end; [R, B, 0] unless Algo.returns_to_go is True
    returns_to_go: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> SequenceBatch:
        """The batch with `change` applied to each field."""
        return SequenceBatch(*(change(column) for column in self))

    def run(self, r: int) -> SequenceBatch:
        """The batch of run `r` alone, without the run axis."""
        return self.each(lambda column: column[r])


class History(NamedTuple):
    """What `act` gets of an algorithm with `acts_on_history = True`: the latest H transitions of E environments of each run.

    The last place has the current observation; its action and reward are 0, since they are to come.
    """

    observations: Tensor  # [R, E, H, *obs_shape]
    actions: Tensor  # [R, E, H, act_dim], as they were taken
    rewards: Tensor  # [R, E, H]
    received: Tensor  # [R, E, H], the sum of the rewards since the episode's start, before each place
    valid: Tensor  # [R, E, H]; 0 in padding, where the episode had not begun
    steps: Tensor  # [R, E, H] int64, which transition of its episode, from 0

    def each(self, change: Callable[[Tensor], Tensor]) -> History:
        """The history with `change` applied to each field."""
        return History(*(change(column) for column in self))

    @classmethod
    def beginning(cls, observations: Tensor, length: int, act_dim: int) -> History:
        """Of environments whose first observations are these, [R, E, *obs_shape]."""
        runs, envs = observations.shape[:2]
        history = observations.new_zeros(runs, envs, length)
        valid, steps = history.clone(), torch.zeros(history.shape, dtype=torch.int64, device=history.device)
        valid[..., -1] = 1
        seen = observations.new_zeros(runs, envs, length, *observations.shape[2:])
        seen[:, :, -1] = observations
        actions = history.new_zeros(*history.shape, act_dim)
        return cls(seen, actions, history, history.clone(), valid, steps)

    @classmethod
    def of(cls, batch: SequenceBatch, received: Tensor) -> History:
        """That which led to the last observations of sequences, with these sums [R, B, H]."""
        actions, rewards = batch.actions.clone(), batch.rewards.clone()
        actions[:, :, -1], rewards[:, :, -1] = 0, 0
        return cls(batch.observations, actions, rewards, received, batch.valid, batch.steps)


def history_length(algorithm: Any, config: Any) -> int | None:
    """H of the histories that `act` gets; None where it gets observations alone."""
    return sequence_length(algorithm, config) if getattr(algorithm, "acts_on_history", False) else None


def sequence_length(algorithm: Any, config: Any) -> int | None:
    """H, from the field `sequence_length` of `Config`, else from the class attribute; None: batches are of single transitions.

    Raises:
        UsageError: it is no whole number from 1.
    """
    length = getattr(config, "sequence_length", getattr(algorithm, "sequence_length", None))
    if length is None or (isinstance(length, int) and not isinstance(length, bool) and length >= 1):
        return length
    name = getattr(algorithm, "__name__", algorithm)
    raise UsageError(f"{name}.sequence_length: expected a whole number from 1, found {length!r}. Correct it.")


def fold(batch: Batch, last_steps: Tensor, reach: Tensor, returns_to_go: Tensor | None = None) -> SequenceBatch:
    """A batch of B * H transitions as one of B sequences.

    Args:
        batch: with columns [..., R, B * H, ...], whose noise is that of the sequences already, [..., R, B, n].
        last_steps: number of each sequence's last transition in its episode, [..., R, B].
        reach: how many of the transitions before the last one are not padding, [..., R, B]; more than H - 1 counts as H - 1.
        returns_to_go: [..., R, B * H], if the algorithm gets them.
    """
    lead = reach.shape
    length = batch.rewards.shape[-1] // lead[-1]
    back = torch.arange(length - 1, -1, -1, device=reach.device)
    valid = back <= reach[..., None]

    def folded(column: Tensor) -> Tensor:
        column = column.unflatten(len(lead) - 1, (lead[-1], length))
        there = valid.view(*valid.shape, *[1] * (column.ndim - valid.ndim))
        return torch.where(there, column, torch.zeros((), dtype=column.dtype, device=column.device))

    rewards = folded(batch.rewards)
    return SequenceBatch(
        observations=folded(batch.observations),
        actions=folded(batch.actions),
        rewards=rewards,
        next_observations=folded(batch.next_observations),
        masks=folded(batch.masks),
        noise=batch.noise,
        valid=valid.to(rewards.dtype),
        steps=torch.where(valid, last_steps[..., None] - back, torch.zeros_like(last_steps[..., None])),
        returns_to_go=rewards[..., :0] if returns_to_go is None else folded(returns_to_go),
    )


class NStepReturns(NamedTuple):
    """The n-step returns of the transitions of sequences: the target is `returns + discounts * V(next observations at last)`."""

    returns: Tensor  # [R, B, H]
    discounts: Tensor  # [R, B, H]; 0 where a terminal state is reached, and in padding
    last: Tensor  # [R, B, H] int64, the place in the sequence of the last transition that is summed over


def n_step_returns(batch: SequenceBatch, n: int, discount: float | Tensor) -> NStepReturns:
    """From each transition, the discounted sum of n rewards, or of fewer where the sequence or the episode ends before.

    For transition h, with m_k the masks and l = min(h + n, H) - 1:

        returns = sum_(k = h..l) (prod_(h <= j < k) gamma m_j) r_k,      discounts = prod_(h <= j <= l) gamma m_j

    Sequences end with the transition that was drawn: the first of the last n has all n rewards, the last one only its own. A
    `discount` that differs between runs is [R, 1, 1].
    """
    returns, discounts = torch.zeros_like(batch.rewards), batch.valid
    for k in range(min(n, batch.rewards.shape[-1])):
        # What is k places later; nothing at the end of the sequence.
        rewards, masks = _ahead(batch.rewards, k, 0.0), _ahead(batch.masks, k, 0.0)
        inside = _ahead(torch.ones_like(batch.valid), k, 0.0)
        returns = returns + discounts * rewards * inside
        discounts = torch.where(inside > 0, discounts * discount * masks, discounts)
    places = torch.arange(batch.rewards.shape[-1], device=batch.rewards.device)
    last = (places + (n - 1)).clamp(max=batch.rewards.shape[-1] - 1)
    return NStepReturns(returns, discounts, last.expand(batch.rewards.shape))


def _ahead(column: Tensor, k: int, fill: float) -> Tensor:
    return column if k == 0 else torch.nn.functional.pad(column[..., k:], (0, k), value=fill)


def rewards_to_go(batch: SequenceBatch) -> Tensor:
    """From each transition, the sum of the rewards to the sequence's end, [R, B, H]. To the *episode's* end it is
    `batch.returns_to_go`."""
    return batch.rewards.flip(-1).cumsum(-1).flip(-1) * batch.valid


def action_chunks(batch: SequenceBatch, size: int) -> tuple[Tensor, Tensor]:
    """The chunks of `size` consecutive actions, [R, B, H - size + 1, size, act_dim], the h-th from transition h on, and which
    begin with a transition, not with padding, [R, B, H - size + 1].

    Raises:
        UsageError: sequences are shorter than `size`.
    """
    length = batch.rewards.shape[-1]
    if not 1 <= size <= length:
        raise UsageError(f"action chunks: expected a size from 1 to sequence_length = {length}, found {size}.")
    return batch.actions.unfold(2, size, 1).movedim(-1, 3), batch.valid[..., : length - size + 1]
