"""The optional fields of batches: the next action, the return and the rank of a transition, as far as what is visible tells them.

They depend on transitions other than their own, so each is missing until those are visible: the next action until the next
transition is, a return until its rewards are, a rank until the whole episode is. They are computed at evaluation points, as the
statistics of observations are, from the transitions that are visible then; so they may lag, and never run ahead.

Axes: R runs, N transitions of a run's stream, n of its online phase so far, B transitions of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.stream import Stream, first_rows
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.online import TERMINATED, Interaction
from seqeval_rl.training.prequential import UNSEEN, observed_returns, return_complete
from seqeval_rl.training.replay_buffer import PooledReplayBuffer, ReplayBuffer

MISSING = {"next_actions": np.nan, "returns": -np.inf, "ranks": np.nan}
"""By field, what stands for a missing value."""

WHOLE = {"returns": "the returns", "ranks": "the ranks of episodes"}
"""Fields that are known once an episode is visible as a whole."""


def check_columns(algorithm: str, names: Sequence[str], protocol: Protocol, stream: str) -> None:
    """Raise `UsageError` where an algorithm needs fields that exist only at the end of a shuffled stream."""
    needed = [meaning for name, meaning in WHOLE.items() if name in names]
    if needed and protocol.order == "shuffled" and not (protocol.static or protocol.uses_future_data):
        raise UsageError(
            f"protocol.order on {stream}: expected episodes or logged for {algorithm}, found shuffled. It needs "
            f"{' and '.join(needed)}, which are known once an episode is visible as a whole, and shuffled ones are not until the "
            "end. Set protocol.order=episodes."
        )


class VisibleColumns:
    """The optional fields for the batches of R runs; called with row indices, it returns them by name."""

    def __init__(
        self,
        names: Sequence[str],
        streams: Sequence[Stream],
        replay: ReplayBuffer,
        discounts: Sequence[float],
        scales: NDArray[np.float64],
        interaction: Interaction | None = None,
    ):
        """Nothing is visible before the first `refresh`.

        Args:
            names: of the fields.
            streams: of each run.
            replay: has their transitions, and each run's order of arrival.
            discounts: of each run's returns.
            scales: [R], what rewards are multiplied by for the algorithm.
            interaction: gathers the transitions of an online phase.

        Raises:
            DataError: the rows do not fit into memory.
        """
        if isinstance(replay, PooledReplayBuffer):
            raise DataError(
                f"{' and '.join(names)} of batches: expected data that fit into memory ({replay.device.type}), found "
                f"{replay.host.nbytes:,} bytes, which are read as they are needed. Use a shorter dataset."
            )
        self._replay, self._interaction, self._scales = replay, interaction, scales
        self._discounts = list(discounts)
        self._runs = [
            _Episodes(stream, first, arrival[: len(stream)], discount if "returns" in names else None)
            for stream, first, arrival, discount in zip(
                streams, first_rows(streams), replay.arrivals, discounts, strict=True
            )
        ]
        rows = len(replay.host)
        self._tables: dict[str, Tensor] = {}  # [R, rows] or [R, rows, A]
        for name in names:
            shape = (len(self._runs), rows, *([replay.act_dim] if name == "next_actions" else []))
            self._tables[name] = torch.full(shape, MISSING[name], dtype=replay.dtype, device=replay.device)
        self._offsets = torch.arange(len(self._runs), device=replay.device).unsqueeze(1) * rows
        self._visible = 0

    def __call__(self, indices: Tensor) -> dict[str, Tensor]:
        """The fields at row indices [..., R, B]: [..., R, B], actions [..., R, B, A]."""
        places = (indices + self._offsets).flatten()
        found = {name: table.flatten(0, 1).index_select(0, places) for name, table in self._tables.items()}
        return {name: values.view(*indices.shape, *values.shape[1:]) for name, values in found.items()}

    def refresh(self, transitions: int) -> None:
        """Compute the fields from the first `transitions` of each run."""
        self._visible = transitions
        for r, episodes in enumerate(self._runs):
            online = None if self._interaction is None else self._interaction.ends[r]
            rows = self._replay.arrivals[r][len(episodes) : len(episodes) + (0 if online is None else len(online))]
            for name, table in self._tables.items():
                values = np.full(table.shape[1:], MISSING[name], np.float32)
                place = slice(episodes.first, episodes.first + len(episodes))
                of_online = np.empty(0, np.uint8) if online is None else online
                values[place], values[rows] = getattr(self, f"_{name}")(r, episodes, transitions, rows, of_online)
                table[r].copy_(torch.from_numpy(values))

    def _next_actions(
        self, r: int, episodes: _Episodes, visible: int, rows: NDArray[np.int64], ends: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The next actions of the dataset's and of the online transitions."""
        width, act_dim = self._replay.obs_columns, self._replay.act_dim
        found = []
        known = episodes.continues[:-1] & (episodes.position[1:] < visible)
        for places, there in ((episodes.first + np.arange(len(episodes)), known), (rows, ends[:-1] == 0)):
            actions = np.full((len(places), act_dim), np.nan, np.float32)
            before = np.flatnonzero(there)
            actions[before] = self._replay.host[places[before + 1]][:, width : width + act_dim]
            found.append(actions)
        return found[0], found[1]

    def _returns(
        self, r: int, episodes: _Episodes, visible: int, rows: NDArray[np.int64], ends: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale = np.float32(self._scales[r])
        of_dataset = np.where(episodes.complete < visible, episodes.returns * scale, -np.inf)
        stops = np.flatnonzero(ends) + 1
        over = int(stops[-1]) if len(stops) else 0  # transitions of episodes that have ended
        of_online = np.full(len(rows), -np.inf, np.float32)
        terminal, starts = ends[:over] == TERMINATED, np.append(0, stops)
        values, observed = _returns(self._rewards(rows[:over]), terminal, starts, self._discounts[r])
        of_online[:over] = np.where(observed, values * scale, -np.inf)
        return of_dataset.astype(np.float32), of_online

    def _ranks(
        self, r: int, episodes: _Episodes, visible: int, rows: NDArray[np.int64], ends: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        stops = np.flatnonzero(ends) + 1
        lengths = np.diff(np.append(0, stops))
        rewards = np.asarray(self._rewards(rows[: lengths.sum()]), np.float64)
        sums = np.add.reduceat(rewards, np.append(0, stops[:-1])) if len(stops) else np.empty(0)
        ranks = _ranks(
            np.concatenate([episodes.sums, sums]),
            np.concatenate([episodes.lengths, lengths]),
            np.concatenate([episodes.whole < visible, np.ones(len(sums), np.bool_)]),
        )
        of_online = np.full(len(rows), np.nan, np.float32)
        of_online[: lengths.sum()] = np.repeat(ranks[len(episodes.sums) :], lengths)
        return np.repeat(ranks[: len(episodes.sums)], episodes.lengths), of_online

    def _rewards(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._replay.host[rows][:, self._replay.obs_columns + self._replay.act_dim]

    def state_dict(self) -> dict[str, Any]:
        """How many transitions were visible at the latest refresh; the rest follows from it."""
        return {"visible": self._visible}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, after the transitions of an online phase have been loaded."""
        self.refresh(state["visible"])


class _Episodes:
    """The episodes of one run's stream, and when each of their transitions arrives."""

    def __init__(self, stream: Stream, first: int, arrival: NDArray[np.int64], discount: float | None):
        """The stream's rows are those from `first` on, and arrive in the order `arrival`; without a `discount` there are no
        returns."""
        self.first = first
        self.position = np.empty(len(arrival), np.int64)  # [N], of arrival
        self.position[arrival - self.first] = np.arange(len(arrival))
        self.continues = np.ones(len(arrival), np.bool_)  # [N], whether the next row is its next transition
        empty = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int64)]
        lengths, sums, whole = empty
        for block in stream.blocks:
            data, starts = block.dataset, block.dataset.episode_starts
            self.continues[block.start : block.stop] &= ~data.terminations
            self.continues[block.start + starts[1:] - 1] = False
            lengths.append(np.diff(starts))
            sums.append(np.add.reduceat(np.asarray(data.rewards, np.float64), starts[:-1]))
            last = np.maximum.reduceat(self.position[block.start : block.stop], starts[:-1])
            if data.cut:  # its last episode is never whole
                last[-1] = len(arrival)
            whole.append(last)
        self.lengths, self.sums = np.concatenate(lengths), np.concatenate(sums)  # of each episode
        self.whole = np.concatenate(whole)  # position of its transition that arrives last
        if discount is not None:
            values, observed = observed_returns(stream, discount)
            self.returns = np.where(observed, values, -np.inf).astype(np.float32)  # [N]
            self.complete = return_complete(stream, arrival, first)  # [N], position of the last of their rewards

    def __len__(self) -> int:
        return len(self.position)


def _returns(
    rewards: NDArray[np.float32], terminal: NDArray[np.bool_], starts: NDArray[np.int64], discount: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """As `observed_returns`, of the rows [n] of whole episodes; `starts` are the first of each, and n at the end."""
    value, weight = np.array(rewards, np.float64), np.where(terminal, 0.0, discount)
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        for row in range(stop - 2, start - 1, -1):
            value[row] += discount * value[row + 1]
            weight[row] = discount * weight[row + 1]
    return value, weight <= UNSEEN


def _ranks(sums: NDArray[np.float64], lengths: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """For each episode the share of transitions in known episodes of larger sums of rewards; NaN for one that is not known."""
    ranks = np.full(len(sums), np.nan, np.float32)
    _, place = np.unique(-sums[known], return_inverse=True)  # of its sum among the different ones, the largest first
    transitions = np.bincount(place, lengths[known])
    ranks[known] = (np.cumsum(transitions) - transitions)[place] / max(lengths[known].sum(), 1)
    return ranks
