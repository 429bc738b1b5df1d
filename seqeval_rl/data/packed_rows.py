"""Packed rows of one or several arrays, which are not copied: of a memory map only what is asked for is read.

Pages of a memory map that were read count as memory of the process, although the kernel may take them back at any time. Those of
an array larger than `LARGE` are given back after each use, so that memory does not grow with the dataset.

Axes: N rows, D numbers of a row.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGE = 1 << 30  # bytes
_SLICE = 128 << 20  # bytes that are read before pages are given back
_DENSE = 64 << 10  # bytes to a row that is wanted, below which a disk had better read everything in sequence
_READERS = 8  # rows that a disk looks for at the same time, where few are wanted


def release(array: NDArray[Any], start: int, stop: int) -> None:
    """Give back the pages of `array[start:stop]`, rows of a C-contiguous array, where it is a large memory map. Its contents stay
    in the kernel's cache, and are read again where they are used again."""
    _advise(array, start, stop, "MADV_DONTNEED")


def _advise(array: NDArray[Any], start: int, stop: int, advice: str) -> None:
    """Tell the kernel what is going to happen to the rows `start` to `stop` of a large memory map."""
    mapped = getattr(array, "_mmap", None)
    if mapped is None or not len(array) or array.nbytes <= LARGE or not hasattr(mmap, advice):
        return
    row = array.nbytes // len(array)
    first = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data  # bytes of the file before the array
    begin = (first + start * row) // mmap.PAGESIZE * mmap.PAGESIZE
    mapped.madvise(getattr(mmap, advice), begin, min(first + stop * row, len(mapped)) - begin)


class PackedRows:
    """The rows [N, D] of arrays one after the other, to be read and written like one array: `rows[indices]`."""

    def __init__(self, parts: Sequence[NDArray[np.float32]]):
        """Of at least one array [n, D], C-contiguous."""
        self.parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape: tuple[int, int] = (int(self._starts[-1]), parts[0].shape[1])
        self.dtype = parts[0].dtype
        self.nbytes = sum(part.nbytes for part in parts)

    @classmethod
    def of(cls, rows: NDArray[np.float32] | PackedRows) -> PackedRows:
        """The rows of one array; `PackedRows` as they are."""
        return rows if isinstance(rows, cls) else cls([np.asanyarray(rows)])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: int | NDArray[np.int64]) -> NDArray[np.float32]:
        """Copies of the rows at any array of indices: [*indices.shape, D]."""
        wanted = np.asarray(indices)
        if self.nbytes <= LARGE and len(self.parts) == 1:
            return np.asarray(self.parts[0]).take(wanted, 0)  # faster than by [], and than torch's index_select
        order = np.argsort(wanted, axis=None)
        found = np.empty((wanted.size, self.shape[1]), self.dtype)
        with ThreadPoolExecutor(_READERS) if self.nbytes > LARGE else nullcontext() as readers:
            self.copy_sorted(wanted.ravel()[order], found, map if readers is None else readers.map)
        unsorted = np.empty_like(found)
        unsorted[order] = found
        return unsorted.reshape(*wanted.shape, self.shape[1])

    def __setitem__(self, indices: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Write rows [k, D] at indices [k]; into arrays that can be written."""
        for part, (start, stop) in zip(self.parts, pairwise(self._starts), strict=True):
            inside = (indices >= start) & (indices < stop)
            if inside.any():
                part[indices[inside] - start] = values[inside]

    def copy_sorted(
        self, indices: NDArray[np.int64], out: NDArray[np.float32], each: Callable[..., Iterable[Any]] = map
    ) -> None:
        """Copy rows to `out` [k, D], C-contiguous, for indices [k] that do not decrease: neighbors are read together.

        `each` applies a function to all slices of an array: `map`, or the `map` of threads.
        """
        for part, (start, stop) in zip(self.parts, pairwise(self._starts.tolist()), strict=True):
            low, high = np.searchsorted(indices, [start, stop])
            if low == high:
                continue
            inside = indices[low:high] - start
            step = max(_SLICE * len(part) // part.nbytes, 1)
            edges = [*range(int(inside[0]) // step * step, len(part), step), len(part)]
            occupied = np.flatnonzero(np.diff(np.searchsorted(inside, edges)))
            slices = [(edges[k], edges[k + 1]) for k in occupied.tolist()]
            deque(each(partial(_copy_slice, part, inside, out[low:high]), slices), maxlen=0)


def _copy_slice(
    part: NDArray[np.float32], indices: NDArray[np.int64], out: NDArray[np.float32], bounds: tuple[int, int]
) -> None:
    """Copy those rows of `part` at sorted indices [k] that are between two bounds to their places in `out` [k, D]."""
    first, last = np.searchsorted(indices, bounds)
    start, stop = bounds
    if (stop - start) * part.nbytes < (last - first) * _DENSE * len(part):
        _advise(part, start, min(2 * stop - start, len(part)), "MADV_WILLNEED")  # the next slice, too
    # "clip", since "raise" would copy once more.
    np.take(np.asarray(part), indices[first:last], axis=0, out=out[first:last], mode="clip")
    release(part, start, stop)
