"""The columns of an HDF5 file in D4RL's format, checked to be complete."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.validation import check_length
from seqeval_rl.errors import DataError, FileError
from seqeval_rl.utils.text import progress_bar

_REQUIRED = ("observations", "actions", "rewards", "terminals")
_OPTIONAL = ("timeouts", "next_observations")
_PIECE = 1 << 16  # rows read at once


def read_columns(path: Path, name: str, next_observations: bool, progress: bool) -> dict[str, NDArray[Any]]:
    """The file's columns, numbers as float32; next observations only if requested."""
    check_readable(path)
    try:
        with h5py.File(path, "r") as file:
            found = {key: file[key] for key in (*_REQUIRED, *_OPTIONAL) if key in file}
            if not next_observations:
                found.pop("next_observations", None)
            _check_form(name, found, file)
            length = len(found["observations"])
            columns = {key: np.empty(item.shape, _dtype(item)) for key, item in found.items()}
            with progress_bar(name, length, progress) as bar:
                for start in range(0, length, _PIECE):
                    piece = slice(start, min(start + _PIECE, length))
                    for key, item in found.items():
                        with np.errstate(over="ignore"):  # too large for float32 becomes infinite and is refused
                            columns[key][piece] = item[piece]
                    bar.update(piece.stop - start)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:  # of a damaged file
        first_line = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{name}: expected a whole HDF5 file in {path}, found {type(error).__name__}: {first_line}. Delete it and get it "
            "again."
        ) from error
    return {key: _flat(key, values) for key, values in columns.items()}


def check_readable(path: Path) -> None:
    """Raise `FileError` where a file cannot be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise FileError(
            f"{path.absolute()}: expected an HDF5 file, found: {error.strerror}. Check the path."
        ) from error


def _check_form(name: str, found: dict[str, Any], file: Any) -> None:
    """Check keys, types, axes and lengths before reading."""
    missing = [key for key in _REQUIRED if key not in found]
    if missing:
        there = ", ".join(sorted(file)) or "nothing"
        raise DataError(
            f"{name}: expected {', '.join(_REQUIRED)} and perhaps {', '.join(_OPTIONAL)}, found no {', '.join(missing)} "
            f"among {there}. Check that the file is in D4RL's format."
        )
    for key, item in found.items():
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
            what = item.dtype if isinstance(item, h5py.Dataset) else "a group"
            raise DataError(f"{name}: {key} have type {what}, expected numbers. Convert them.")
    observations = found["observations"]
    if len(observations.shape) != 2 or not len(observations):
        raise DataError(
            f"{name}: observations have shape {observations.shape}, expected [N, obs_dim] of at least one row. Check the file."
        )
    for key, item in found.items():
        if not _is_whole(item):
            raise DataError(
                f"{name}: parts of {key} are missing in the file, expected all of it. Delete it and get it again."
            )
        # Without an axis there is no length; `check_length` says so.
        check_length(name, key, np.empty(item.shape[:1]), len(observations))


def _is_whole(item: Any) -> bool:
    """Whether all of a column is in the file; HDF5 reads what is not as zeros, without a word."""
    if item.chunks is None:
        return item.id.get_storage_size() >= item.nbytes
    expected = math.prod(-(-size // chunk) for size, chunk in zip(item.shape, item.chunks, strict=True))
    return item.id.get_num_chunks() == expected


def _dtype(item: Any) -> np.dtype[Any]:
    """Flags keep their own type, by which they are checked."""
    return np.dtype(np.float32) if item.name.rpartition("/")[2] not in ("terminals", "timeouts") else item.dtype


def _flat(key: str, values: NDArray[Any]) -> NDArray[Any]:
    """Some of D4RL's files have rewards and flags as [N, 1]."""
    one_axis = key in ("rewards", "terminals", "timeouts") and values.shape[1:] == (1,)
    return values[:, 0] if one_axis else values
