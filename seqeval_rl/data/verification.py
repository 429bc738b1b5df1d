"""Checks of a dataset: its file's hash, its contents' hash, episode bounds, flags and values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.hashes import content_hash, recorded_sha256, sha256_of
from seqeval_rl.errors import DataError

_ROWS = 65_536  # transitions checked at once


class Check(NamedTuple):
    """What was checked and what was found."""

    name: str
    passed: bool
    detail: str


def check_file(path: Path) -> Check:
    """A file's SHA-256, compared with that of its download if seqeval-rl downloaded it.

    Raises:
        DataError: they differ.
        FileError: it cannot be read.
    """
    digest, recorded = sha256_of(path), recorded_sha256(path)
    if recorded is not None and recorded != digest:
        raise DataError(
            f"{path}: SHA-256 is {digest}, was {recorded} when it was downloaded. Delete it and get it again."
        )
    origin = "none recorded to compare it with" if recorded is None else "as when it was downloaded"
    return Check("file", True, f"{path}: {path.stat().st_size:,} bytes, SHA-256 {digest}, {origin}")


def verify_dataset(dataset: Dataset) -> list[Check]:
    """Every check of a dataset's contents; none raises."""
    return [_check_hash(dataset), _check_bounds(dataset), _check_ends(dataset), *_check_values(dataset)]


def _check_hash(dataset: Dataset) -> Check:
    digest = content_hash(dataset)
    if dataset.digest and digest != dataset.digest:
        return Check("hash", False, f"SHA-256 is {digest}, expected {dataset.digest}")
    return Check("hash", True, f"SHA-256 {digest}{'' if dataset.digest else ', none stored to compare it with'}")


def _check_bounds(dataset: Dataset) -> Check:
    starts = dataset.episode_starts
    sound = len(starts) > 1 and starts[0] == 0 and starts[-1] == len(dataset) and bool((np.diff(starts) > 0).all())
    detail = f"{len(dataset):,} transitions in {len(starts) - 1:,} episodes"
    return Check("episode bounds", sound, detail + ("" if sound else ": expected rising rows from 0 to the last"))


def _check_ends(dataset: Dataset) -> Check:
    terminated, truncated = dataset.terminations, dataset.truncations
    last = np.zeros(len(dataset), bool)
    last[dataset.episode_starts[1:] - 1] = True
    # Terminal states inside an episode are allowed: some datasets continue episodes after a goal.
    wrong = np.flatnonzero((last & ~(terminated | truncated)) | (truncated & ~last))
    if len(wrong):
        return Check("episode ends", False, f"row {wrong[0]}: flags and episode bounds do not agree about an end")
    at_end, inside = int((terminated & last).sum()), int((terminated & ~last).sum())
    more = f"; {inside:,} terminal states inside episodes" if inside else ""
    return Check("episode ends", True, f"{at_end:,} in terminal states, {int(last.sum()) - at_end:,} others{more}")


def _check_values(dataset: Dataset) -> Iterator[Check]:
    """Finite numbers; actions in [-1, 1]."""
    for name in ("observations", "actions", "rewards", "next_observations"):
        column = getattr(dataset, name)
        bad = _first_row(column, lambda rows: ~np.isfinite(rows))
        if bad is not None:
            yield Check(name, False, f"row {bad}: expected finite numbers, found others")
        elif name == "actions" and (outside := _first_row(column, lambda rows: np.abs(rows) > 1)) is not None:
            yield Check(name, False, f"row {outside}: expected numbers in [-1, 1], found others")
        else:
            yield Check(name, True, f"finite, {column.dtype} {column.shape}")


def _first_row(column: NDArray[np.generic], is_wrong: Callable[[NDArray[np.generic]], NDArray[np.bool_]]) -> int | None:
    """The first row with a wrong value, or None."""
    for start in range(0, len(column), _ROWS):
        rows = column[start : start + _ROWS]
        wrong = np.flatnonzero(is_wrong(rows).reshape(len(rows), -1).any(1))
        if len(wrong):
            return start + int(wrong[0])
    return None
