"""Forks: new runs from a checkpoint of a run whose settings, data or algorithm's code have changed since (`--fork`).

A fork's manifest says under `forked_from` what it was made from: `id` (of what has changed), `run` (a directory in the
results), `evaluation`, `transitions` and `gradient_steps` of the checkpoint, and `changed`: field, from, to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqeval_rl.errors import MismatchError, RunError
from seqeval_rl.protocol import EvaluationPoint
from seqeval_rl.results import checkpoint
from seqeval_rl.results.lines import read_lines
from seqeval_rl.results.read import CHECKPOINTS, METRICS, check_evaluation
from seqeval_rl.utils.text import bounded_name

FORKED_FROM = "forked_from"  # in a manifest
CODE = "algorithm_sha256"  # as a field of a `Change`


class Change(NamedTuple):
    """A field of the manifest in which the recorded run and the one that is asked for differ."""

    field: str  # for example `algorithm.config.alpha`
    old: Any
    new: Any


class ChangedError(MismatchError):
    """A directory holds the same run with other settings, data or code: a fork can begin from it."""

    def __init__(self, text: str, changes: Sequence[Change] = ()):  # with a default it can be sent to another process
        super().__init__(text)
        self.changes = tuple(changes)


def differences(field: str, old: Any, new: Any) -> list[Change]:
    """The leaves in which two JSON values differ."""
    parts: list[tuple[str, Any, Any]] = []
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [(f"{field}.{key}", old.get(key), new.get(key)) for key in sorted({*old, *new})]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [(f"{field}[{index}]", a, b) for index, (a, b) in enumerate(zip(old, new, strict=True))]
    changes = [change for part in parts if part[1] != part[2] for change in differences(*part)]
    return changes or [Change(field, old, new)]


def fork_id(changes: Iterable[Change]) -> str:
    """Eight letters that are the same for runs in which the same has changed, whatever their seeds."""
    return hashlib.sha256(json.dumps([(c.field, c.new) for c in changes], sort_keys=True).encode()).hexdigest()[:8]


def fork_directory(source: Path, changes: Iterable[Change]) -> Path:
    """Where the fork of a run is: next to the directory of its variant."""
    variant = source.parent
    return variant.with_name(bounded_name(f"{variant.name},fork={fork_id(changes)}")) / source.name


def fork_point(source: Path, resumable: Sequence[int], points: Sequence[EvaluationPoint]) -> EvaluationPoint:
    """The newest checkpoint up to which the fork, which is evaluated at `points`, has the same evaluations as its source.

    Args:
        source: a run's directory.
        resumable: its evaluations that have a checkpoint, oldest first, see `RunRecorder.resumable`.
        points: of the fork.

    Raises:
        MismatchError: there is none, or nothing is left to train after it.
    """
    entries = read_lines(source / METRICS, check_evaluation).entries
    pairs = list(zip(entries, points, strict=False))
    shared = next((place for place, pair in enumerate(pairs) if not _same(*pair)), len(pairs))
    found = [index for index in resumable if index < shared]
    if not found:
        newest = entries[resumable[-1]] or {}
        raise MismatchError(
            f"{source}: --fork expects the evaluation points of the checkpoint, at {newest.get('transitions')} transitions and "
            f"{newest.get('gradient_steps')} gradient steps; from evaluation {shared} on the new ones differ. Keep the "
            "protocol's initial, increment, updates_per_increment and evaluate_every, and a dataset that is longer than that; or "
            "choose another --out."
        )
    if found[-1] == len(points) - 1:
        raise MismatchError(
            f"{source}: --fork expects something left to train, found a checkpoint after the last evaluation. Lengthen the "
            "dataset or protocol.online, or choose another --out."
        )
    return points[found[-1]]


def _same(entry: Mapping[str, Any] | None, point: EvaluationPoint) -> bool:
    """Whether a line of metrics is of that evaluation point; a damaged one may be."""
    return entry is None or all(
        entry[name] == getattr(point, name) for name in ("transitions", "gradient_steps", "env_steps")
    )


def source_state(directory: Path, fork: Mapping[str, Any]) -> dict[str, Any]:
    """The state that a fork begins from. Raises `RunError` where its checkpoint is not there any more."""
    source = _source(directory, fork)
    state = checkpoint.load(source / CHECKPOINTS, fork["evaluation"])
    if state is None:
        raise RunError(
            f"{directory}: forked from {source}, whose checkpoint after evaluation {fork['evaluation']} is missing or damaged. "
            "Delete this directory, and run with --fork again"
        )
    return state


def source_lines(directory: Path, fork: Mapping[str, Any]) -> bytes:
    """The lines of metrics that a fork begins with, up to its checkpoint."""
    lines = (_source(directory, fork) / METRICS).read_bytes().splitlines(keepends=True)
    return b"".join(lines[: fork["evaluation"] + 1])


def _source(directory: Path, fork: Mapping[str, Any]) -> Path:
    return directory.parents[2] / fork["run"]
