"""A file in D4RL's format, HDF5 or `.npz`: its columns, checked to be complete, and the trajectories that its rows are of.

The rows are those of concatenated trajectories. `terminals` are true where a terminal state was reached, after which a trajectory
may continue (see `data.trajectories`); `timeouts`, which old files lack, where a trajectory ended for another reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.readers import hdf5, npz
from seqeval_rl.data.readers.base import has_ending, open_file
from seqeval_rl.data.readers.layouts import D4RL
from seqeval_rl.data.trajectories import trajectory_returns
from seqeval_rl.data.validation import check_length
from seqeval_rl.errors import DataError
from seqeval_rl.utils.console import progress_bar

_PIECE = 1 << 16  # rows read at once


def keys_of(path: Path) -> list[str]:
    """The names of a file's arrays, and of the groups in it."""
    if has_ending(path.name, (".npz",)):
        return npz.names(path)
    with hdf5.opened(path) as file:
        return list(file)


def files_of(path: Path) -> list[Path]:
    """The file, and those in its directory that it takes data from."""
    if has_ending(path.name, (".npz",)):
        return [path]
    with open_file(path, "an HDF5 file"):
        return hdf5.files_of(path)


def read_columns(path: Path, name: str, progress: bool) -> dict[str, NDArray[Any]]:
    """The file's columns, numbers as float32."""
    if has_ending(path.name, (".npz",)):
        return _columns(name, npz.load(path, D4RL.read), progress)
    with hdf5.opened(path) as file:
        return _columns(name, {key: file[key] for key in D4RL.read if key in file}, progress)


def _columns(name: str, found: dict[str, Any], progress: bool) -> dict[str, NDArray[Any]]:
    """The columns of arrays that may still be in a file, read piece by piece."""
    _check_form(name, found)
    length = len(found["observations"])
    hdf5.check_memory(name, (item for item in found.values() if isinstance(item, h5py.Dataset)))
    # Flags keep their own type, by which they are checked.
    kinds = {key: item.dtype if key in ("terminals", "timeouts") else np.float32 for key, item in found.items()}
    columns = {key: np.empty(item.shape, kinds[key]) for key, item in found.items()}
    with progress_bar(name, length, progress) as bar:
        for start in range(0, length, _PIECE):
            piece = slice(start, min(start + _PIECE, length))
            for key, item in found.items():
                with np.errstate(over="ignore"):  # too large for float32 becomes infinite and is refused
                    columns[key][piece] = item[piece]
            bar.update(piece.stop - start)
    for key in {"rewards", "terminals", "timeouts"} & columns.keys():
        if columns[key].shape[1:] == (1,):  # as in some of D4RL's files
            columns[key] = columns[key][:, 0]
    return columns


def _check_form(name: str, found: dict[str, Any]) -> None:
    """Check types, axes and lengths before reading."""
    for key, item in found.items():
        is_array = isinstance(item, (h5py.Dataset, np.ndarray))
        if not is_array or item.dtype.kind not in "fiub":
            what = item.dtype if is_array else "a group"
            raise DataError(f"{name}: {key} have type {what}, expected numbers. Convert them.")
    observations = found["observations"]
    if len(observations.shape) != 2 or not len(observations):
        raise DataError(
            f"{name}: observations have shape {observations.shape}, expected [N, obs_dim] of at least one row. Check the file."
        )
    for key, item in found.items():
        if not hdf5.is_whole(item):
            raise DataError(
                f"{name}: parts of {key} are missing in the file, expected all of it: its writer was stopped, or still writes. "
                "Wait for it, or get the file again."
            )
        # Without an axis there is no length; `check_length` says so.
        check_length(name, key, np.empty(item.shape[:1]), len(observations))


def limit_rows(
    terminals: NDArray[np.bool_], limit: int | None, after_terminal: int = 0, after_limit: int = 0
) -> NDArray[np.bool_]:
    """Rows [N] at which the count of a trajectory's transitions reaches a time limit.

    Args:
        terminals: [N], true where a terminal state was reached.
        limit: at least 2; None: there is no limit.
        after_terminal: count after a terminal row.
        after_limit: after a row at the limit.
    """
    found = np.zeros_like(terminals)
    if limit is None:
        return found
    start, count = 0, 0
    for last in [*np.flatnonzero(terminals), len(terminals) - 1]:
        found[start + limit - 1 - count : last + 1 : limit - after_limit] = True
        start, count = last + 1, after_limit if found[last] else after_terminal
    return found


def kept_columns(
    columns: dict[str, NDArray[Any]], terminals: NDArray[np.bool_], over: NDArray[np.bool_], rows: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Columns of the rows that `qlearning_dataset` keeps. The kept part of a trajectory is truncated or terminates.

    Args:
        columns: of N rows.
        terminals: [N].
        over: [N], true where a trajectory ends.
        rows: those that are kept, rising; each one's next observation is the next row's observation, whatever that is.
    """
    trajectory = np.concatenate(([0], np.cumsum(over[:-1])))
    kept = trajectory[rows]
    truncations = np.zeros(len(rows), bool)
    # The last trajectory is incomplete unless the file has its end, in a row that is kept or dropped.
    truncations[-1] = bool(over[-1]) or kept[-1] != trajectory[-1]
    return {
        "observations": columns["observations"][rows],
        "actions": columns["actions"][rows],
        "rewards": columns["rewards"][rows],
        "next_observations": columns["observations"][rows + 1],
        "terminations": terminals[rows],
        "truncations": truncations & ~terminals[rows],
        "episode_starts": np.concatenate(([0], np.flatnonzero(np.diff(kept)) + 1)),
    }


def complete_returns(
    columns: dict[str, NDArray[Any]], terminals: NDArray[np.bool_], over: NDArray[np.bool_], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns of the complete trajectories of a file, with the rewards of rows that are not kept.

    Args:
        columns: of N rows.
        terminals: [N].
        over: [N], true where a trajectory ends.
        rows: those that are kept, rising.

    Returns:
        [trajectories, 2]: how many rows are kept up to its end, and its return (see `trajectories.trajectory_returns`). One that
        the end of the file cut short is there only if there is no other.
    """
    last = np.flatnonzero(over) if over.any() else np.array([len(over) - 1])
    returns = trajectory_returns(columns["rewards"], terminals, np.append(0, last + 1))
    return np.stack([np.searchsorted(rows, last, "right").astype(np.float64), returns], axis=1)
