"""Forks of runs (`--fork`): where one begins, and the state that it begins with, checked before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.patience import Patience, with_patience
from seqeval_rl.errors import MismatchError
from seqeval_rl.experiments.job import PlannedRun
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.isolation import isolated
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import EvaluationPoint, Protocol
from seqeval_rl.results import checkpoint
from seqeval_rl.results.fork import CODE, FORKED_FROM, Change, fork_directory, fork_id, fork_point, source_state
from seqeval_rl.results.manifest import read_manifest
from seqeval_rl.results.read import MANIFEST
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.training.trainer import Run, Trainer
from seqeval_rl.utils.text import one_line

_CPU = torch.device("cpu")
_SETTING = "algorithm.config."  # how the field of a change in a setting of the algorithm begins
_SHAPES = ("dataset.observation_shape", "dataset.action_dimensions")


def forked(run: PlannedRun, changes: Sequence[Change], points: Sequence[EvaluationPoint]) -> PlannedRun:
    """The run as a fork of what its directory holds: in a directory of its own, which may be there already.

    Where nothing has been trained yet there is nothing to fork from, and it begins anew there.

    Raises:
        MismatchError: the changes make that impossible.
    """
    source = run.directory
    _require_same_problem(run, changes)
    directory = fork_directory(source, changes)
    recorder = RunRecorder(source, run.manifest)
    begun = _recorded(directory)
    sound = [index for index in recorder.resumable() if checkpoint.load(recorder.checkpoints, index) is not None]
    if begun is None and max(sound, default=0) == 0:
        return replace(run, directory=directory)
    origin = {"id": fork_id(changes), "run": "/".join(source.parts[-3:])}
    if begun is None:
        point = fork_point(source, sound, points)
        begun = {"evaluation": point.index, "transitions": point.transitions, "gradient_steps": point.gradient_steps}
    changed = [{"field": field, "from": old, "to": new} for field, old, new in changes]
    fork = begun | origin | {"changed": json.loads(json.dumps(changed))}
    return replace(run, directory=directory, manifest=run.manifest | {FORKED_FROM: fork})


def _recorded(directory: Path) -> dict[str, Any] | None:
    """What the manifest of a fork says of its beginning; None where there is no fork. Raises `MismatchError`."""
    if not (directory / MANIFEST).exists():
        return None
    try:
        fork = read_manifest(directory / MANIFEST).get(FORKED_FROM)
    except ValueError as error:
        raise MismatchError(f"{directory}: {error}. Move the directory away.") from None
    return fork


def _require_same_problem(run: PlannedRun, changes: Sequence[Change]) -> None:
    """Raise `MismatchError` where networks would not fit, or earlier scores would not be comparable with later ones."""
    for field, old, new in sorted(changes, key=lambda change: change.field not in _SHAPES):
        if field.startswith((*_SHAPES, "task.")):
            what = "shapes" if field.startswith(_SHAPES) else "task"
            raise MismatchError(
                f"{run.directory}: --fork expects the {what} of the checkpoint, {field} = {old!r}, found {new!r}. "
                "Choose another --out."
            )


def first_state(
    run: PlannedRun, stream: Stream, entry: AlgorithmEntry, protocol: Protocol, patience: Patience
) -> dict[str, Any]:
    """The state with which a fork begins, see `Trainer.states`.

    Networks, optimizers and gathered transitions are the checkpoint's. If more than the code has changed, statistics are
    computed anew, and what other settings put into an algorithm's initial state (a learning rate in torch's optimizers) is
    theirs.

    Raises:
        MismatchError: the checkpoint does not fit the changed run.
        RunError: it is missing.
    """
    fork = run.manifest[FORKED_FROM]
    state = source_state(run.directory, fork)
    changed = {change["field"]: change["from"] for change in fork["changed"]}
    try:
        config = entry.configure(run.settings, "the plan")
        before = {field.removeprefix(_SETTING): old for field, old in changed.items() if field.startswith(_SETTING)}
        with isolated(), with_patience(patience):
            if before.keys() <= run.settings.keys() and before:
                spec = Spec(stream.obs_shape, stream.act_dim, (run.seed,), _CPU, stream.action_classes)
                old, new = (
                    entry.build(each, spec).state_dict()
                    for each in (entry.configure(run.settings | before, "the checkpoint"), config)
                )
                state["algorithm"] = _adopt(state["algorithm"], old, new)
            with Trainer([Run(stream, config, run.seed)], entry, protocol, _CPU) as trainer:
                if changed.keys() == {CODE}:
                    trainer.load_states([state])
                    return state
                point = trainer.points()[fork["evaluation"]]
                trainer.load_states([{name: state[name] for name in state.keys() - {"preprocessing", "prequential"}}])
                trainer.refresh_statistics(point)
                trainer.score_upcoming(point)
                return trainer.states()[0]
    except Exception as error:
        raise MismatchError(
            f"{run.directory}: --fork expects settings that the checkpoint fits, found one that does not ({one_line(error)}). "
            "Choose another --out."
        ) from error


def _adopt(state: Any, old: Any, new: Any) -> Any:
    """The state, with the numbers and words of `new` where that differs from `old`; tensors stay."""
    if isinstance(state, Mapping) and isinstance(old, Mapping) and isinstance(new, Mapping):
        return {
            key: _adopt(value, old[key], new[key]) if key in old and key in new else value
            for key, value in state.items()
        }
    if isinstance(state, (list, tuple)) and isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        if len(state) == len(old) == len(new):
            return type(state)(map(_adopt, state, old, new))
    elif not any(isinstance(each, (torch.Tensor, Mapping, list, tuple)) for each in (state, old, new)) and old != new:
        return new
    return state
