"""Checkpoints: everything that a run needs to resume from an evaluation, written atomically."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch

from seqeval_rl.errors import FileError, RunError
from seqeval_rl.results.read import checkpoint_name
from seqeval_rl.utils.failures import Cause, cannot_read, cause_of
from seqeval_rl.utils.files import atomic_path, remove_partial_files

GENERATIONS = 2  # a run whose newest checkpoint is unreadable resumes from the one before
# After torch's file, which is a zip archive and can be read with what follows it: this and the SHA-256 of all before it.
_MARK = b"seqeval-rl sha256"
_ZIP_END = 22  # bytes of the record that ends a zip archive
_NAME = re.compile(r"evaluation-(\d{6})\.pt")


def save(directory: Path, evaluation: int, state: dict[str, Any]) -> None:
    """Write the state after that evaluation, then delete all but the newest `GENERATIONS`.

    Raises:
        FileError: it cannot be written.
        RunError: it holds what `torch.load(..., weights_only=True)` could not read again.
    """
    _require_loadable(state, "")
    target = _path(directory, evaluation)
    try:
        with atomic_path(target) as temporary, temporary.open("wb") as file:
            hashing = _HashingWriter(file)
            torch.save(state, cast(IO[bytes], hashing))
            file.write(_MARK + hashing.sha256.digest())
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as RuntimeError, among other things that are not about files.
        if isinstance(error, RuntimeError) and "writing file" not in str(error) and "unexpected pos" not in str(error):
            raise
        cause = cause_of(error) or Cause(str(error), "Free some space.")
        raise FileError(
            f"checkpoint {target}: could not be written ({cause.what}). {cause.remedy} Or choose another --out."
        ) from error
    prune(directory)


def prune(directory: Path) -> None:
    """Delete all but the newest `GENERATIONS`, and what was not written to its end."""
    for old in available(directory)[:-GENERATIONS]:
        _path(directory, old).unlink(missing_ok=True)
    remove_partial_files(directory)


def available(directory: Path) -> list[int]:
    """Evaluations for which there is a checkpoint, oldest first."""
    matches = (_NAME.fullmatch(path.name) for path in directory.glob("evaluation-*.pt"))
    return sorted(int(match.group(1)) for match in matches if match)


def load(directory: Path, evaluation: int) -> dict[str, Any] | None:
    """The state after that evaluation on the CPU, or None where the file is damaged or missing.

    Raises:
        FileError: it cannot be read, for another reason: permissions, memory, the file system.
    """
    path = _path(directory, evaluation)
    try:
        if not _intact(path):
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, MemoryError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        if cause_of(error) is not None:
            raise FileError(cannot_read(f"checkpoint {path}", error)) from error
        return None
    return state


_LOADABLE = (bool, int, float, complex, str, bytes, bytearray, type(None), torch.dtype, torch.device, torch.Size)


def _require_loadable(value: Any, path: str) -> None:
    """Raise `RunError` where a state holds anything but tensors, Python's scalars and containers of these."""
    if type(value) in (dict, OrderedDict, Counter):
        for key, item in value.items():
            _require_loadable(item, f"{path}/{key}" if path else str(key))
    elif type(value) in (list, tuple, set):
        for place, item in enumerate(value):
            _require_loadable(item, f"{path}[{place}]")
    elif type(value) not in (*_LOADABLE, torch.Tensor, torch.nn.Parameter):
        raise RunError(
            f"state at {path}: expected tensors, numbers, strings, or lists and dictionaries of these, found "
            f"{type(value).__name__}. Its checkpoint could not be read again: convert it in `state_dict`."
        )


class _HashingWriter(io.RawIOBase):
    """Passes what is written on to a file, and hashes it."""

    def __init__(self, file: IO[bytes]):
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def _intact(path: Path) -> bool:
    """Whether the file is as it was written; a file of an earlier version, which has no checksum, counts as intact."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail = len(_MARK) + hashlib.sha256().digest_size
        file.seek(max(0, size - tail))
        mark, digest = file.read(len(_MARK)), file.read()
        if mark != _MARK:
            return digest[-_ZIP_END:].startswith(b"PK\x05\x06")
        file.seek(0)
        sha256, left = hashlib.sha256(), size - tail
        while left and (part := file.read(min(left, 1 << 20))):
            sha256.update(part)
            left -= len(part)
    return sha256.digest() == digest


def newest(directory: Path, damaged: Callable[[int], None] | None = None) -> tuple[int, dict[str, Any]]:
    """The newest checkpoint that can be read: its evaluation and state; (-1, {}) where there is none. `damaged` is told the
    evaluation of each that cannot be read and is passed over."""
    for evaluation in reversed(available(directory)):
        if (state := load(directory, evaluation)) is not None:
            return evaluation, state
        if damaged is not None:
            damaged(evaluation)
    return -1, {}


def drop_from(directory: Path, evaluation: int) -> None:
    """Delete the checkpoints of that evaluation and later ones."""
    for later in available(directory):
        if later >= evaluation:
            _path(directory, later).unlink(missing_ok=True)


def _path(directory: Path, evaluation: int) -> Path:
    return directory / checkpoint_name(evaluation)
