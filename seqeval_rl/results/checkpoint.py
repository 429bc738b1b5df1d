"""Checkpoints: everything that a run needs to go on from an evaluation, written whole or not at all."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from seqeval_rl.errors import FileError

GENERATIONS = 2  # a run whose newest checkpoint is unreadable goes on from the one before
_NAME = re.compile(r"evaluation-(\d{6})\.pt")


def save(directory: Path, evaluation: int, state: dict[str, Any]) -> None:
    """Write the state after that evaluation, then drop all but the newest `GENERATIONS`. Raises `FileError`."""
    target = directory / f"evaluation-{evaluation:06d}.pt"
    partial = target.with_suffix(".partial")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as RuntimeError.
        partial.unlink(missing_ok=True)
        raise FileError(
            f"checkpoint {target}: could not be written ({error}). Free some space or choose another --out."
        ) from error
    for old in available(directory)[:-GENERATIONS]:
        (directory / f"evaluation-{old:06d}.pt").unlink(missing_ok=True)


def available(directory: Path) -> list[int]:
    """Evaluations for which there is a checkpoint, oldest first."""
    matches = (_NAME.fullmatch(path.name) for path in directory.glob("evaluation-*.pt"))
    return sorted(int(match.group(1)) for match in matches if match)


def load(directory: Path, evaluation: int) -> dict[str, Any] | None:
    """The state after that evaluation on the CPU, or None where the file cannot be read as a checkpoint."""
    path = directory / f"evaluation-{evaluation:06d}.pt"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError):
        return None
    return state
