"""Fetching the files of datasets, and verifying those on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset, content_hash
from seqeval_rl.data.download import check_sha256, is_offline, recorded_sha256, sha256_of
from seqeval_rl.data.load import load_dataset, parse_source
from seqeval_rl.data.readers import bundled, d4rl, d4rl_index, ogbench, synthetic_d4rl
from seqeval_rl.data.readers import minari as minari_reader
from seqeval_rl.data.readers.d4rl import Reading
from seqeval_rl.data.readers.d4rl_index import Entry
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, FileError, UsageError


def fetch(source: str, sha256: str | None = None, offline: bool | None = None, progress: bool = True) -> Path:
    """The file or directory of a dataset, downloaded or rolled out where it is not on this machine.

    Args:
        source: as for `load_dataset`; a size behind it matters for what is rolled out only.
        sha256: what the file must have; for sources of one file. Where none is given, one that was downloaded by this package
            must have what it had then.
        offline: use no network; None: as `SEQEVAL_OFFLINE` says.
        progress: show a bar.

    Raises:
        UsageError: unknown, or a hash for what is not one file.
        FileError: no network, no such file, a full disk.
        DataError: the size or the hash is wrong.
    """
    base, size = parse_source(source)
    if base.startswith("d4rl:"):
        entry = d4rl_index.entry(base.removeprefix("d4rl:"))
        path = d4rl_index.obtain(entry, sha256, offline, progress)
        if sha256 is None and (recorded := recorded_sha256(path)) is not None:
            check_sha256(path, recorded)
        return path
    if base.endswith((".npz", ".hdf5")) or base.startswith("ogbench:"):
        name = base.removeprefix("ogbench:")
        path = ogbench.obtain(name, progress, offline) if name != base else Path(base)
        if not path.is_file():
            raise FileError(f"{path.absolute()}: expected a file, found none. Check the path.")
        if sha256 is not None:
            check_sha256(path, sha256)
        return path
    if sha256 is not None:
        raise UsageError(f"dataset {base!r}: expected no SHA-256, since it is not one file. Leave it out.")
    if base.startswith("made:"):
        return synthetic_d4rl.build(base, size, progress)[0]
    if base.startswith("minari:"):
        identity = base.removeprefix("minari:").partition("@")[0]
        if is_offline(offline) and identity not in minari_reader.local():
            raise FileError(
                f"dataset minari:{identity}: not on this machine, and the network is out of bounds (offline). Unset "
                "SEQEVAL_OFFLINE."
            )
        return minari_reader.find(identity)
    if base.startswith("vd4rl:"):
        directory = Path(base.removeprefix("vd4rl:"))
        if not directory.exists():
            raise FileError(
                f"{directory.absolute()}: expected a directory of V-D4RL's files, found none. Check the path."
            )
        return directory
    dataset = load_dataset(source, progress=progress)
    assert isinstance(dataset.rows, np.memmap)  # what is rolled out is read from the cache
    return Path(str(dataset.rows.filename)).parent


def verify(source: str) -> list[str]:
    """Check a dataset that is on this machine, whole: what was checked and found, one line each.

    Raises:
        UsageError: unknown.
        FileError: it is not on this machine.
        DataError: it is damaged, or is not what is published.
    """
    base = parse_source(source)[0]
    if base.startswith("d4rl:"):
        return _verify_d4rl(d4rl_index.entry(base.removeprefix("d4rl:")))
    if base.endswith(".hdf5"):
        path = Path(base)
        lines = _hash(path)
        # What is checked does not depend on the task, which a file's name need not tell.
        task = Task(path.name, None, 0.0, 1.0)
        return [*lines, *_contents(d4rl.convert(path, base, task, Reading(), progress=False))]
    lines = _hash(Path(base)) if base.endswith(".npz") else []
    return [*lines, *_contents(load_dataset(source, progress=False))]


def _verify_d4rl(entry: Entry) -> list[str]:
    name = f"d4rl:{entry.identity}"
    path = d4rl_index.find(entry)
    if path is None:
        places = " or ".join(str(folder) for folder in d4rl_index.folders())
        raise FileError(
            f"dataset {name}: expected {entry.file_name} in {places}, found none. `seqeval datasets fetch {name}`."
        )
    lines = _hash(path) + _contents(d4rl.convert(path, name, entry.task, Reading(), progress=False))
    published = d4rl_index.PUBLISHED.get(entry.identity)
    if published is None:
        return [*lines, "nothing is published to compare its size and its returns with"]
    log = d4rl.convert(path, name, entry.task, Reading("d4rl"), progress=False)
    if len(log) != published.transitions:
        raise DataError(
            f"{path}: {len(log)} transitions by qlearning_dataset, expected {published.transitions} as published. Delete it and "
            "get it again."
        )
    score, expected = log.mean_score(), float(entry.task.score(published.mean_return))
    if abs(score - expected) > d4rl_index.MEAN_SCORE_SLACK:
        raise DataError(
            f"{path}: mean score of the log is {score:.2f}, expected {expected:.2f} as published. Delete it and get it again."
        )
    return [
        *lines,
        f"{len(log):,} transitions by qlearning_dataset, as published",
        f"mean score of the log {score:.2f}, published {expected:.2f}",
    ]


def _hash(path: Path) -> list[str]:
    """The file's SHA-256, compared with that of its download if it was downloaded here."""
    found = sha256_of(path)
    recorded = recorded_sha256(path)
    if recorded is None:
        return [f"{path}: {path.stat().st_size:,} bytes, SHA-256 {found}, none recorded to compare it with"]
    if recorded != found:
        raise DataError(
            f"{path}: SHA-256 is {found}, was {recorded} when it was downloaded. Delete it and get it again."
        )
    return [f"{path}: {path.stat().st_size:,} bytes, SHA-256 {found}, as when it was downloaded"]


def _contents(dataset: Dataset) -> list[str]:
    """What reading it checked."""
    return [
        f"{len(dataset):,} transitions in {len(dataset.episode_starts) - 1:,} episodes, observations {dataset.obs_shape}, "
        f"{dataset.act_dim} actions: lengths, finite values, flags and action bounds are right",
        f"SHA-256 of the contents {dataset.sha256}",
    ]


_PIECE = 65_536  # transitions looked at in one go


class Check(NamedTuple):
    """What was checked and what was found."""

    name: str
    passed: bool
    detail: str


def verify_dataset(dataset: Dataset) -> list[Check]:
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


def datasets_of(source: str) -> Iterator[tuple[str, Dataset]]:
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
    if base in bundled.names() or (minari != base and minari not in minari_reader.local()):
        raise FileError(
            f"{source}: not on this machine, so there is nothing to verify. `seqeval datasets fetch {source}`."
        )
    yield source, load_dataset(source, progress=False)
