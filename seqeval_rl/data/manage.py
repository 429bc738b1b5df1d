"""Fetching, listing and verifying datasets: what `seqeval datasets` does, as functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqeval_rl.data import cache
from seqeval_rl.data.load import reader_of
from seqeval_rl.data.readers.base import FetchOptions, Listing, parse_source, readers
from seqeval_rl.data.verification import Check, verify_dataset
from seqeval_rl.errors import DataError, UsageError


def list_datasets() -> list[Listing]:
    """The datasets that have names, by reader: on this machine, built on first use, or to be downloaded."""
    return [listing for reader in readers().values() for listing in reader.list_datasets()]


def fetch(source: str, sha256: str | None = None, offline: bool | None = None, progress: bool = True) -> Path:
    """The file or directory of a dataset, downloaded or built where it is not on this machine.

    Args:
        source: as for `load_dataset`; a size after it matters only for what is built here.
        sha256: what the file must have; for sources of one file. Where none is given, a file that seqeval-rl downloaded must
            have the one of its download.
        offline: use no network; None: as `SEQEVAL_OFFLINE` says.
        progress: show a bar.

    Raises:
        UsageError: unknown, or a hash for what is not one file.
        FileError: no network, no such file, a full disk.
        DataError: the size or the hash is wrong.
    """
    base, size = parse_source(source)
    reader = reader_of(base)
    if sha256 is not None and not reader.single_file:
        raise UsageError(f"dataset {base!r}: expected no SHA-256, since it is not one file. Leave it out.")
    return reader.fetch(base, FetchOptions(sha256, offline, progress, size))


def verify(source: str) -> Iterator[tuple[str, list[Check]]]:
    """Check a dataset that is on this machine: by name, what was checked and found.

    Args:
        source: as for `load_dataset`, or a key of the cache. Of a bundled dataset every cached size is checked.

    Raises:
        UsageError: unknown.
        FileError: it is not on this machine.
        DataError: it is damaged, or differs from what was published or downloaded.
    """
    keys = _cached(source)
    for key in keys:
        dataset = cache.open(key)
        if dataset is None:
            raise DataError(
                f"{cache.root() / key}: damaged, or of another format. Delete it; it is built again when it is needed."
            )
        yield key, verify_dataset(dataset)
    if not keys:
        base, size = parse_source(source)
        yield source, list(reader_of(base).verify(base, size))


def _cached(source: str) -> list[str]:
    """Keys of the cache's entries that belong to a source: a key itself, or a bundled dataset of any size."""
    if (keys := cache.entries()) and source in keys:
        return [source]
    base = parse_source(source)[0]
    return [key for key in keys if key.startswith(f"{base.replace('/', '-')}-v")]
