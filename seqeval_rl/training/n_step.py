"""n-step transitions of a replay buffer, for algorithms whose `Config` has an `n_step`.

A transition is drawn as any other; its rewards are then added up over those that follow it in its episode, as far as they are in
the window that its gradient step may sample from. So nothing is seen that is not visible yet, in any order of arrival: in the
order `shuffled` few transitions are followed by visible ones at first, in the end nearly all of them.

Axes: R runs, B transitions of a batch, D numbers of a packed row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.stream import Stream
from seqeval_rl.errors import DataError
from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.training.replay_buffer import PooledReplayBuffer, ReplayBuffer
from seqeval_rl.training.sequences import CompleteEpisodes, Sequences, mark_steps

NEVER = np.iinfo(np.int64).max  # position of arrival of a row that is not of the run


class NStepTransitions:
    """Makes n-step transitions of what is drawn from a replay buffer."""

    complete: Sequence[CompleteEpisodes | None]

    def __init__(self, n: int, replay: ReplayBuffer, streams: Sequence[Stream], discount: float | Tensor):
        """Of the streams of R runs, whose rows are in `replay`; `discount` is one for all runs or [R].

        Raises:
            DataError: the rows do not fit into memory.
        """
        if isinstance(replay, PooledReplayBuffer):
            raise DataError(
                f"n_step = {n}: expected data that fit into memory ({replay.device.type}), found {replay.host.nbytes:,} bytes, "
                "which are read as they are needed. Use a shorter dataset, or set n_step=1."
            )
        self.length, self._replay, self.complete = n, replay, [None] * len(streams)
        mark_steps(replay, streams)
        rows = len(replay.host)
        # [R, rows + n], position at which each row arrives; after the last row there is none.
        self._positions = np.full((len(streams), rows + n), NEVER)
        for position, arrival in zip(self._positions, replay.arrivals, strict=True):
            position[arrival[: len(arrival)]] = np.arange(len(arrival))
        device = replay.device
        self._ahead = torch.arange(n, device=device)
        each = torch.as_tensor(discount, dtype=replay.dtype, device=device)
        self._discount = each.expand(len(streams))[:, None]

    def drawn(
        self,
        indices: NDArray[np.int64],
        positions: NDArray[np.int64],
        low: NDArray[np.int64],
        high: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """What `batch` takes, [CHUNK, R, B], for the row indices [CHUNK, R, B] at arrival positions [R, CHUNK, B] of windows
        from `low` to `high` [R, CHUNK]: the row, and how many rows after it are in the window, in one number."""
        ahead, inside = np.zeros_like(indices), np.ones(indices.shape, np.bool_)
        runs = np.arange(len(self._positions))[:, None]
        first, end = low.T[..., None], high.T[..., None]  # [CHUNK, R, 1]
        for k in range(1, self.length):
            place = self._positions[runs, indices + k]
            inside &= (first <= place) & (place < end)
            ahead += inside
        return indices * self.length + ahead

    def batch(self, drawn: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """The transitions of what was drawn, [..., R, B] on the device; other arguments as for `ReplayBuffer.batch`."""
        replay, steps = self._replay, self._replay.steps
        assert steps is not None
        first = drawn.div(self.length, rounding_mode="floor")
        reach = drawn - first * self.length
        rows = (first.unsqueeze(-1) + self._ahead).clamp(max=len(steps) - 1)  # [..., R, B, n]
        follows = (steps[rows] == steps[first].unsqueeze(-1) + self._ahead) & (self._ahead <= reach.unsqueeze(-1))
        reach = follows.sum(-1) - 1
        rows = torch.minimum(rows, (first + reach).unsqueeze(-1))
        packed = replay.packed(rows.flatten(-2), shift, scale).unflatten(-2, rows.shape[-2:])  # [..., R, B, n, D]
        reward = replay.obs_columns + replay.act_dim
        returns, masks = packed[..., 0, reward], packed[..., 0, reward + 1]
        for k in range(1, self.length):
            weights, there = self._discount * masks, k <= reach
            returns = torch.where(there, returns + weights * packed[..., k, reward], returns)
            masks = torch.where(there, weights * packed[..., k, reward + 1], masks)
        # All rows from the last transition on are the same.
        before, after = packed[..., 0, :reward], packed[..., -1, reward + 2 :]
        one = torch.cat([before, returns.unsqueeze(-1), masks.unsqueeze(-1), after], -1)
        return replay.unpacked(one, first, noise, last=rows[..., -1])


def build_sequences(
    entry: AlgorithmEntry, config: Any, replay: ReplayBuffer, streams: Sequence[Stream]
) -> Sequences | NStepTransitions | None:
    """What makes sequences or n-step transitions of those that are drawn for an algorithm with these settings; None where it
    takes them as they are. Raises what both raise."""
    if (n := entry.n_step(config)) > 1:
        return NStepTransitions(n, replay, streams, getattr(config, "discount", 1.0))
    length = entry.sequence_length(config)
    return None if length is None else Sequences(length, replay, streams, entry.returns_to_go)
