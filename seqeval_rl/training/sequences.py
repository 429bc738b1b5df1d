"""Sequences of a replay buffer: consecutive transitions of one episode, which end with the transition that was drawn.

A batch is drawn as single transitions are, each of which becomes the last one of its sequence: so sequences are uniform over
what is visible, by their last transition. The transitions before it are the rows before it, as far as they are of its episode.
In the orders `episodes` and `logged` these have arrived before, so nothing is seen that is not visible yet.

Returns to go are sums of rewards that come after. So only episodes that are visible to their end are drawn by algorithms that get
them, and an episode that the dataset's end cuts off is not.

Axes: N transitions of all runs, R runs, B sequences of a batch, H transitions of a sequence.
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
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.interface.sequences import History, SequenceBatch, fold
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.replay_buffer import PooledReplayBuffer, ReplayBuffer


class Sequences:
    """Makes sequences of H transitions of what is drawn from a replay buffer."""

    def __init__(self, length: int, replay: ReplayBuffer, streams: Sequence[Stream], returns_to_go: bool = False):
        """Of the streams of R runs, whose rows are in `replay`; those of an online phase are marked as they are written. With
        `returns_to_go`, batches have these.

        Raises:
            DataError: the rows do not fit into memory.
        """
        self.length, self._replay, self._streams = length, replay, tuple(streams)
        self._received: Tensor | None = None  # [N], the sum of the rewards before each in its episode; see `history`
        if isinstance(replay, PooledReplayBuffer):
            raise DataError(
                f"batches of sequences: expected data that fit into memory ({replay.device.type}), found {replay.host.nbytes:,} "
                "bytes, which are read as they are needed. Use a shorter dataset."
            )
        self._steps = mark_steps(replay, streams)
        to_go = np.zeros(len(replay.host) if returns_to_go else 0, np.float32)
        self.complete: list[CompleteEpisodes | None] = [None] * len(streams)  # of each run; none: it draws from all
        for r, (stream, first) in enumerate(zip(streams, first_rows(streams), strict=True)):
            if not len(stream):
                continue
            if returns_to_go:
                to_go[first : first + len(stream)] = _returns_to_go(stream)
                self.complete[r] = CompleteEpisodes(stream, replay.arrivals[r][: len(stream)] - first)
        device = replay.device
        self._to_go = torch.from_numpy(to_go).to(device)
        self._back = torch.arange(length - 1, -1, -1, device=device)

    def drawn(
        self,
        indices: NDArray[np.int64],
        positions: NDArray[np.int64],
        low: NDArray[np.int64],
        high: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """What `batch` takes, [CHUNK, R, B], for the row indices [CHUNK, R, B] at arrival positions [R, CHUNK, B] of windows
        from `low` to `high` [R, CHUNK]: the row, and how many transitions before it are in the window, in one number."""
        reach = np.minimum(positions - low[..., None], self.length - 1).swapaxes(0, 1)
        return indices * self.length + reach

    def batch(self, drawn: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> SequenceBatch:
        """The sequences of what was drawn, [..., R, B] on the device; other arguments as for `ReplayBuffer.batch`."""
        rows, steps, reach = self._rows(drawn)
        to_go = None
        if len(self._to_go):
            to_go = self._to_go[rows]
            if scale is not None:
                column = self._replay.obs_columns + self._replay.act_dim
                to_go = to_go * scale[..., column]
        return fold(self._replay.batch(rows, noise, shift, scale), steps, reach, to_go)

    def _rows(self, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The rows [..., R, B * H] of what was drawn, and the other arguments of `fold`."""
        last = drawn.div(self.length, rounding_mode="floor")
        steps = self._steps[last].long()
        reach = torch.minimum(drawn - last * self.length, steps)
        # In padding the last one again, which is then set to 0.
        rows = (last[..., None] - torch.minimum(self._back, reach[..., None])).flatten(-2)
        return rows, steps, reach

    def history(self, indices: NDArray[np.int64], shift: Tensor | None, scale: Tensor | None) -> History:
        """What an algorithm would have seen before it acted at these rows of datasets [R, P], had it acted as the dataset."""
        drawn = torch.from_numpy(indices * self.length + self.length - 1).to(self._replay.device)
        rows = self._rows(drawn)[0].unflatten(-1, (indices.shape[-1], self.length))
        batch = self.batch(drawn, torch.empty(*indices.shape, 0, device=drawn.device), shift, scale)
        if self._received is None:
            received = np.zeros(len(self._replay.host), np.float32)
            for stream, first in zip(self._streams, first_rows(self._streams), strict=True):
                received[first : first + len(stream)] = _received(stream)
            self._received = torch.from_numpy(received).to(drawn.device)
        found = self._received[rows] * batch.valid
        if scale is not None:
            found = found * scale[..., self._replay.obs_columns + self._replay.act_dim, None]
        return History.of(batch, found)


def mark_steps(replay: ReplayBuffer, streams: Sequence[Stream]) -> Tensor:
    """Have `replay.steps` say which transition of its episode each row is, [N] int32; those of an online phase are marked as they
    are written. Returns it."""
    steps = np.zeros(len(replay.host), np.int32)
    for stream, first in zip(streams, first_rows(streams), strict=True):
        if len(stream):
            steps[first : first + len(stream)] = _steps(stream)
    replay.steps = torch.from_numpy(steps).to(replay.device)
    return replay.steps


def _steps(stream: Stream) -> NDArray[np.int64]:
    """Which transition of its episode each of a stream is, [N]."""
    starts = [block.start + block.dataset.episode_starts for block in stream.blocks]
    firsts = np.concatenate([each[:-1] for each in starts])
    lengths = np.concatenate([np.diff(each) for each in starts])
    return np.arange(len(stream)) - np.repeat(firsts, lengths)


def _returns_to_go(stream: Stream) -> NDArray[np.float64]:
    """The sum of the rewards from each transition of a stream to its episode's end, [N]."""
    return _sums(stream, last=True)


def _received(stream: Stream) -> NDArray[np.float64]:
    """The sum of the rewards before each transition of a stream since its episode's start, [N]."""
    return -_sums(stream, last=False)


def _sums(stream: Stream, last: bool) -> NDArray[np.float64]:
    """What the sum of all rewards grows by from each transition of a stream to its episode's end, or to its start, [N]."""
    parts = [np.empty(0)]
    for block in stream.blocks:
        starts, rewards = block.dataset.episode_starts, np.asarray(block.dataset.rewards, np.float64)
        before = np.append(0.0, np.cumsum(rewards))
        bounds = before[starts[1:]] if last else before[starts[:-1]]
        parts.append(np.repeat(bounds, np.diff(starts)) - before[:-1])
    return np.concatenate(parts)


class CompleteEpisodes:
    """The transitions of a run that belong to complete episodes, in the order in which these are complete.

    An episode is when its last transition is visible; one that the dataset's end cuts off never is.
    """

    def __init__(self, stream: Stream, arrival: NDArray[np.int64]):
        """For a stream of N transitions, of which those of an episode arrive one after the other, and its rows in order of
        arrival, [N]."""
        position = np.empty(len(stream), np.int64)
        position[arrival] = np.arange(len(stream))
        complete = np.empty(len(stream), np.int64)  # after how many transitions each row's episode is
        for block in stream.blocks:
            starts = block.start + block.dataset.episode_starts
            ends = position[starts[1:] - 1] + 1
            if block.dataset.cut:
                ends[-1] = len(stream) + 1
            complete[starts[0] : starts[-1]] = np.repeat(ends, np.diff(starts))
        order = np.lexsort((position, complete))
        order = order[: np.count_nonzero(complete <= len(stream))]
        self.positions = position[order]  # of arrival
        self._complete = complete[order]

    def count(self, visible: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many they are when so many transitions (any shape) are visible."""
        return np.searchsorted(self._complete, visible, "right")

    def left(self, low: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of them came before these arrival positions (any shape); not for an interleaved stream."""
        return np.searchsorted(self.positions, low) if low.any() else np.zeros_like(low)


def check_sequences(entry: AlgorithmEntry, config: Any, protocol: Protocol, stream: Stream, where: str) -> int | None:
    """H of an algorithm's batches, None where these are of single transitions.

    Args:
        entry: the algorithm.
        config: its settings.
        protocol: of the runs.
        stream: of a run.
        where: names the stream in errors.

    Raises:
        UsageError: a protocol under which there are no such sequences, or images.
        DataError: no episode is that long, or, for returns to go, none is complete when they are needed.
    """
    length = entry.sequence_length(config)
    if length is None:
        return None
    what = f"{entry.name} in {where}, whose batches are sequences of {length} transitions"
    if len(stream.obs_shape) != 1:
        raise UsageError(f"{what}: expected observations that are vectors, found shape {stream.obs_shape}.")
    if not stream.blocks:
        if entry.returns_to_go:
            raise _no_online(what, protocol)
        return length
    if protocol.order == "shuffled":
        raise UsageError(
            f"protocol.order for {what}: expected episodes or logged, found shuffled, in which the transitions of an episode do "
            "not arrive one after the other. Set protocol.order=episodes."
        )
    if stream.interleave and protocol.window is not None:
        raise UsageError(
            f"{what}: expected no window with interleave = true, found {protocol.window}. Leave one of them out."
        )
    longest = max(int(np.diff(block.dataset.episode_starts).max()) for block in stream.blocks)
    if length > longest:
        raise DataError(
            f"{what}: expected episodes as long as that, found at most {longest} transitions in one. Set a sequence_length of at "
            f"most {longest}."
        )
    if entry.returns_to_go and protocol.online:
        raise _no_online(what, protocol)
    return length


def _no_online(what: str, protocol: Protocol) -> UsageError:
    return UsageError(
        f"{what} with their returns to go: expected no online phase, found protocol.online = {protocol.online}. The returns of "
        "its episodes are not known before they end: leave it out."
    )


def check_complete(complete: CompleteEpisodes, schedule: Schedule, what: str) -> None:
    """Raise `DataError` where some gradient step finds no complete episode in the window that it may sample from."""
    protocol = schedule.protocol
    increments = np.arange(schedule.increments if protocol.window is not None else 1, dtype=np.int64)
    low, high = schedule.window(increments * protocol.updates_per_increment)
    short = complete.count(high) <= complete.left(low)
    if short.any():
        remedy = "Raise protocol.initial" if protocol.window is None else "Raise protocol.initial or protocol.window"
        raise DataError(
            f"{what}: expected a complete episode among what is sampled, since returns to go are needed, found none after "
            f"{int(high[short.argmax()])} transitions. {remedy}."
        )
