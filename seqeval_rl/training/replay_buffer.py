"""Replay: batches from the visible window, drawn per run from its own seed, gathered from one packed tensor.

What a gradient step draws depends on (seed, number of the gradient step) alone: draws come in chunks of `CHUNK` steps,
each from a generator of its own. Going on after an interruption therefore needs no generator's state.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.images import Pixels
from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.protocol import Schedule
from seqeval_rl.seeding import numpy_generator


class Prefetcher:
    """Draws chunks in threads before they are needed, into page-locked memory where there is CUDA."""

    def __init__(self, batches: BatchSampler, depth: int):
        """Of `batches`; `depth` chunks are under way at a time."""
        self._batches, self._depth = batches, depth
        self._pool = ThreadPoolExecutor(max(1, min(depth, (os.cpu_count() or 1) - 1)), "draws")
        self._coming: dict[int, Future[tuple[Tensor, Tensor]]] = {}
        last = max(schedule.gradient_steps for schedule in batches.schedules)
        self._last = (last - 1) // CHUNK

    def __call__(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Row indices [CHUNK, R, B] and noise [CHUNK, R, B, n] of a chunk; those after it are begun."""
        for number in range(chunk, max(chunk, min(chunk + self._depth - 1, self._last)) + 1):
            if number not in self._coming:
                self._coming[number] = self._pool.submit(self._draw, number)
        for number in [number for number in self._coming if number < chunk]:
            self._coming.pop(number).cancel()
        return self._coming.pop(chunk).result()

    def _draw(self, chunk: int) -> tuple[Tensor, Tensor]:
        positions, noise = self._batches.draw(chunk)
        found = (torch.from_numpy(self._batches.replay.indices(positions)), torch.from_numpy(noise))
        if self._batches.replay.device.type == "cuda":
            # From page-locked memory a copy does not make the host wait; torch keeps it until the copy is done.
            found = (found[0].pin_memory(), found[1].pin_memory())
        return found


CHUNK = 32  # gradient steps drawn and gathered at once; large enough to hide Python, small enough for a core's cache


def draw_positions(schedule: Schedule, seed: int, chunk: int) -> NDArray[np.int64]:
    """Arrival positions [CHUNK, B] of the gradient steps `chunk * CHUNK` and on, uniform over what each may see.

    In the first of an increment's K steps, the last min(γ, B) places hold the newest transitions.
    """
    protocol = schedule.protocol
    gradient_steps = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK, dtype=np.int64)
    low, high = schedule.window(gradient_steps)
    size = (CHUNK, protocol.batch_size)
    positions = numpy_generator(seed, "batches", chunk).integers(low[:, None], high[:, None], size)
    first = gradient_steps % protocol.updates_per_increment == 0
    newest = min(protocol.increment, protocol.batch_size)
    # Counted from the end of the batch: place -k holds the k-th newest, as far as this increment revealed that many.
    place = np.arange(1, newest + 1)
    revealed = high - schedule.visible(gradient_steps // protocol.updates_per_increment)
    fresh = first[:, None] & (place <= revealed[:, None])
    tail = positions[:, ::-1][:, :newest]
    tail[fresh] = (high[:, None] - place)[fresh]
    return positions


class ReplayBuffer:
    """The stream's transitions on the device, rows [N, obs|act|reward|mask|next_obs], in each of R runs' order of arrival."""

    at_once = CHUNK  # gradient steps of one chunk whose batches are gathered together

    def __init__(
        self,
        rows: NDArray[np.float32],
        arrivals: Sequence[NDArray[np.int64]],
        obs_shape: tuple[int, ...],
        act_dim: int,
        device: torch.device,
    ):
        """Rows [N, D] shared by the runs and each run's arrival order [N]; rows that are written to must be writable."""
        self.obs_shape, self.act_dim, self.device = obs_shape, act_dim, device
        self.host = rows  # on a CPU the memory of `rows` itself
        self.arrivals = list(arrivals)
        with warnings.catch_warnings():
            # A read-only memory map is fine: nothing writes to rows.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.rows = torch.from_numpy(rows).to(device)

    def write(self, indices: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Put packed rows [k, D] at row indices [k]."""
        self.host[indices] = values
        if self.device.type != "cpu":
            self.rows[torch.from_numpy(indices).to(self.device)] = torch.from_numpy(values).to(self.device)

    def indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row indices [CHUNK, R, B] for arrival positions [R, CHUNK, B]."""
        runs, chunk, batch = positions.shape
        found = np.empty((chunk, runs, batch), np.int64)
        for r, arrival in enumerate(self.arrivals):
            found[:, r] = arrival[positions[r]]
        return found

    def batch(self, indices: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """The batch of row indices [..., R, B] on the device; its rows become `row * scale + shift`, each [R, 1, D]."""
        return self.unpack(self.packed(indices, shift, scale), noise)

    def packed(self, indices: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
        """The rows [..., R, B, D] of a batch."""
        packed = self.rows.index_select(0, indices.flatten()).view(*indices.shape, -1)
        if shift is not None and scale is not None:
            packed = torch.addcmul(shift, packed, scale)
        return packed

    def unpack(self, packed: Tensor, noise: Tensor) -> Batch:
        """Packed rows [..., D] by column, each contiguous: matrix products take strided input at half the speed."""
        width = (packed.shape[-1] - self.act_dim - 2) // 2
        observations, actions, rewards, masks, following = packed.split([width, self.act_dim, 1, 1, width], -1)
        shape = (*packed.shape[:-1], *self.obs_shape)
        return Batch(
            observations=observations.contiguous().view(shape),
            actions=actions.contiguous(),
            rewards=rewards.squeeze(-1).contiguous(),
            next_observations=following.contiguous().view(shape),
            masks=masks.squeeze(-1).contiguous(),
            noise=noise,
        )


class Draws(NamedTuple):
    """What the gradient steps of one chunk draw."""

    positions: NDArray[np.int64]  # [R, CHUNK, B] of arrival
    noise: NDArray[np.float32]  # [CHUNK, R, B, n] standard normals


class BatchSampler:
    """The batches of consecutive gradient steps for R runs."""

    def __init__(self, replay: ReplayBuffer, schedules: Sequence[Schedule], seeds: Sequence[int], noise_dim: int):
        """Each run has its schedule (of one protocol) and its seed; `noise_dim` standard normals come with each transition."""
        self.replay, self.schedules, self.seeds, self.noise_dim = replay, tuple(schedules), tuple(seeds), noise_dim
        self._latest: tuple[int, Draws] | None = None

    def between(self, start: int, stop: int, shift: Tensor | None, scale: Tensor | None) -> Iterator[Batch]:
        """Batches of gradient steps `start` to `stop` (exclusive); packed rows become `row * scale + shift`, each [R, 1, D]."""
        while start < stop:
            chunk = start // CHUNK
            end = min((chunk + 1) * CHUNK, start + self.replay.at_once, stop)
            inside = slice(start - chunk * CHUNK, end - chunk * CHUNK)
            # Kept for when an evaluation falls inside a chunk.
            if self._latest is None or self._latest[0] != chunk:
                self._latest = (chunk, self.draw(chunk))
            positions, noise = self._latest[1]
            device = self.replay.device
            indices = torch.from_numpy(self.replay.indices(positions[:, inside])).to(device)
            chunk_of_batches = self.replay.batch(indices, torch.from_numpy(noise[inside]).to(device), shift, scale)
            for columns in zip(*chunk_of_batches, strict=True):
                yield Batch(*columns)
            start = end

    def draw(self, chunk: int) -> Draws:
        """The draws of the gradient steps `chunk * CHUNK` and on; may be called from any thread."""
        runs = zip(self.schedules, self.seeds, strict=True)
        positions = np.stack([draw_positions(schedule, seed, chunk) for schedule, seed in runs])
        shape = (*positions.shape[1:], self.noise_dim)
        noise = np.empty((CHUNK, len(self.seeds), *shape[1:]), np.float32)
        if self.noise_dim:
            for r, seed in enumerate(self.seeds):
                noise[:, r] = numpy_generator(seed, "noise", chunk).standard_normal(shape, dtype=np.float32)
        return Draws(positions, noise)


class ImageReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` whose rows are [N, act|reward|mask] and whose observations are stacks of frames, values from 0 to 255."""

    at_once = 1  # a chunk of stacked images would be gigabytes

    def __init__(
        self,
        pixels: Pixels,
        rows: NDArray[np.float32],
        arrivals: Sequence[NDArray[np.int64]],
        act_dim: int,
        device: torch.device,
    ):
        """Images and rows shared by the runs, and each run's arrival order [N]."""
        super().__init__(rows, arrivals, pixels.obs_shape, act_dim, device)
        with warnings.catch_warnings():
            # A read-only memory map is fine: nothing writes to frames.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.frames = torch.from_numpy(pixels.frames).to(device)
            self.index = torch.from_numpy(pixels.index).to(device)
        self._back = torch.arange(pixels.stack - 1, -1, -1, device=device)

    def batch(self, indices: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """See `ReplayBuffer`; `shift` and `scale` are of the packed columns, so images stay as they are."""
        packed = self.packed(indices, shift, scale)
        first, *newest = self.index.index_select(0, indices.flatten()).unbind(-1)
        # [observation and next observation, transition, frame of the stack]
        places = torch.maximum(torch.stack(newest)[..., None] - self._back, first[:, None])
        frames = self.frames.index_select(0, places.flatten())
        observations, following = frames.view(2, *indices.shape, *self.obs_shape).to(packed.dtype).unbind(0)
        actions, rewards, masks = packed.split([self.act_dim, 1, 1], -1)
        return Batch(
            observations=observations,
            actions=actions.contiguous(),
            rewards=rewards.squeeze(-1).contiguous(),
            next_observations=following,
            masks=masks.squeeze(-1).contiguous(),
            noise=noise,
        )
