"""Checkpoints: everything that a run needs to resume from an evaluation, written atomically."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from seqeval_rl.errors import FileError
from seqeval_rl.utils.failures import Cause, cannot_read, cause_of
from seqeval_rl.utils.files import atomic_path, remove_partial_files

GENERATIONS = 2  # a run whose newest checkpoint is unreadable resumes from the one before
_NAME = re.compile(r"evaluation-(\d{6})\.pt")


def save(directory: Path, evaluation: int, state: dict[str, Any]) -> None:
    """Write the state after that evaluation, then delete all but the newest `GENERATIONS`. Raises `FileError`."""
    target = directory / f"evaluation-{evaluation:06d}.pt"
    try:
        with atomic_path(target) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as RuntimeError, among other things that are not about files.
        if isinstance(error, RuntimeError) and "writing file" not in str(error) and "unexpected pos" not in str(error):
            raise
        cause = cause_of(error) or Cause(str(error), "Free some space.")
        raise FileError(
            f"checkpoint {target}: could not be written ({cause.what}). {cause.remedy} Or choose another --out."
        ) from error
    for old in available(directory)[:-GENERATIONS]:
        (directory / f"evaluation-{old:06d}.pt").unlink(missing_ok=True)
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
    path = directory / f"evaluation-{evaluation:06d}.pt"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, MemoryError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        if cause_of(error) is not None:
            raise FileError(cannot_read(f"checkpoint {path}", error)) from error
        return None
    return state


def newest(
    directory: Path, evaluations: int | None = None, damaged: Callable[[int], None] | None = None
) -> tuple[int, dict[str, Any]]:
    """The newest checkpoint that can be read, of the first so many `evaluations` or of all: its evaluation and state; (-1, {})
    where there is none. `damaged` is told the evaluation of each that cannot be read and is passed over."""
    for evaluation in reversed(available(directory)):
        if evaluations is None or evaluation < evaluations:
            if (state := load(directory, evaluation)) is not None:
                return evaluation, state
            if damaged is not None:
                damaged(evaluation)
    return -1, {}
