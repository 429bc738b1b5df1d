"""Gathers the rows of the gradient steps to come from data that are larger than memory, in a thread, before they are needed.

What a gradient step draws is known in advance. So the rows of some thousand gradient steps are read together, in the order in
which they lie: a row costs a fifth of what it does alone, and a disk reads nearly in sequence. Meanwhile training takes its
batches from the rows that were gathered before, the *pool*, at the same cost as from a small dataset.

Axes: R runs, B transitions of a batch, D numbers of a packed row.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.training.replay_buffer import PooledReplayBuffer, is_pooled

POOL_BYTES = 256 << 20  # there are two such pools: one in use, the next being gathered
_FIRST = 4  # chunks of the first pool, which training waits for; each next one is twice as long
_THREADS = 8  # that gather for a GPU, at most; on a CPU one, since cores train


@dataclass
class _Pool:
    """The rows of consecutive chunks."""

    rows: Tensor | None  # [n, D], page-locked for CUDA; None once they are on the device
    places: NDArray[np.int64]  # [chunks, CHUNK, R, B], in `PooledReplayBuffer.rows`


class RowPool:
    """The rows of chunks of gradient steps, in pools of many chunks; to be closed."""

    def __init__(
        self, replay: PooledReplayBuffer, indices: Callable[[int], NDArray[np.int64]], chunk_rows: int, last: int
    ):
        """Reserves memory on the device.

        Args:
            replay: whose rows are gathered.
            indices: the row indices [CHUNK, R, B] of a chunk; called from a thread.
            chunk_rows: how many these are.
            last: number of the last chunk.
        """
        self._replay, self._indices, self._last = replay, indices, last
        self._most = max(POOL_BYTES // (4 * replay.host.shape[1] * chunk_rows), 1)  # chunks of a pool
        replay.reserve(min(self._most * chunk_rows, len(replay.host) - replay.written))
        self._pools: dict[range, Future[_Pool]] = {}  # by chunks
        self._entered = range(0)  # chunks of the pool that is in `replay.rows`
        self._lock, self._closed = Lock(), False
        self._thread = ThreadPoolExecutor(1, "rows")
        cuda = replay.device.type == "cuda"
        self._more = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "row slices") if cuda else None

    def places(self, chunk: int) -> NDArray[np.int64]:
        """Where the transitions of a chunk will be in `replay.rows` once it is entered, [CHUNK, R, B]. From any thread."""
        chunks = self.chunks_of(chunk)
        return self._pool(chunks).result().places[chunk - chunks.start]

    def enter(self, chunk: int) -> None:
        """Copy the rows of a chunk to the device, unless they are there; then the next ones are gathered."""
        if chunk in self._entered:
            return
        chunks = self.chunks_of(chunk)
        pool = self._pool(chunks).result()
        assert pool.rows is not None
        self._replay.fill(pool.rows)
        pool.rows = None
        with self._lock:
            for other in [other for other in self._pools if other.start < chunks.start or other == self._entered]:
                self._pools.pop(other).cancel()
        self._entered = chunks
        if chunks.stop <= self._last:
            self._pool(self.chunks_of(chunks.stop))

    def close(self) -> None:
        """Stop gathering."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._more is not None:
            self._more.shutdown(wait=False, cancel_futures=True)

    def chunks_of(self, chunk: int) -> range:
        """The chunks of the pool that this one is in. They depend on its number alone, and so do places."""
        start, count = 0, min(_FIRST, self._most)
        while count < self._most and chunk >= start + count:
            start, count = start + count, min(2 * count, self._most)
        if count == self._most:
            start += (chunk - start) // count * count
        return range(start, min(start + count, max(self._last, chunk) + 1))

    def _pool(self, chunks: range) -> Future[_Pool]:
        """The pool of these chunks, which is gathered from now on unless it is there."""
        with self._lock:
            if chunks not in self._pools:
                self._pools[chunks] = self._thread.submit(self._gather, chunks)
            return self._pools[chunks]

    def _gather(self, chunks: range) -> _Pool:
        replay, written = self._replay, len(self._replay.host) - self._replay.written
        indices = np.stack([self._indices(chunk) for chunk in chunks])
        wanted, inverse = np.unique(indices, return_inverse=True)
        count = int(np.searchsorted(wanted, written))  # the others are on the device
        cuda = replay.device.type == "cuda"
        rows = torch.empty((count, replay.host.shape[1]), dtype=replay.dtype, pin_memory=cuda)
        replay.host.copy_sorted(wanted[:count], rows.numpy(), self._each)
        where = np.concatenate([np.arange(count), replay.places(wanted[count:])])
        return _Pool(rows, where[inverse].reshape(indices.shape))

    def _each(self, copy: Callable[[Any], None], slices: Iterable[Any]) -> Iterator[None]:
        """Apply `copy` to all slices, until it is closed."""

        def unless_closed(bounds: Any) -> None:
            if self._closed:
                raise CancelledError
            copy(bounds)

        yield from (map if self._more is None else self._more.map)(unless_closed, slices)


def bytes_on_device(nbytes: int, device: torch.device) -> int:
    """What packed rows of so many bytes take on a device: all of them, or a pool."""
    return POOL_BYTES if is_pooled(nbytes, device) else nbytes
