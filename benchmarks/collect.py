"""`seqeval datasets collect`: from what is asked for on the command line to a new log."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from seqeval_rl.benchmarks import cli
from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.results import MANIFEST

_TRAINING = ("task", "reference", "online", "set", "out", "policies")  # options that go with --train
_CHECKPOINT = ("greedy", "algorithm")  # those that go with a run's directory


def collect(command: cli.DatasetsCollect) -> None:
    """Make the log, or with --train the logs. Raises `UsageError` where options do not go together."""
    if command.transitions < 1 or command.seed < 0:
        raise UsageError(
            f"datasets collect: expected --transitions from 1 and --seed from 0, found {command.transitions} and {command.seed}."
        )
    if not command.id:
        raise UsageError(
            "datasets collect: expected an id for the new dataset, found none. Add --id mine/hopper/medium-v0."
        )
    if command.train is not None:
        _refuse(command, ("source", *_CHECKPOINT), "--train")
        raise NotImplementedError
    _refuse(command, _TRAINING, "anything but --train")
    if not command.source:
        raise UsageError(
            "datasets collect: expected bundled/TASK/LEVEL, a run's directory or --train ALGORITHM, found none. Name one."
        )
    if command.source.startswith("bundled/"):
        _refuse(command, _CHECKPOINT, "the bundled policies")
        _from_bundled(command)
    else:
        _from_run(command)
    print(f"minari:{command.id}: {command.transitions:,} transitions")


def _refuse(command: cli.DatasetsCollect, options: tuple[str, ...], beside: str) -> None:
    """Raise where one of these options was given another value than it has by default."""
    for item in dataclasses.fields(command):
        if item.name in options and getattr(command, item.name) != item.default:
            name = "SOURCE" if item.name == "source" else f"--{item.name}"
            raise UsageError(
                f"datasets collect: expected no {name} beside {beside}, found {getattr(command, item.name)!r}. Leave one out."
            )


def _from_bundled(command: cli.DatasetsCollect) -> None:
    from seqeval_rl import bundled
    from seqeval_rl.collecting import check_new, play_bundled, write_log
    from seqeval_rl.tasks import task_named

    if command.source not in bundled.names():
        raise unknown("bundled policy", command.source, bundled.names())
    check_new(command.id, command.overwrite)
    _, name, level = command.source.split("/")
    task = task_named(name)
    checkpoints = ", ".join(bundled.behaviors()[name][level])
    write_log(
        command.id,
        task,
        play_bundled(task, level, command.seed, command.transitions),
        command.transitions,
        f"SAC, checkpoints {checkpoints}" if checkpoints else "uniform random actions",
        f"{command.source} of seqeval-rl, played with seed {command.seed}. The end of the log truncates the last episode.",
        command.overwrite,
    )


def _from_run(command: cli.DatasetsCollect) -> None:
    from seqeval_rl.behaviour import from_run
    from seqeval_rl.collecting import check_new, play, write_log

    directory = Path(command.source)
    if not (directory / MANIFEST).is_file():
        raise UsageError(
            f"datasets collect {command.source}: expected bundled/TASK/LEVEL or a run's directory with its {MANIFEST}, "
            "found neither. Check the path."
        )
    check_new(command.id, command.overwrite)
    behaviour = from_run(directory, not command.greedy, command.algorithm)
    write_log(
        command.id,
        behaviour.task,
        play(behaviour, command.seed, command.transitions),
        command.transitions,
        behaviour.algorithm,
        f"{behaviour.algorithm}, played by seqeval-rl with seed {command.seed}. The end of the log truncates the last episode.",
        command.overwrite,
    )
