"""Which transitions each gradient step trains on: indices and noise, drawn per run from its own seed.

What a gradient step draws depends on (seed, number of the gradient step) alone: draws are made in chunks of `CHUNK` steps,
each from a generator of its own. Resuming therefore needs no generator's state.

Axes: R runs, B transitions of a batch, n normals per transition.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.interface.sequences import SequenceBatch
from seqeval_rl.protocol import Schedule
from seqeval_rl.seeding import numpy_generator
from seqeval_rl.training.n_step import NStepTransitions
from seqeval_rl.training.replay_buffer import PooledReplayBuffer, ReplayBuffer
from seqeval_rl.training.row_pool import RowPool
from seqeval_rl.training.sequences import CompleteEpisodes, Sequences

CHUNK = 32  # gradient steps with one generator, gathered at once; large enough to hide Python, small enough for a core's cache
PREFETCHED_CHUNKS = 8
_DRAWN = 1 << 20  # bytes drawn one right after the other on a CPU, whose caches an update fills with other things


def draw_positions(
    schedule: Schedule,
    seed: int,
    chunk: int,
    complete: CompleteEpisodes | None = None,
    share: float | None = None,
) -> NDArray[np.int64]:
    """Arrival positions [CHUNK, B] of the gradient steps from `chunk * CHUNK` on, uniform over the window that each may sample.

    In the first of an increment's K steps, the last min(γ, B) places hold the newest transitions. With `complete` only
    transitions of complete episodes are drawn, and the newest are those of the latest to be complete. In an online phase, with a
    `share` of the dataset, that share of the places is drawn from the dataset's part of the window, the rest from the other.
    """
    protocol = schedule.protocol
    gradient_steps = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK, dtype=np.int64)
    low, high = schedule.window(gradient_steps)
    before = schedule.visible(gradient_steps // protocol.updates_per_increment)
    if complete is not None:  # numbers of transitions in the order in which their episodes are complete
        low, high, before = complete.left(low), complete.count(high), complete.count(before)
    size = (CHUNK, protocol.batch_size)
    bounds: tuple[Any, Any] = low[:, None], high[:, None]
    if share is not None:
        mixed = ((low < schedule.dataset_length) & (schedule.dataset_length < high))[:, None]
        of_dataset = np.arange(protocol.batch_size) < round(share * protocol.batch_size)
        bounds = (
            np.where(mixed & ~of_dataset, schedule.dataset_length, bounds[0]),
            np.where(mixed & of_dataset, schedule.dataset_length, bounds[1]),
        )
    elif low[0] == low[-1] and high[0] == high[-1]:  # neither ever falls
        # Between numbers NumPy draws what it draws between arrays, three times as fast.
        bounds = low[0], high[0]
    positions = numpy_generator(seed, "batches", chunk).integers(*bounds, size)
    first = np.flatnonzero(gradient_steps % protocol.updates_per_increment == 0)
    most = min(protocol.increment, protocol.batch_size)
    age, revealed = np.arange(most, 0, -1), (high - before)[first, None]  # 1: the newest; by each of these increments
    last = positions[first, -most:]
    positions[first, -most:] = np.where(age <= revealed, high[first, None] - age, last)
    return positions if complete is None else complete.positions[positions]


class BatchSampler:
    """The batches of consecutive gradient steps for R runs."""

    def __init__(
        self,
        replay: ReplayBuffer,
        schedules: Sequence[Schedule],
        seeds: Sequence[int],
        noise_dim: int,
        sequences: Sequences | NStepTransitions | None = None,
        shares: Sequence[float | None] | None = None,
    ):
        """Each run has its schedule (of one protocol) and its seed; each transition comes with n = `noise_dim` normals. With
        `sequences`, batches are of what these make of the transitions drawn; `shares` of the dataset as of `draw_positions`."""
        self.replay, self.schedules, self.seeds, self.noise_dim = replay, tuple(schedules), tuple(seeds), noise_dim
        self.sequences, self.shares = sequences, tuple(shares or [None] * len(self.seeds))
        # Several batches of sequences would be large.
        self._gathers_chunks = replay.gathers_chunks and not isinstance(sequences, Sequences)
        self.last = (max(schedule.gradient_steps for schedule in schedules) - 1) // CHUNK  # chunk
        self._pool: RowPool | None = None
        if isinstance(replay, PooledReplayBuffer):
            chunk_rows = CHUNK * len(self.seeds) * schedules[0].protocol.batch_size
            self._pool = RowPool(replay, self._indices, chunk_rows, self.last)
        self._drawn: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}  # by chunk

    def between(self, start: int, stop: int, shift: Tensor | None, scale: Tensor | None) -> Iterator[list[Any]]:
        """Batches of gradient steps `start` to `stop` (exclusive), in lists of those that are gathered together; packed rows
        become `row * scale + shift`, each [R, 1, D]."""
        while start < stop:
            end = min((start // CHUNK + 1) * CHUNK, start + (CHUNK if self._gathers_chunks else 1), stop)
            yield self._gathered(start, end, shift, scale)
            start = end

    def _gathered(self, start: int, end: int, shift: Tensor | None, scale: Tensor | None) -> list[Any]:
        """The batches of these gradient steps, of one chunk."""
        device, chunk = self.replay.device, start // CHUNK
        # Kept, because an evaluation may come in the middle of a chunk.
        if chunk not in self._drawn:
            drawn = self.draw(chunk)
            # The places in the next pool may not be known yet.
            count = 1 if self._pool is not None else max(_DRAWN // sum(each.nbytes for each in drawn), 1)
            self._drawn = {chunk: drawn} | {each: self.draw(each) for each in self.following(chunk, count)[1:]}
        self.enter(chunk)
        inside = slice(start - chunk * CHUNK, end - chunk * CHUNK)
        places, noise = (torch.from_numpy(each[inside]).to(device) for each in self._drawn[chunk])
        batches = self.batch(places, noise, shift, scale)
        absent = [None] * (end - start)
        columns = [absent if column is None else column.unbind() for column in batches]
        return [type(batches)(*of_step) for of_step in zip(*columns, strict=True)]

    def batch(self, drawn: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch | SequenceBatch:
        """The batch of what `draw` has drawn, [..., R, B] and [..., R, B, n] on the device; see `ReplayBuffer.batch`."""
        return (self.replay if self.sequences is None else self.sequences).batch(drawn, noise, shift, scale)

    def draw(self, chunk: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The draws of the gradient steps from `chunk * CHUNK` on: places in the replay buffer's `rows` [CHUNK, R, B], to be
        read once the chunk is entered, or what `sequences.drawn` makes of them, and standard normals [CHUNK, R, B, n]. May be
        called from any thread."""
        places = self._indices(chunk) if self._pool is None else self._pool.places(chunk)
        shape = (CHUNK, *places.shape[2:], self.noise_dim)
        noise = np.empty((CHUNK, len(self.seeds), *shape[1:]), np.float32)
        if self.noise_dim:
            for r, seed in enumerate(self.seeds):
                noise[:, r] = numpy_generator(seed, "noise", chunk).standard_normal(shape, dtype=np.float32)
        return places, noise

    def following(self, chunk: int, count: int) -> range:
        """A chunk and those after it, `count` in all, or fewer where the last one comes before."""
        return range(chunk, max(chunk, min(chunk + count - 1, self.last)) + 1)

    def enter(self, chunk: int) -> None:
        """Make sure that the rows of a chunk are where `draw` says; before its first batch is gathered."""
        if self._pool is not None:
            self._pool.enter(chunk)

    def pool_of(self, chunk: int) -> range:
        """The chunks whose rows are gathered together with those of this one."""
        return range(chunk, chunk + 1) if self._pool is None else self._pool.chunks_of(chunk)

    def close(self) -> None:
        """Stop gathering rows for batches to come."""
        if self._pool is not None:
            self._pool.close()

    def _indices(self, chunk: int) -> NDArray[np.int64]:
        """The row indices of a chunk, [CHUNK, R, B]; or what `sequences.drawn` makes of them."""
        complete = [None] * len(self.seeds) if self.sequences is None else self.sequences.complete
        runs = zip(self.schedules, self.seeds, complete, self.shares, strict=True)
        positions = np.stack(
            [draw_positions(schedule, seed, chunk, each, share) for schedule, seed, each, share in runs]
        )
        indices = self.replay.indices(positions)
        if self.sequences is None:
            return indices
        gradient_steps = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK, dtype=np.int64)
        low, high = np.stack([schedule.window(gradient_steps) for schedule in self.schedules], axis=1)
        return self.sequences.drawn(indices, positions, low, high)


class Prefetcher:
    """Draws chunks in threads before they are needed, into page-locked memory for CUDA."""

    def __init__(self, batches: BatchSampler):
        self._batches = batches
        self._pool = ThreadPoolExecutor(max(1, min(PREFETCHED_CHUNKS, (os.cpu_count() or 1) - 1)), "draws")
        self._pending: dict[int, Future[tuple[Tensor, Tensor]]] = {}

    def __call__(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Places [CHUNK, R, B] and noise [CHUNK, R, B, n] of a chunk, see `BatchSampler.draw`; starts drawing the next ones."""
        for number in self._batches.following(chunk, PREFETCHED_CHUNKS):
            if number not in self._pending:
                self._pending[number] = self._pool.submit(self._draw, number)
        for number in [number for number in self._pending if number < chunk]:
            self._pending.pop(number).cancel()
        return self._pending.pop(chunk).result()

    def _draw(self, chunk: int) -> tuple[Tensor, Tensor]:
        places, noise = self._batches.draw(chunk)
        tensors = torch.from_numpy(places), torch.from_numpy(noise)
        if self._batches.replay.device.type == "cuda":
            # The host need not wait for a copy from page-locked memory; torch keeps the memory until the copy is done.
            tensors = tensors[0].pin_memory(), tensors[1].pin_memory()
        return tensors
