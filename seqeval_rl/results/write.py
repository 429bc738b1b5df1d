"""A run's directory: who owns it, whether it holds the same run, where the run resumes, and its events."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from seqeval_rl.errors import BusyError, MismatchError, writing
from seqeval_rl.results import checkpoint
from seqeval_rl.results.fork import CODE, FORKED_FROM, Change, ChangedError, differences, source_lines
from seqeval_rl.results.legacy import modern_manifest
from seqeval_rl.results.lines import Lines, append_line, drop_damaged_end, read_lines
from seqeval_rl.results.manifest import FORMAT, manifest_text, read_manifest
from seqeval_rl.results.ownership import OWNER, Ownership, is_owned
from seqeval_rl.results.read import (
    CHECKPOINTS,
    EVENTS,
    MANIFEST,
    METRICS,
    SECOND_EVALUATIONS,
    check_evaluation,
    hashable,
)
from seqeval_rl.utils.files import atomic_write, remove_partial_files

_NAMED = ("stream", "algorithm", "seed")  # what `_names` gives
# What makes two runs the same run. Versions, device and revision are recorded but may change between attempts. A difference is
# looked for in this order: bounds of actions, which are of the task, also change the hash of the dataset.
IDENTITY = ("suite", "task", "dataset", "algorithm", "protocol", "seed", "uses_future_data", "precision", FORKED_FROM)

# Of these, what each attempt records.
_OF_ATTEMPT = ("device", "versions", "git_revision", "algorithm_sha256")


def identity(manifest: dict[str, Any]) -> Hashable:
    """A key that is equal for two attempts at one run, by whichever version, and for no two runs."""
    return hashable(_identifying(manifest))


def _identifying(manifest: Any) -> dict[str, Any]:
    """What a manifest of any version says under the keys of `IDENTITY`, as JSON holds it."""
    modern = modern_manifest(json.loads(json.dumps(manifest)))
    found: dict[str, Any] = {key: modern.get(key) for key in IDENTITY}
    if isinstance(found["dataset"], dict):
        for block in found["dataset"].get("blocks", ()):
            block.pop("citation", None)  # may be corrected between attempts
            block.pop("change_size", None)  # follows from the data, and older versions did not record it
    return found


def recorded_runs(out: Path) -> dict[Hashable, Path]:
    """The directories of a sweep's runs under `out`, by `identity`; one whose manifest cannot be read is not among them."""
    found: dict[Hashable, Path] = {}
    for path in sorted(out.glob(f"*/*/seed-*/{MANIFEST}")):
        try:
            found.setdefault(identity(read_manifest(path)), path.parent)
        except (OSError, ValueError):
            # Damaged: `RunRecorder.check` says so to a command that wants to write there.
            continue
    return found


class RunRecorder:
    """Owns one run's directory while open: no second process can write to it."""

    def __init__(self, directory: Path, manifest: dict[str, Any]):
        self.directory, self.manifest = directory, manifest
        self.checkpoints = directory / CHECKPOINTS
        self._ownership: Ownership | None = None  # while open

    @property
    def begins_after(self) -> int:
        """The evaluation after which it begins: -1, unless it is a fork."""
        return int(self.manifest.get(FORKED_FROM, {}).get("evaluation", -1))

    def check(self, overwrite: bool = False) -> bool:
        """True if this run was begun before and is not to be overwritten.

        Raises:
            MismatchError: the directory holds another run's results; with `overwrite` only where that run is of another dataset,
                algorithm or seed, which nobody asked to delete.
            ChangedError: without `overwrite`, where it is the same run with other settings or data.
        """
        path = self.directory / MANIFEST
        if not path.exists():
            left = [name for name in (METRICS, self.checkpoints.name) if (self.directory / name).exists()]
            if left and not overwrite:
                raise MismatchError(
                    f"{self.directory}: holds {left[0]} without {MANIFEST}, so that nothing says which run it is of. "
                    "Restore that file, move the directory away, or run with --overwrite."
                )
            return False
        try:
            manifest = read_manifest(path)
        except ValueError as error:
            if overwrite:
                return False
            raise MismatchError(
                f"{self.directory}: {error}. Move the directory away, or run with --overwrite."
            ) from None
        recorded, asked_for = _identifying(manifest), _identifying(self.manifest)
        others = [
            (what, old, new)
            for what, old, new in zip(_NAMED, _names(recorded), _names(asked_for), strict=True)
            if old != new
        ]
        if overwrite:
            for what, old, new in others:
                raise MismatchError(
                    f"{self.directory}: holds results of another {what}, {old!r}, asked for {new!r}. --overwrite deletes "
                    "results of the same run only: choose another --out."
                )
            return False
        if (version := manifest.get("format", 0)) > FORMAT:
            raise MismatchError(
                f"{self.directory}: holds files of format {version}, this version of seqeval-rl writes {FORMAT}. Use the version "
                "that made them, or choose another --out."
            )
        changes = [
            change
            for key, asked in asked_for.items()
            if recorded[key] != asked
            for change in differences(key, recorded[key], asked)
        ]
        if changes:
            where, old, new = changes[0]
            text = f"{self.directory}: holds results made with {where} = {old!r}, asked for {new!r}. "
            if others:
                raise MismatchError(f"{text}Choose another --out, or --overwrite to begin again.")
            raise ChangedError(
                f"{text}Choose another --out, --fork to start new runs from its checkpoint, or --overwrite to begin again.",
                [*changes, *self._changed_code()],
            )
        return True

    def check_links(self, overwrite: bool) -> None:
        """Raise `MismatchError` where links lead what is written, or deleted by `overwrite`, out of the directory."""
        places = [self.directory / name for name in (MANIFEST, METRICS, EVENTS, SECOND_EVALUATIONS, CHECKPOINTS)]
        if overwrite and any(place.exists() for place in places):
            places += [self.directory, *list(self.directory.parents)[:2]]  # of the run, of its variant, of its stream
        for place in places:
            if place.is_symlink():
                what = "--overwrite would delete what is there" if overwrite else "the run would be written there"
                raise MismatchError(
                    f"{place}: expected a {'file' if place.suffix else 'directory'} of this run, found a link to "
                    f"{os.readlink(place)}: {what}. Put a copy in its place, or choose another --out."
                )

    def check_code(self) -> None:
        """Raise `ChangedError` where the file that defines the algorithm has changed since the run began, unless nothing has
        been trained: such a run begins again."""
        changes = self._changed_code()
        if changes and not self.untrained():
            _, recorded, asked = changes[0]
            raise ChangedError(
                f"{self.directory}: began with an algorithm whose file had SHA-256 {recorded[:12]}…, found {asked[:12]}…: its "
                "code has changed. Restore it, resume with --allow-changed-code, start new runs from its checkpoint with --fork, "
                "begin again with --overwrite, or choose another --out.",
                changes,
            )

    def _changed_code(self) -> list[Change]:
        """The SHA-256 of the algorithm's file when the run began, and now; empty where it is the same, or one is not known."""
        recorded, asked = read_manifest(self.directory / MANIFEST).get(CODE), self.manifest.get(CODE)
        return [Change(CODE, recorded, asked)] if recorded and asked and recorded != asked else []

    def untrained(self) -> bool:
        """Whether there is nothing to resume from but the evaluation before the first gradient step."""
        return max(self.resumable(), default=0) == 0

    def open(self, overwrite: bool = False) -> None:
        """Take ownership, and begin or resume; with `overwrite` begin again.

        Raises:
            BusyError: another process owns the directory.
            MismatchError: it holds another run's results.
            FileError: it cannot be written.
        """
        with writing(self.directory, "Choose another --out."):
            self.directory.mkdir(parents=True, exist_ok=True)
            ownership = Ownership(self.directory)
            ownership.take()
            self._ownership = ownership
            self.check_links(overwrite)
            for directory in (self.directory, self.checkpoints):
                remove_partial_files(directory)
            begun = self.check(overwrite)
            other_code = begun and bool(self._changed_code()) and self.untrained()
            if overwrite or other_code:
                # The manifest last: killed at any moment, what is left is a part of the old run, and its manifest says so.
                shutil.rmtree(self.checkpoints, ignore_errors=True)
                for name in (METRICS, SECOND_EVALUATIONS, *([EVENTS] if overwrite else ())):
                    (self.directory / name).unlink(missing_ok=True)
            if not (begun and self.resumable()):  # where nothing is kept, with the versions and the code of now
                atomic_write(self.directory / MANIFEST, manifest_text(self.manifest))
            self.checkpoints.mkdir(exist_ok=True)
            dropped = {
                name: drop_damaged_end(self.directory / name, check)
                for name, check in ((METRICS, check_evaluation), (EVENTS, None))
            }
        recorded = {key: self.manifest[key] for key in _OF_ATTEMPT if key in self.manifest}
        self.event("attempt", host=socket.gethostname(), process=os.getpid(), **recorded)
        for name, count in dropped.items():
            if count:
                self.event("warning", message=f"the last {count} bytes of {name} were damaged and are dropped")

    def lines(self) -> Lines:
        """The lines of `metrics.jsonl`."""
        return read_lines(self.directory / METRICS, check_evaluation)

    def resumable(self) -> list[int]:
        """Evaluations from which the run can resume: those with both a recorded score and a checkpoint, oldest first."""
        recorded = len(self.lines().entries)
        return [index for index in checkpoint.available(self.checkpoints) if index < recorded]

    def resume(self) -> tuple[int, dict[str, Any]]:
        """Evaluations that are kept, and the state after the last of them (see `Trainer.states`); (0, {}) at the start.

        What comes after the newest checkpoint that can be read is dropped, since it will be computed again.
        """
        path, lines = self.directory / METRICS, self.lines()
        recorded = len(lines.entries)
        for text in lines.damaged:
            self.event("warning", message=f"{text}; left out")
        checkpoint.drop_from(self.checkpoints, recorded)  # of evaluations that were never recorded
        newest, state = checkpoint.newest(
            self.checkpoints,
            lambda index: self.event("warning", message=f"checkpoint of evaluation {index} is damaged and not used"),
        )
        if newest >= 0:
            self.event("resumed", evaluation=newest)
        if recorded > newest + 1:
            atomic_write(path, b"".join(path.read_bytes().splitlines(keepends=True)[: newest + 1]))
        return newest + 1, state

    def begin_fork(self, state: dict[str, Any]) -> None:
        """Begin with the evaluations of the run that this one is forked from, and with this state after the last of them."""
        fork = self.manifest[FORKED_FROM]
        self.require_ownership()
        atomic_write(self.directory / METRICS, source_lines(self.directory, fork))
        checkpoint.save(self.checkpoints, fork["evaluation"], state)
        self.event("forked", run=fork["run"], evaluation=fork["evaluation"])

    def event(self, event: str, **details: Any) -> None:
        """Append to `events.jsonl`: attempts, failures, the end. Raises `FileError`, and `BusyError` as `require_ownership`."""
        self.require_ownership()
        append_line(self.directory / EVENTS, {"time": time.time(), "event": event, **details})

    def tidy(self) -> None:
        """Delete what a process left that was killed between the run's end and its own; nothing where another one writes here,
        or where nothing can be written."""
        if not (self.directory / OWNER).exists() or is_owned(self.directory):
            return
        ownership = Ownership(self.directory)
        with suppress(BusyError, OSError):
            ownership.take()
            try:
                remove_partial_files(self.directory)
                checkpoint.prune(self.checkpoints)
            finally:
                ownership.give_up()

    def close(self) -> None:
        """Give up ownership."""
        if self._ownership is not None:
            self._ownership.give_up()
            self._ownership = None

    def require_ownership(self) -> None:
        """Raise `BusyError` where another process has taken the directory over: before everything that is written."""
        if self._ownership is not None:
            self._ownership.check()


def _names(identifying: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The names of the stream and of the algorithm, and the seed."""
    dataset, algorithm = (identifying[key] for key in ("dataset", "algorithm"))
    return (
        *(part.get("name") if isinstance(part, dict) else None for part in (dataset, algorithm)),
        identifying["seed"],
    )
