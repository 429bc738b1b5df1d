"""Performs `seqeval datasets`: a function takes the typed command and prints its results."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl import plots
from seqeval_rl.benchmarks.arguments.datasets import (
    Datasets,
    DatasetsCollect,
    DatasetsFetch,
    DatasetsList,
    DatasetsPush,
    DatasetsShow,
    DatasetsVerify,
)
from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.load import fetch, list_datasets, load_dataset, verify
from seqeval_rl.data.readers.base import readers
from seqeval_rl.data.stream import Stream
from seqeval_rl.data.trajectories import trajectory_returns
from seqeval_rl.environments.tasks import Bound, Task
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.plots.figures.dataset import CUT, TERMINAL, TIME_LIMIT, DatasetBlock
from seqeval_rl.utils.console import say
from seqeval_rl.utils.files import split_at
from seqeval_rl.utils.text import file_name, show

_HINT = "`seqeval datasets list` names them."


@singledispatch
def perform(command: Any) -> None:
    """Do what the command says. Raises `SeqevalError` for whatever is not a bug."""
    raise TypeError(f"no such command: {command!r}")


@perform.register
def _datasets(command: Datasets) -> None:
    perform(command.action)


def _named(action: str, source: str) -> str:
    """The source; raises `UsageError` where there is none."""
    if not source:
        raise UsageError(f"datasets {action}: expected a dataset, found none. {_HINT}")
    return source


@perform.register
def _list(_: DatasetsList) -> None:
    sections = [(listing.heading, listing.sources) for listing in list_datasets()]
    keys = [f"{key:<48} {_size(cache.root() / key)}" for key in cache.entries()]
    for heading, lines in (*sections, (f"cache, {cache.root()}", keys)):
        say(f"{heading}:")
        say("\n".join(f"  {line}" for line in lines or ["none"]))
    usages = ", ".join(usage for reader in readers().values() for usage in reader.usage)
    say(f"sources: {usages}; each with :<N> for its first N transitions")


def _size(folder: Path) -> str:
    """Total size of the files in a folder."""
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:,.1f} MB"


@perform.register
def _show(command: DatasetsShow) -> None:
    sources = split_at(_named("show", command.id), "+")
    options = command.options()
    stream = Stream(command.id, [load_dataset(source, mode=command.mode, **options) for source in sources])
    for block in stream.blocks:
        for name, value in _numbers(block.dataset):
            say(f"{name:<14} {value}")
    if len(stream.blocks) > 1:
        what = "return" if stream.task.references is None else "score"
        sums = sum(getattr(block.dataset, f"mean_{what}")() * len(block.dataset) for block in stream.blocks)
        say(
            f"{'together':<14} {len(stream):,} transitions, mean {what} {sums / len(stream):.2f}, weighted by transitions"
        )
    figure = plots.dataset_figure(
        command.id,
        [_drawn(block.label, block.dataset) for block in stream.blocks],
        stream.task.return_references,
    )
    say(f"figure: {plots.save(figure, command.out, file_name(command.id), ('png',))[0]}")


def _numbers(dataset: Dataset) -> Iterator[tuple[str, Any]]:
    """A dataset's numbers, line by line."""
    returns, task = dataset.episode_returns(), dataset.task
    low, high = (returns.min(), returns.max()) if len(returns) else (float("nan"), float("nan"))
    yield "name", dataset.name
    yield "transitions", f"{len(dataset):,}"
    yield "episodes", f"{len(dataset.episode_starts) - 1:,}"
    yield "observations", dataset.obs_shape
    if dataset.action_classes is None:
        yield "actions", dataset.act_dim
        yield "clipped", f"{dataset.clipped_actions:,} transitions with an action outside its bounds"
    else:
        yield "actions", f"{dataset.action_classes} discrete"
    yield "terminations", f"{int(dataset.terminations.sum()):,}"
    yield "time limits", f"{int(dataset.truncations.sum()):,}"
    yield "returns", f"{low:.1f} to {high:.1f}"
    if task.references is None:
        yield "mean return", f"{dataset.mean_return():.2f}"
    else:
        yield "mean score", f"{dataset.mean_score():.2f}"
    yield "task", _described(task)
    yield "sha256", dataset.sha256


def _described(task: Task) -> str:
    """A task in one line."""
    references = task.references and f"reference returns {task.references[0]} to {task.references[1]}"
    references = "score: success rate in percent" if task.success else references
    text = f"{task.name}, {task.env_id or 'no environment'}, {references or 'no reference returns'}"
    if task.action_low is not None or task.action_high is not None:
        text += f", actions from {_bound(task.action_low)} to {_bound(task.action_high)}"
    return text


def _bound(bound: Bound) -> str:
    return "the environment's bound" if bound is None else show(bound)


def _drawn(label: str, dataset: Dataset) -> DatasetBlock:
    """A dataset in the form that the figure takes."""

    starts = dataset.episode_starts
    ends = np.where(dataset.terminations[starts[1:] - 1], TERMINAL, TIME_LIMIT)
    if dataset.cut:
        ends[-1] = CUT
    returns = trajectory_returns(dataset.rewards, dataset.terminations, starts)
    return DatasetBlock(label, returns, np.diff(starts), ends, dataset.actions, dataset.action_classes)


@perform.register
def _fetch(command: DatasetsFetch) -> None:
    source, options = _named("fetch", command.id), command.options()
    say(fetch(source, command.sha256, command.offline or None))
    if options:
        say(f"{len(load_dataset(source, **options)):,} transitions can be read")


@perform.register
def _verify(command: DatasetsVerify) -> None:
    options = command.options()
    if options and not command.id:
        raise UsageError(f"datasets verify: expected a dataset to read with {', '.join(options)}, found none. {_HINT}")
    sources = [command.id] if command.id else cache.entries()
    if not sources:
        say(f"{cache.root()}: no dataset to verify")
    broken = []
    for source in sources:
        for name, checks in verify(source, **options):
            say(name)
            for check in checks:
                say(f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}")
                broken += [] if check.passed else [f"{name}: {check.name}"]
    if broken:
        raise DataError(
            f"{len(broken)} checks failed, first {broken[0]}. Get it again or write it again; the cache may be deleted."
        )


@perform.register
def _collect(command: DatasetsCollect) -> None:
    from seqeval_rl.benchmarks.commands.collect import collect

    collect(command)


@perform.register
def _push(command: DatasetsPush) -> None:
    from seqeval_rl.collection.push import push_dataset

    upload = push_dataset(
        _named("push", command.source),
        command.to,
        identity=command.id,
        private=command.private,
        overwrite=command.overwrite,
        dry_run=command.dry_run,
        **command.options(),
    )
    for name, size in upload.files.items():
        say(f"{upload.repository}/{name}  {size:,} bytes")
    how = f"MINARI_REMOTE=hf://{upload.user} seqeval datasets fetch minari:{upload.identity}"
    say(f"{upload.url}: others get it by {how}" if upload.url else "dry run: nothing was uploaded")
