"""Getting the files of datasets onto this machine, and checking those that are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqeval_rl import d4rl, d4rl_catalogue, d4rl_made, minari_logs, ogbench, transfer
from seqeval_rl.d4rl import Reading
from seqeval_rl.d4rl_catalogue import Entry
from seqeval_rl.dataset import Dataset
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, FileError, UsageError
from seqeval_rl.readers import load_dataset, parse_source


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
        entry = d4rl_catalogue.entry(base.removeprefix("d4rl:"))
        path = d4rl_catalogue.obtain(entry, sha256, offline, progress)
        if sha256 is None and (recorded := transfer.recorded_sha256(path)) is not None:
            transfer.check_sha256(path, recorded)
        return path
    if base.endswith((".npz", ".hdf5")) or base.startswith("ogbench:"):
        name = base.removeprefix("ogbench:")
        path = ogbench.obtain(name, progress, offline) if name != base else Path(base)
        if not path.is_file():
            raise FileError(f"{path.absolute()}: expected a file, found none. Check the path.")
        if sha256 is not None:
            transfer.check_sha256(path, sha256)
        return path
    if sha256 is not None:
        raise UsageError(f"dataset {base!r}: expected no SHA-256, since it is not one file. Leave it out.")
    if base.startswith("made:"):
        return d4rl_made.build(base, size, progress)[0]
    if base.startswith("minari:"):
        identity = base.removeprefix("minari:").partition("@")[0]
        if transfer.is_offline(offline) and identity not in minari_logs.local():
            raise FileError(
                f"dataset minari:{identity}: not on this machine, and the network is out of bounds (offline). Unset "
                "SEQEVAL_OFFLINE."
            )
        return minari_logs.find(identity)
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
        return _verify_d4rl(d4rl_catalogue.entry(base.removeprefix("d4rl:")))
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
    path = d4rl_catalogue.find(entry)
    if path is None:
        places = " or ".join(str(folder) for folder in d4rl_catalogue.folders())
        raise FileError(
            f"dataset {name}: expected {entry.file_name} in {places}, found none. `seqeval datasets fetch {name}`."
        )
    lines = _hash(path) + _contents(d4rl.convert(path, name, entry.task, Reading(), progress=False))
    published = d4rl_catalogue.PUBLISHED.get(entry.identity)
    if published is None:
        return [*lines, "nothing is published to compare its size and its returns with"]
    log = d4rl.convert(path, name, entry.task, Reading("d4rl"), progress=False)
    if len(log) != published.transitions:
        raise DataError(
            f"{path}: {len(log)} transitions by qlearning_dataset, expected {published.transitions} as published. Delete it and "
            "get it again."
        )
    score, expected = log.mean_score(), float(entry.task.score(published.mean_return))
    if abs(score - expected) > d4rl_catalogue.MEAN_SCORE_SLACK:
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
    found = transfer.sha256_of(path)
    recorded = transfer.recorded_sha256(path)
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
