"""`seqeval datasets collect`: collects a new dataset as the command line says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqeval_rl.benchmarks.arguments.datasets import DatasetsCollect
from seqeval_rl.benchmarks.arguments.parsing import single_settings
from seqeval_rl.benchmarks.arguments.reading import reference_returns
from seqeval_rl.collection.collect import play, play_bundled, run_behavior, write_dataset
from seqeval_rl.data.episodes import Episode
from seqeval_rl.data.minari_writer import NewDataset
from seqeval_rl.data.readers import bundled
from seqeval_rl.environments.tasks import Task, task_named
from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.experiments.sweep import check_seeds
from seqeval_rl.results.read import MANIFEST
from seqeval_rl.utils.console import say

_Played = tuple[Task, Iterable[Episode], str, str]  # with the policy in words, and where it is from
_TRAINING = ("task", "reference_returns", "online", "set", "out", "policies")  # options for --train
_CHECKPOINT = ("greedy", "algorithm", "trust_environment")  # options for a run's directory


def collect(command: DatasetsCollect) -> None:
    """Collect the dataset, or with --train one per level. Raises `UsageError` where options exclude each other."""
    if command.transitions < 1:
        raise UsageError(f"datasets collect: expected --transitions from 1, found {command.transitions}. Correct it.")
    check_seeds([command.seed], "datasets collect")
    if not command.id:
        raise UsageError(
            "datasets collect: expected an id for the new dataset, found none. Add --id mine/hopper/medium-v0."
        )
    if command.train is not None:
        _refuse(command, ("source", *_CHECKPOINT), "with --train")
        _by_training(command)
        return
    _refuse(command, _TRAINING, "without --train")
    if not command.source:
        raise UsageError(
            "datasets collect: expected bundled/TASK/LEVEL, a run's directory or --train ALGORITHM, found none. Name one."
        )
    if command.source.startswith("bundled/"):
        _refuse(command, _CHECKPOINT, "with the bundled policies")
        task, episodes, policy, origin = _from_bundled(command)
    else:
        task, episodes, policy, origin = _from_run(command)
    description = f"{origin} with seed {command.seed}. Its end truncates the last episode."
    new = NewDataset(command.id, task, command.transitions, policy, description)
    write_dataset(new, episodes, command.overwrite)
    say(f"minari:{command.id}: {command.transitions:,} transitions")


def _refuse(command: DatasetsCollect, options: tuple[str, ...], where: str) -> None:
    """Raise `UsageError` where one of these options is given, which would have no effect."""
    for item in dataclasses.fields(command):
        if item.name in options and getattr(command, item.name) != item.default:
            name = "SOURCE" if item.name == "source" else f"--{item.name.replace('_', '-')}"
            raise UsageError(
                f"datasets collect: expected no {name} {where}, found {getattr(command, item.name)!r}. Leave it out."
            )


def _from_bundled(command: DatasetsCollect) -> _Played:
    if command.source not in bundled.names():
        raise unknown("bundled policy", command.source, bundled.names())
    _, name, level = command.source.split("/")
    task = task_named(name)
    episodes = play_bundled(task, level, command.seed, command.transitions)
    return task, episodes, bundled.policy_name(name, level), f"{command.source} of seqeval-rl, played"


def _from_run(command: DatasetsCollect) -> _Played:
    directory = Path(command.source)
    if not (directory / MANIFEST).is_file():
        raise UsageError(
            f"datasets collect {command.source}: expected bundled/TASK/LEVEL or a run's directory with its {MANIFEST}, "
            "found neither. Check the path."
        )
    behavior = run_behavior(directory, not command.greedy, command.algorithm, command.trust_environment)
    episodes = play(behavior, command.seed, command.transitions)
    return behavior.task, episodes, behavior.algorithm, f"{behavior.algorithm}, played by seqeval-rl"


def _by_training(command: DatasetsCollect) -> None:
    import torch

    from seqeval_rl.collection.levels import check_all_new, collect_levels, save_policies
    from seqeval_rl.collection.train import Training, train
    from seqeval_rl.interface.registry import find_algorithm
    from seqeval_rl.protocol import Protocol
    from seqeval_rl.results.write import identity, recorded_runs
    from seqeval_rl.utils.text import file_name

    assert command.train is not None
    check_all_new(command.id, command.overwrite)
    entry = find_algorithm(command.train, "--train")
    settings = _settings(command, entry.name)
    task = _task(command)
    training = Training(
        command.out / file_name(task.name) / file_name(entry.name) / f"seed-{command.seed}",
        task,
        entry,
        entry.configure(settings[entry.name], "--set"),
        Protocol.parse({**settings["protocol"], "online": command.online}, "--set"),
        command.seed,
    )
    device = torch.device("cpu")
    # A run of an earlier version, whose directory may have another name, keeps its place.
    place = recorded_runs(command.out).get(identity(training.manifest(device)), training.directory)
    training = dataclasses.replace(training, directory=place)
    train(training, device, command.overwrite)
    for new in collect_levels(training, command.id, command.transitions, command.overwrite):
        say(f"minari:{new.identity}: {new.transitions:,} transitions. {new.description}")
    if command.policies is not None:
        for path in save_policies(training, command.policies):
            say(path)


def _settings(command: DatasetsCollect, algorithm: str) -> dict[str, dict[str, Any]]:
    """The settings of --set, by section."""
    found = single_settings(command.set, (algorithm, "protocol"), "Train one policy at a time.")
    if "online" in found["protocol"]:
        raise UsageError("--set protocol.online: expected the option --online in its place. Use that.")
    return found


def _task(command: DatasetsCollect) -> Task:
    """The task to train in: a known one, or an environment with the references of --reference-returns."""
    if not command.task:
        raise UsageError(
            "datasets collect --train: expected a task, found none. Add --task hopper, or an environment id."
        )
    task, option = task_named(command.task, "--task"), "--reference-returns"
    given = reference_returns(command.reference_returns, option)
    if given is not None:
        return replace(task.override(given), name=command.task)
    if task.references is None:
        raise UsageError(
            f"datasets collect --train: expected reference returns for {task.name}, which levels are chosen by, found none. "
            f"Give {option} MIN,MAX."
        )
    return task
