"""Which transitions each gradient step trains on: indices and noise, drawn per run from its own seed.

What a gradient step draws depends on (seed, number of the gradient step) alone: draws are made in chunks of `CHUNK` steps,
each from a generator of its own. Resuming therefore needs no generator's state.

Axes: R runs, B transitions of a batch, n normals per transition.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.protocol import Schedule
from seqeval_rl.seeding import numpy_generator
from seqeval_rl.training.replay_buffer import ReplayBuffer

CHUNK = 32  # gradient steps drawn and gathered at once; large enough to hide Python, small enough for a core's cache
PREFETCHED_CHUNKS = 8


def draw_positions(schedule: Schedule, seed: int, chunk: int, share: float | None = None) -> NDArray[np.int64]:
    """Arrival positions [CHUNK, B] of the gradient steps from `chunk * CHUNK` on, uniform over the window that each may sample.

    In the first of an increment's K steps, the last min(γ, B) places hold the newest transitions. In an online phase, with a
    `share` of the dataset, that share of the places is drawn from the dataset's part of the window, the rest from the other.
    """
    protocol = schedule.protocol
    gradient_steps = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK, dtype=np.int64)
    low, high = schedule.window(gradient_steps)
    size = (CHUNK, protocol.batch_size)
    lowest, highest = low[:, None], high[:, None]
    if share is not None:
        mixed = (low < schedule.dataset_length) & (schedule.dataset_length < high)
        of_dataset = np.arange(protocol.batch_size) < round(share * protocol.batch_size)
        lowest = np.where(mixed[:, None] & ~of_dataset, schedule.dataset_length, lowest)
        highest = np.where(mixed[:, None] & of_dataset, schedule.dataset_length, highest)
    positions = numpy_generator(seed, "batches", chunk).integers(lowest, highest, size)
    first = gradient_steps % protocol.updates_per_increment == 0
    newest = min(protocol.increment, protocol.batch_size)
    # Counted from the end of the batch: place -k holds the k-th newest, if this increment revealed that many.
    place = np.arange(1, newest + 1)
    revealed = high - schedule.visible(gradient_steps // protocol.updates_per_increment)
    fresh = first[:, None] & (place <= revealed[:, None])
    tail = positions[:, ::-1][:, :newest]
    tail[fresh] = (high[:, None] - place)[fresh]
    return positions


class BatchSampler:
    """The batches of consecutive gradient steps for R runs."""

    def __init__(
        self,
        replay: ReplayBuffer,
        schedules: Sequence[Schedule],
        seeds: Sequence[int],
        noise_dim: int,
        shares: Sequence[float | None] | None = None,
    ):
        """Each run has its schedule (of one protocol), its seed and its share of the dataset (see `draw_positions`); each
        transition comes with n = `noise_dim` normals."""
        self.replay, self.schedules, self.seeds, self.noise_dim = replay, tuple(schedules), tuple(seeds), noise_dim
        self.shares = tuple(shares or [None] * len(self.seeds))
        self._latest: tuple[int, NDArray[np.int64], NDArray[np.float32]] | None = None

    def between(self, start: int, stop: int, shift: Tensor | None, scale: Tensor | None) -> Iterator[Batch]:
        """Batches of gradient steps `start` to `stop` (exclusive); packed rows become `row * scale + shift`, each [R, 1, D]."""
        device = self.replay.device
        while start < stop:
            chunk = start // CHUNK
            end = min((chunk + 1) * CHUNK, start + (CHUNK if self.replay.gathers_chunks else 1), stop)
            inside = slice(start - chunk * CHUNK, end - chunk * CHUNK)
            # Kept, because an evaluation may come in the middle of a chunk.
            if self._latest is None or self._latest[0] != chunk:
                self._latest = (chunk, *self.draw(chunk))
            _, positions, noise = self._latest
            indices = torch.from_numpy(self.replay.indices(positions[:, inside])).to(device)
            batches = self.replay.batch(indices, torch.from_numpy(noise[inside]).to(device), shift, scale)
            absent = [None] * (end - start)
            for columns in zip(*(absent if column is None else column for column in batches), strict=True):
                yield Batch(*columns)
            start = end

    def draw(self, chunk: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The draws of the gradient steps from `chunk * CHUNK` on: arrival positions [R, CHUNK, B] and standard normals
        [CHUNK, R, B, n]. May be called from any thread."""
        runs = zip(self.schedules, self.seeds, self.shares, strict=True)
        positions = np.stack([draw_positions(schedule, seed, chunk, share) for schedule, seed, share in runs])
        shape = (*positions.shape[1:], self.noise_dim)
        noise = np.empty((CHUNK, len(self.seeds), *shape[1:]), np.float32)
        if self.noise_dim:
            for r, seed in enumerate(self.seeds):
                noise[:, r] = numpy_generator(seed, "noise", chunk).standard_normal(shape, dtype=np.float32)
        return positions, noise


class Prefetcher:
    """Draws chunks in threads before they are needed, into page-locked memory for CUDA."""

    def __init__(self, batches: BatchSampler):
        self._batches = batches
        self._pool = ThreadPoolExecutor(max(1, min(PREFETCHED_CHUNKS, (os.cpu_count() or 1) - 1)), "draws")
        self._pending: dict[int, Future[tuple[Tensor, Tensor]]] = {}
        self._last = (max(schedule.gradient_steps for schedule in batches.schedules) - 1) // CHUNK

    def __call__(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Row indices [CHUNK, R, B] and noise [CHUNK, R, B, n] of a chunk; starts drawing the chunks after it."""
        for number in range(chunk, max(chunk, min(chunk + PREFETCHED_CHUNKS - 1, self._last)) + 1):
            if number not in self._pending:
                self._pending[number] = self._pool.submit(self._draw, number)
        for number in [number for number in self._pending if number < chunk]:
            self._pending.pop(number).cancel()
        return self._pending.pop(chunk).result()

    def _draw(self, chunk: int) -> tuple[Tensor, Tensor]:
        positions, noise = self._batches.draw(chunk)
        tensors = torch.from_numpy(self._batches.replay.indices(positions)), torch.from_numpy(noise)
        if self._batches.replay.device.type == "cuda":
            # The host need not wait for a copy from page-locked memory; torch keeps the memory until the copy is done.
            tensors = tensors[0].pin_memory(), tensors[1].pin_memory()
        return tensors
