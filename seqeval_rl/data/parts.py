"""Writes a dataset that is larger than memory into the cache, from one part after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.utils.files import require_room


class _Column:
    """An array in a `.npy` file to which rows are appended."""

    def __init__(self, path: Path, kind: DTypeLike, row: tuple[int, ...]):
        self.path, self._kind, self._row, self.length = path, np.dtype(kind), row, 0
        self.file: IO[bytes] = path.open("wb")
        self._write_header()

    def _write_header(self) -> None:
        # numpy leaves room for a longer length, so that a later header is as long as the first.
        shape = (self.length, *self._row)
        header = {"descr": np.lib.format.dtype_to_descr(self._kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)

    def append(self, rows: NDArray[Any]) -> None:
        self.file.write(np.ascontiguousarray(rows, self._kind).data)
        self.length += len(rows)

    def finish(self) -> None:
        """Write the header that fits the rows."""
        self.file.seek(0)
        self._write_header()


def store_parts(key: str, name: str, parts: Iterator[Dataset], nbytes: int = 0) -> Dataset:
    """Write an entry of the cache with the transitions of datasets of one task, one after the other; replaces an existing one.

    Call it under `cache.lock(key)`.

    Args:
        key: of the entry.
        name: of the dataset.
        parts: at least one, of vector observations; each is needed in memory only until the next one.
        nbytes: what the arrays of all parts will take, if it is known: whether there is room is then known at once.

    Raises:
        FileError: unwritable root, full disk. And whatever `parts` raises; nothing is stored then.
    """
    folder = cache.root() / f".{key}.parts"  # where a killed process left one, too
    with cache.usable(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            require_room(folder, nbytes, nbytes)
            dataset, written = _written(folder, name, parts)
            return cache.store(key, dataset, written)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _written(folder: Path, name: str, parts: Iterator[Dataset]) -> tuple[Dataset, dict[str, Path]]:
    first = next(parts)
    columns = {"rows": _Column(folder / "rows.npy", np.float32, first.rows.shape[1:])}
    columns["truncations"] = _Column(folder / "truncations.npy", np.bool_, ())
    starts, clipped, cut = [np.zeros(1, np.int64)], 0, False
    with columns["rows"].file, columns["truncations"].file:
        for part in chain([first], parts):
            starts.append(columns["rows"].length + part.episode_starts[1:])
            for key, column in columns.items():
                column.append(getattr(part, key))
            clipped, cut = clipped + part.clipped_actions, part.cut
        for column in columns.values():
            column.finish()
    arrays: dict[str, Any] = {key: np.load(column.path, mmap_mode="r") for key, column in columns.items()}
    dataset = replace(
        first, name=name, **arrays, episode_starts=np.concatenate(starts), clipped_actions=clipped, cut=cut, digest=""
    )
    return dataset, {key: column.path for key, column in columns.items()}
