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

from seqeval_rl.data.stream import Stream
from seqeval_rl.errors import UsageError
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.online import TERMINATED, Interaction
from seqeval_rl.training.replay_buffer import ReplayBuffer
from seqeval_rl.training.returns import observed_returns, return_complete, returns_of_rows

MISSING = {"next_actions": -1, "returns": -np.inf, "ranks": np.nan}
"""By field, what stands in its table for a missing value; that of `next_actions` has row indices."""

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
        """
        self._replay, self._interaction, self._scales = replay, interaction, scales
        self._discounts = list(discounts)
        self._runs = [
            _Episodes(stream, arrival[: len(stream)], discount if "returns" in names else None)
            for stream, arrival, discount in zip(streams, replay.arrivals, discounts, strict=True)
        ]
        rows = len(replay.rows)
        self._tables = {
            name: torch.full((len(self._runs), rows), MISSING[name], device=replay.device) for name in names
        }
        self._offsets = torch.arange(len(self._runs), device=replay.device).unsqueeze(1) * rows
        self._visible = 0

    def __call__(self, indices: Tensor) -> dict[str, Tensor]:
        """The fields at row indices [..., R, B]: [..., R, B], actions [..., R, B, A]."""
        found = {name: table.take(indices + self._offsets) for name, table in self._tables.items()}
        if "next_actions" in found:
            rows, width = found["next_actions"], self._replay.obs_columns
            packed = self._replay.rows.index_select(0, rows.clamp(min=0).flatten()).view(*rows.shape, -1)
            actions = packed[..., width : width + self._replay.act_dim]
            found["next_actions"] = actions.masked_fill((rows < 0).unsqueeze(-1), torch.nan)
        return found

    def refresh(self, transitions: int) -> None:
        """Compute the fields from the first `transitions` of each run."""
        self._visible = transitions
        for r, episodes in enumerate(self._runs):
            online = None if self._interaction is None else self._interaction.ends[r]
            rows = self._replay.arrivals[r][len(episodes) : len(episodes) + (0 if online is None else len(online))]
            for name, table in self._tables.items():
                values = np.full(table.shape[1], MISSING[name], np.float32 if name != "next_actions" else np.int64)
                place = slice(episodes.first, episodes.first + len(episodes))
                of_online = np.empty(0) if online is None else online
                values[place], values[rows] = getattr(self, f"_{name}")(r, episodes, transitions, rows, of_online)
                table[r].copy_(torch.from_numpy(values))

    def _next_actions(
        self, r: int, episodes: _Episodes, visible: int, rows: NDArray[np.int64], ends: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of the next actions, of the dataset's and of the online transitions."""
        known = episodes.continues[:-1] & (episodes.position[1:] < visible)
        after = np.append(np.where(known, episodes.first + np.arange(1, len(episodes)), -1), -1)[: len(episodes)]
        return after, np.append(np.where(ends[:-1] == 0, rows[1:], -1), -1)[: len(rows)]

    def _returns(
        self, r: int, episodes: _Episodes, visible: int, rows: NDArray[np.int64], ends: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale = np.float32(self._scales[r])
        of_dataset = np.where(episodes.complete < visible, episodes.returns * scale, -np.inf)
        stops = np.flatnonzero(ends) + 1
        over = int(stops[-1]) if len(stops) else 0  # transitions of episodes that have ended
        of_online = np.full(len(rows), -np.inf, np.float32)
        terminal, starts = ends[:over] == TERMINATED, np.append(0, stops)
        values, observed = returns_of_rows(self._rewards(rows[:over]), terminal, starts, self._discounts[r])
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
        return self._replay.host[rows, self._replay.obs_columns + self._replay.act_dim]

    def state_dict(self) -> dict[str, Any]:
        """How many transitions were visible at the latest refresh; the rest follows from it."""
        return {"visible": self._visible}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, after the transitions of an online phase have been loaded."""
        self.refresh(state["visible"])


class _Episodes:
    """The episodes of one run's stream, and when each of their transitions arrives."""

    def __init__(self, stream: Stream, arrival: NDArray[np.int64], discount: float | None):
        """`arrival` has the rows of the stream in the run's order; without a `discount` there are no returns."""
        self.first = int(arrival.min()) if len(arrival) else 0  # row of the stream's first transition
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
            self.complete = return_complete(stream, arrival - self.first)  # [N], position of the last of their rewards

    def __len__(self) -> int:
        return len(self.position)


def _ranks(sums: NDArray[np.float64], lengths: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """For each episode the share of transitions in known episodes of larger sums of rewards; NaN for one that is not known."""
    ranks = np.full(len(sums), np.nan, np.float32)
    _, place = np.unique(-sums[known], return_inverse=True)  # of its sum among the different ones, the largest first
    transitions = np.bincount(place, lengths[known])
    ranks[known] = (np.cumsum(transitions) - transitions)[place] / max(lengths[known].sum(), 1)
    return ranks
