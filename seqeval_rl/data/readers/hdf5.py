"""HDF5 files: opened only where all that they hold is in their own directory; sizes, and whether all of an array is there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from seqeval_rl.data.readers.base import open_file, require_memory
from seqeval_rl.errors import DataError


@contextmanager
def opened(path: Path, kind: str = "an HDF5 file") -> Iterator[Any]:
    """The file, open for reading; `kind` says what is expected.

    Raises:
        FileError: it cannot be read.
        DataError: it is damaged, another kind of file, or names data elsewhere, see `files_of`.
    """
    with open_file(path, kind), h5py.File(path, "r") as file:
        files_of(path)
        yield file


def files_of(path: Path) -> list[Path]:
    """The file and those in its directory that its links and virtual datasets name; nothing is followed before it is checked.

    Raises:
        DataError: a link or a virtual dataset names a file outside of the directory, or an array is external raw storage.
    """
    found, waiting = [path], [path]
    while waiting:
        with h5py.File(waiting.pop(), "r") as file:
            for where, name in _named_files(file):
                target = path.parent / name
                if not target.resolve().is_relative_to(path.parent.resolve()):
                    raise DataError(
                        f"{file.filename}: expected data in its own directory, found {where} in {name!r}. A file must not read "
                        "others: copy the data into it (`h5repack`, or h5py's `copy` with expand_external)."
                    )
                if target.is_file() and not any(target.samefile(known) for known in found):
                    found.append(target)
                    waiting.append(target)
    return found


def _named_files(file: Any) -> Iterator[tuple[str, str]]:
    """What the links and datasets of a file name in other files: where, and the file. Raises `DataError` for raw storage."""
    groups, seen = [file["/"]], set()
    while groups:
        group = groups.pop()
        for name in group:
            where = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield where, link.filename
            if not isinstance(link, h5py.HardLink):
                continue  # a soft link names another object of this file
            item = group[name]
            if isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                groups += [] if address in seen else [item]
                seen.add(address)
            elif isinstance(item, h5py.Dataset):
                yield from ((where, name) for name in _sources(file, item))


def _sources(file: Any, item: Any) -> list[str]:
    """The other files of a dataset. Raises `DataError` for raw storage, whose paths depend on the working directory."""
    if item.external:
        raise DataError(
            f"{file.filename}: expected data in the file, found {item.name} in external raw storage ({item.external[0][0]!r}). A "
            "file must not read others: copy the data into it (`h5repack`)."
        )
    return [source.file_name for source in item.virtual_sources() if source.file_name != "."] if item.is_virtual else []


def is_whole(item: Any) -> bool:
    """Whether all of a dataset, or of an array, is in the file; HDF5 reads what is not as zeros, without a word."""
    if isinstance(item, np.ndarray):
        return True
    if item.chunks is None:
        return bool(item.id.get_storage_size() >= item.nbytes)
    expected = math.prod(-(-size // chunk) for size, chunk in zip(item.shape, item.chunks, strict=True))
    return bool(item.id.get_num_chunks() == expected)


def check_memory(where: object, items: Iterable[Any]) -> None:
    """Raise `FileError` where datasets, of which nothing has been read, are larger than what is free of the memory.

    A chunk is read at once, and may be larger than its dataset.
    """
    require_memory(where, sum(max(item.nbytes, item.dtype.itemsize * math.prod(item.chunks or (0,))) for item in items))
