"""SHA-256 of dataset files: computed, recorded next to a download, and compared."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.packed_rows import release
from seqeval_rl.errors import DataError, FileError, UsageError
from seqeval_rl.utils.failures import cannot_read
from seqeval_rl.utils.files import atomic_write

# A file changed less than this before it was hashed could change again without a new modification time.
_SETTLED = 2_000_000_000  # nanoseconds
_HASH_BLOCK = 8 << 20  # bytes hashed at once by one thread
_STATE = ("size", "mtime_ns", "ctime_ns", "ino", "dev")  # of a file whose hash is remembered


def check_form_of_sha256(text: str) -> None:
    """Raise `UsageError` unless a text is a SHA-256 in hexadecimal digits."""
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise UsageError(
            f"SHA-256 {text[:80]!r}: expected 64 hexadecimal digits, found {len(text)} characters. Correct it."
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's contents; raises `FileError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(cannot_read(path, error)) from error


def recorded_sha256(path: Path) -> str | None:
    """The SHA-256 recorded when the file was downloaded, or None."""
    record = path.with_name(f"{path.name}.sha256")
    try:
        words = record.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(cannot_read(record, error)) from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"{record}: expected a SHA-256, found other bytes. Delete it; the file itself may be kept."
        ) from error
    return words[0] if words else None


def check_sha256(path: Path, expected: str) -> None:
    """Raise `DataError` unless the file has that SHA-256."""
    found = sha256_of(path)
    if found != expected.lower():
        raise DataError(
            f"{path}: SHA-256 is {found}, expected {expected.lower()}. Delete the file and get it again, or correct the hash."
        )


def remembered(memory: Path, paths: Sequence[Path], compute: Callable[[], str]) -> str:
    """The SHA-256 of files as `compute` finds it, or as `memory` has it from an earlier time where they have not changed since.

    They have not where they are the same inodes, sizes and times, also that of the last change of anything, which nobody can
    set. Raises `OSError`, and what `compute` raises.
    """
    begun = time.time_ns()
    # Absolute, since a relative path depends on the working directory.
    states = [(os.path.abspath(path), path.stat()) for path in paths]
    files = [[path, *(getattr(state, f"st_{name}") for name in _STATE)] for path, state in states]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # missing or damaged: it is computed again
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["files"] == files:
            return str(known["sha256"])
    found = compute()
    if all(begun - max(state.st_mtime_ns, state.st_ctime_ns) >= _SETTLED for _, state in states):
        with contextlib.suppress(OSError):  # a full disk is not an error
            atomic_write(memory, json.dumps({"files": files, "sha256": found}))
    return found


def content_hash(dataset: Any) -> str:
    """SHA-256 of a `Dataset`, over shapes and the SHA-256 of each block of the arrays, computed by threads in parallel."""
    blocks: list[tuple[NDArray[np.uint8], int]] = []
    pixels = dataset.pixels
    more: list[NDArray[Any]] = [] if pixels is None else [pixels.frames, pixels.index]
    if dataset.dataset_returns is not None:
        more.append(dataset.dataset_returns)
    for array in (dataset.rows, dataset.truncations, dataset.episode_starts, *more):
        # Not by `ascontiguousarray`, which forgets that it is a memory map.
        data = (array if array.flags.c_contiguous else np.ascontiguousarray(array)).reshape(-1).view(np.uint8)
        blocks += [(data, start) for start in range(0, len(data), _HASH_BLOCK)]
    header = (
        f"{dataset.rows.shape} {tuple(dataset.obs_shape)} {dataset.act_dim} {len(dataset.episode_starts)} {dataset.cut}"
    )
    if pixels is not None:
        header += f" {pixels.frames.shape} {pixels.stack}"
    if dataset.action_classes is not None:
        header += f" {dataset.action_classes} classes"
    if dataset.dataset_returns is not None:
        header += f" {len(dataset.dataset_returns)} returns"
    total = hashlib.sha256(header.encode())
    with ThreadPoolExecutor(4) as pool:
        for digest in pool.map(_digest, blocks):
            total.update(digest)
    return total.hexdigest()


def _digest(block: tuple[NDArray[np.uint8], int]) -> bytes:
    data, start = block
    found = hashlib.sha256(data[start : start + _HASH_BLOCK].data).digest()
    release(data, start, min(start + _HASH_BLOCK, len(data)))
    return found
