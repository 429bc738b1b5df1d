"""Files: atomic writes, locks, and directories made durable with fsync."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger("seqeval_rl")


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold a lock file alone, waiting for whoever has it. It is let go when the process ends, however it ends."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("%s: another process is building the same dataset, waiting for it", path.with_suffix(""))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sync_directory(path: Path) -> None:
    """Make a rename in that directory last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def try_lock(path: Path, wanted: int) -> bool | None:
    """Whether somebody holds a lock on a file that excludes the one that is wanted; None where that cannot be told.

    The lock is asked for without waiting and given back at once. Who wants it in that moment waits, or tries again.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, wanted | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False
