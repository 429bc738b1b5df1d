"""Files and directories: atomic writes, locks between processes, and lists of paths."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_MOST_PARTS = 16  # of a path that holds separators itself; without a bound a long list takes minutes
_log = logging.getLogger("seqeval_rl")
_HOST = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())[:64]  # in names of files
_ABANDONED = 3600.0  # seconds


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path next to `path`, which becomes `path` when the block succeeds and is deleted when it fails.

    Readers see the old contents or the new ones, never a part of them, also after a power failure. The temporary path has the
    ending of `path` and is different in each process; those that killed processes have left in the directory are deleted. The
    directory is made if it is not there. Raises `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partial_files(path.parent)
    temporary = path.with_name(f".{os.getpid()}-{_HOST}.partial.{path.name}")
    with _unfinished_until_left(temporary):
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


def atomic_write(path: Path, contents: str | bytes) -> None:
    """Write a file atomically, see `atomic_path`; text is encoded as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(contents.encode() if isinstance(contents, str) else contents)


def remove_partial_files(directory: Path) -> None:
    """Delete what killed processes left of atomic writes in a directory: those of this machine, and on others those that have
    not been written to for an hour."""
    for path in directory.glob(".*.partial.*"):
        process, _, host = path.name[1:].partition(".partial.")[0].partition("-")
        with contextlib.suppress(OSError):
            if host in ("", _HOST) and process.isdigit():  # without a host in earlier versions
                abandoned = not is_alive(int(process))
            else:
                abandoned = time.time() - path.stat().st_mtime > _ABANDONED
            if abandoned:
                path.unlink()


def is_alive(process: int) -> bool:
    """Whether a process of this machine exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


_unfinished: set[Path] = set()  # temporary files and directories of this process


@contextlib.contextmanager
def _unfinished_until_left(temporary: Path) -> Iterator[None]:
    """Delete a temporary file or directory at the end of the block, where the block has not moved it."""
    _unfinished.add(temporary)
    try:
        yield
    finally:
        _delete(temporary)
        _unfinished.discard(temporary)


def discard_unfinished() -> None:
    """Delete the temporary files of this process, which is about to end in the middle of what it does."""
    for temporary in list(_unfinished):
        _delete(temporary)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """An empty directory to fill, which replaces `path` when the block succeeds and is deleted when it fails.

    Call it under a lock. What a killed process left is restored or deleted first. Raises `OSError`.
    """
    partial, old = (path.with_name(f".{path.name}.{kind}") for kind in ("partial", "old"))
    restore_replaced(path)
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _unfinished_until_left(partial):
            yield partial
            for entry in [*partial.rglob("*"), partial]:
                sync(entry)
            if path.exists():
                path.rename(old)
            partial.rename(path)
            sync(path.parent)
    finally:
        restore_replaced(path)
        shutil.rmtree(old, ignore_errors=True)


def restore_replaced(path: Path) -> None:
    """Put back a directory that `atomic_directory` had moved away when its process was killed."""
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():
        old.rename(path)


def sync(path: Path) -> None:
    """Make the contents of a file, or the names in a directory, survive a power failure (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no fsync of a directory.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def require_room(directory: Path, needed: float, largest: float | None = None) -> None:
    """Raise `OSError` where a disk has no room, or a file may not be as large (`ulimit -f`).

    Args:
        directory: to write to; need not be there yet.
        needed: bytes in all.
        largest: bytes of the largest file; None: it is one file.
    """
    directory = next(one for one in (directory, *directory.absolute().parents) if one.exists())
    free, limit = shutil.disk_usage(directory).free, largest_file()
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed:,.0f} bytes are needed, {free:,} bytes are free", str(directory))
    largest = needed if largest is None else largest
    if limit < largest:
        what = f"{largest:,.0f} bytes are needed, files may have {limit:,.0f} bytes (ulimit -f)"
        raise OSError(errno.EFBIG, what, str(directory))


def largest_file() -> float:
    """Bytes that a file that this process writes may have (`ulimit -f`)."""
    if sys.platform == "win32":
        return math.inf
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold a lock file, after waiting for the process that holds it. The lock is released when the process ends."""
    lock = try_lock(path)
    if lock is None:
        _log.warning("%s: another process is building the same dataset, waiting for it", path.with_suffix(""))
        lock = FileLock(path, thread_local=False)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def try_lock(path: Path, seconds: float = 0.0) -> FileLock | None:
    """The lock of that file, acquired; None where another process still holds it after that time. Raises `OSError`."""
    # Not thread_local: whichever thread ends a run releases its lock.
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return None
    except NotImplementedError as error:  # what filelock raises where the system has none
        raise OSError(errno.ENOLCK, "its file system has no locks", str(path)) from error
    return lock


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock of that file; None where that cannot be told. Never waits.

    The lock is taken for a moment to find out: who wants it in that moment has to wait or try again.
    """
    if not path.exists():
        return False
    try:
        lock = try_lock(path)
    except OSError:
        return None
    if lock is not None:
        lock.release()
    return lock is None


def split_at(text: str, separator: str) -> list[str]:
    """Names that are joined by a separator, `+` or `,`; an existing path may contain it, also in `d4rl:PATH:500`."""
    parts, found = text.split(separator), []
    while parts:
        sizes = range(min(len(parts), _MOST_PARTS), 1, -1)
        size = next((n for n in sizes if _is_one(separator.join(parts[:n]), separator)), 1)
        found.append(separator.join(parts[:size]))
        parts = parts[size:]
    return found


def _is_one(text: str, separator: str) -> bool:
    """Whether every separator in a text is inside an existing path. A list with commas may hold names joined by `+`."""
    pieces = [text] if separator == "+" else split_at(text, "+")
    return all(_names_path(piece.strip(), separator) for piece in pieces if separator in piece)


def _names_path(text: str, separator: str) -> bool:
    bare = re.sub(r"^[A-Za-z0-9_]+:", "", text)
    for path in (text, bare, re.sub(r":[A-Za-z0-9_]+$", "", text), re.sub(r":[A-Za-z0-9_]+$", "", bare)):
        with contextlib.suppress(OSError, ValueError):  # no text for a path
            if separator in path and Path(path).expanduser().exists():
                return True
    return False
