"""Checks of logs in the cache and of Minari's on this machine: hashes, episode bounds, values. Files: see `download.verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl import bundled, cache, minari_logs
from seqeval_rl.dataset import Dataset, content_hash
from seqeval_rl.errors import DataError, FileError
from seqeval_rl.readers import load_dataset, parse_source

_PIECE = 65_536  # transitions looked at in one go


class Check(NamedTuple):
    """What was checked and what was found."""

    name: str
    passed: bool
    detail: str


def verify_log(dataset: Dataset) -> list[Check]:
    """Every check of a log's contents; none raises."""
    return [_check_hash(dataset), _bounds(dataset), _ends(dataset), *_values(dataset)]


def _check_hash(dataset: Dataset) -> Check:
    found = content_hash(dataset)
    if dataset.digest and found != dataset.digest:
        return Check("hash", False, f"SHA-256 is {found}, expected {dataset.digest}")
    return Check("hash", True, f"SHA-256 {found}{'' if dataset.digest else ', none stored to compare it with'}")


def _bounds(dataset: Dataset) -> Check:
    starts = dataset.episode_starts
    sound = len(starts) > 1 and starts[0] == 0 and starts[-1] == len(dataset) and bool((np.diff(starts) > 0).all())
    found = f"{len(starts) - 1:,} episodes over {len(dataset):,} transitions"
    return Check("episode bounds", sound, found if sound else f"{found}: expected rising rows from 0 to the log's end")


def _ends(dataset: Dataset) -> Check:
    terminated, truncated = dataset.terminations, dataset.truncations
    last = np.zeros(len(dataset), bool)
    last[dataset.episode_starts[1:] - 1] = True
    # Terminal states inside an episode are the log's makers' choice: some let episodes go on behind a goal.
    wrong = np.flatnonzero((last & ~(terminated | truncated)) | (truncated & ~last))
    if len(wrong):
        return Check("episode ends", False, f"row {wrong[0]}: flags and episode bounds do not agree about an end")
    at_end, inside = int((terminated & last).sum()), int((terminated & ~last).sum())
    more = f"; {inside:,} terminal states inside episodes" if inside else ""
    return Check("episode ends", True, f"{at_end:,} in terminal states, {int(last.sum()) - at_end:,} others{more}")


def _values(dataset: Dataset) -> Iterator[Check]:
    """Finite numbers; actions in [-1, 1]."""
    for name in ("observations", "actions", "rewards", "next_observations"):
        column = getattr(dataset, name)
        bad = _first(column, lambda piece: ~np.isfinite(piece))
        if bad is not None:
            yield Check(name, False, f"row {bad}: expected finite numbers, found others")
        elif name == "actions" and (outside := _first(column, lambda piece: np.abs(piece) > 1)) is not None:
            yield Check(name, False, f"row {outside}: expected numbers in [-1, 1], found others")
        else:
            yield Check(name, True, f"finite, {column.dtype} {column.shape}")


def _first(column: NDArray[np.generic], wrong: Callable[[NDArray[np.generic]], NDArray[np.bool_]]) -> int | None:
    """The first row in which something is wrong; none: nothing is."""
    for start in range(0, len(column), _PIECE):
        piece = column[start : start + _PIECE]
        found = np.flatnonzero(wrong(piece).reshape(len(piece), -1).any(1))
        if len(found):
            return start + int(found[0])
    return None


def cached(source: str) -> list[str]:
    """Keys of the cache's entries that belong to a source: a key itself, or a bundled log of whatever size."""
    base = parse_source(source)[0]
    return [key for key in cache.entries() if key == source or key.startswith(f"{base.replace('/', '-')}-v")]


def open_verified(key: str) -> Dataset:
    """A cache entry. Raises `DataError` where it is damaged (sizes, SHA-256)."""
    dataset = cache.open(key)
    if dataset is None:
        raise DataError(
            f"{cache.root() / key}: damaged, or of another format. Delete it; it is built again when it is asked for."
        )
    return dataset


def logs_of(source: str) -> Iterator[tuple[str, Dataset]]:
    """What a source has on this machine in the cache or among Minari's datasets, to be verified: (name, log).

    Raises:
        DataError: it is damaged.
        FileError: it is not on this machine.
        UsageError: unknown.
    """
    base = parse_source(source)[0]
    keys = cached(source)
    for key in keys:
        yield key, open_verified(key)
    if keys:
        return
    minari = base.removeprefix("minari:").partition("@")[0]
    if base in bundled.names() or (minari != base and minari not in minari_logs.local()):
        raise FileError(
            f"{source}: not on this machine, so there is nothing to verify. `seqeval datasets fetch {source}`."
        )
    yield source, load_dataset(source, progress=False)
