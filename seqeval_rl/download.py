"""Getting the files of datasets onto this machine, and checking those that are there."""

from __future__ import annotations

from pathlib import Path

from seqeval_rl import d4rl_catalogue, transfer
from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.readers import known_datasets, load_dataset, parse_source


def fetch(source: str, sha256: str | None = None, offline: bool | None = None, progress: bool = True) -> Path:
    """The file of a dataset, downloaded where it is not on this machine.

    Args:
        source: `d4rl:hopper-medium-v2`, or the path of a file, which is only checked; a size behind it means nothing here.
        sha256: what the file must have. Where none is given, a file that was downloaded here must have what it had then.
        offline: use no network; None: as `SEQEVAL_OFFLINE` says.
        progress: show a bar.

    Raises:
        UsageError: unknown, or no dataset of files that can be fetched.
        FileError: no network, no such file, a full disk.
        DataError: the size or the hash is wrong.
    """
    raise NotImplementedError


def verify(source: str) -> list[str]:
    """Check a dataset that is on this machine, whole; what was checked, one line each.

    Raises:
        UsageError: unknown.
        FileError: it is not on this machine.
        DataError: it is damaged, or is not what is published.
    """
    raise NotImplementedError
