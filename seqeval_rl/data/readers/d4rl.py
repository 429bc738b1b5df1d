"""Reads D4RL's HDF5 files, through the dataset cache.

Two reading modes: `native` keeps every transition with its true next observation; `d4rl` is exactly `qlearning_dataset` of the
d4rl package, which takes the next row's observation, and drops the last row and those of time limits (see `d4rl_file`). In
both, actions slightly outside their bounds are clipped (see `Dataset`), and the returns of the dataset are those of its complete
trajectories.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.hashes import check_sha256, recorded_sha256
from seqeval_rl.data.readers import d4rl_index, npz
from seqeval_rl.data.readers.base import HDF5_ENDINGS, FetchOptions, Listing, Reader, ReadOptions, has_ending
from seqeval_rl.data.readers.d4rl_file import (
    complete_returns,
    files_of,
    kept_columns,
    keys_of,
    limit_rows,
    read_columns,
)
from seqeval_rl.data.readers.layouts import D4RL
from seqeval_rl.data.trajectories import trajectory_ends
from seqeval_rl.data.validation import RawTransitions, column, flags, numbered, starts_of
from seqeval_rl.data.verification import Check, check_file, verify_dataset
from seqeval_rl.environments.spaces import discrete_actions, environment_spaces, gymnasium_shapes
from seqeval_rl.environments.tasks import DISCRETE_TASKS, TASKS, UNKNOWN, Bound, Task
from seqeval_rl.errors import DataError
from seqeval_rl.utils.text import file_name

_VERSION = 1  # of the reader: to be raised by whatever changes what it makes of a file


class D4rlReader(Reader):
    """D4RL's datasets by their ids, and files in their format."""

    prefix = D4RL.prefix
    endings = (*HDF5_ENDINGS, ".npz")
    usage = ("d4rl:<id>", "<path>.hdf5")
    modes = ("native", "d4rl")
    takes_bounds = True

    def matches(self, source: str) -> bool:
        """See `Reader`."""
        named = source.startswith(self.prefix) or has_ending(source, HDF5_ENDINGS)
        return named or (has_ending(source, self.endings) and npz.fits(source, D4RL))

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        if (path := self.path_in(source)) is not None:
            return read(path, source, options)
        entry = d4rl_index.entry(source.removeprefix(self.prefix))
        path = d4rl_index.obtain(entry, progress=options.progress, afterwards=entry.cached)
        return read(path, source, replace(options, task=options.task or entry.task))

    def fetch(self, source: str, options: FetchOptions) -> Path:
        """See `Reader`."""
        if self.path_in(source) is not None:
            return super().fetch(source, options)
        entry = d4rl_index.entry(source.removeprefix(self.prefix))
        path = d4rl_index.obtain(entry, options.sha256, options.offline, options.progress)
        if options.sha256 is None and (recorded := recorded_sha256(path)) is not None:
            check_sha256(path, recorded)
        return path

    def list_datasets(self) -> list[Listing]:
        """See `Reader`."""
        local = d4rl_index.local()
        others = sorted({*d4rl_index.identities()} - {*local})
        return [
            Listing("D4RL, on this machine", local),
            Listing("D4RL, downloaded on first use or by `seqeval datasets fetch`", others, available=False),
        ]

    def verify(self, source: str, transitions: int | None, options: ReadOptions | None = None) -> Iterator[Check]:
        """See `Reader`."""
        given = self.path_in(source)
        entry = None if given else d4rl_index.entry(source.removeprefix(self.prefix))
        path = given or d4rl_index.require(d4rl_index.entry(source.removeprefix(self.prefix)))
        options = replace(options or ReadOptions(), progress=False)
        task = options.task or (_task(path) if entry is None else entry.task)
        yield check_file(path)
        yield from verify_dataset(convert(path, source, task, options))
        if entry is not None:
            yield from _check_published(path, source, entry)

    def label(self, source: str) -> str:
        """See `Reader`: `medium` for `d4rl:hopper-medium-v2`, and for the file of it."""
        return d4rl_index.label(Path(source.removeprefix(self.prefix)).name) or super().label(source)


def _check_published(path: Path, name: str, entry: d4rl_index.Entry) -> Iterator[Check]:
    """Compare size and returns with the published ones. Raises `DataError` where they differ."""
    published = entry.published
    if published is None:
        yield Check("published", True, "nothing is published to compare its size and its returns with")
        return
    dataset = convert(path, name, entry.task, ReadOptions(mode="d4rl", progress=False))
    if len(dataset) != published.transitions:
        raise DataError(
            f"{path}: {len(dataset)} transitions by qlearning_dataset, expected {published.transitions} as published: this is "
            f"another file than {entry.identity}. Get that, or rename this one and give a task."
        )
    score, expected = dataset.mean_score(), float(entry.task.score(published.mean_return))
    if abs(score - expected) > d4rl_index.MEAN_SCORE_SLACK:
        raise DataError(
            f"{path}: mean score of the dataset is {score:.2f}, expected {expected:.2f} as published: this is another "
            f"file than {entry.identity}. Get that, or rename this one and give a task."
        )
    yield Check("published size", True, f"{len(dataset):,} transitions by qlearning_dataset, as published")
    yield Check("published returns", True, f"mean score of the dataset {score:.2f}, published {expected:.2f}")


def read(path: Path, name: str, options: ReadOptions) -> Dataset:
    """A file in D4RL's format.

    Args:
        path: of the file. Its name, if it is one of D4RL's, determines the task.
        name: what the dataset is called.
        options: how; without a task the dataset has that of the file's name.

    Raises:
        FileError: it cannot be read, or the cache cannot be written.
        DataError: damaged, keys missing, unequal lengths, NaN and the like, or its task is unknown.
        EnvironmentMissingError: the bounds of actions, or the time limit that the file lacks, are those of an environment
            that is not installed.
    """
    D4RL.check(name, keys_of(path))  # also of a file that is in the cache, so that its warning comes every time
    task = options.task or _task(path)
    low, high = _bounds(task, options)
    reading = f"{options.mode}-terminate" if options.terminate_on_end else options.mode
    facts = [cache.files_hash(files_of(path)), _VERSION, reading, _limit(path, task), low.tolist(), high.tolist()]
    facts += [discrete] if (discrete := _discrete(task, options)) is not None else []
    facts.append(d4rl_index.continues_at_goal(path.name, task))
    key = f"d4rl-{file_name(path.stem, 'data')}-{reading}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
    dataset = cache.obtain(options.cache_key(key), lambda: convert(path, name, task, options))
    return replace(dataset, name=name, task=task)


def convert(path: Path, name: str, task: Task, options: ReadOptions) -> Dataset:
    """Read the file itself, past the cache; arguments and errors as for `read`."""
    native = options.mode == "native"
    columns = read_columns(path, name, options.progress)
    length = len(columns["observations"])
    terminals = flags(name, "terminals", columns["terminals"], length)
    # Checked before any row is summed or dropped.
    columns["rewards"] = column(name, "rewards", columns["rewards"], (1, 1), length)
    next_observations = columns.get("next_observations")
    goal = d4rl_index.continues_at_goal(path.name, task)
    limit = None
    if "timeouts" in columns:
        final = flags(name, "timeouts", columns["timeouts"], length)
    else:
        limit = _limit(path, task)
        final = limit_rows(np.zeros_like(terminals) if goal else terminals, limit)
    if goal:
        over = final
    elif "timeouts" in columns:
        alike = next_observations is not None and next_observations.shape == columns["observations"].shape
        over = trajectory_ends(terminals, final, columns["observations"], next_observations if alike else None)
    else:  # the limit was counted from the terminal rows
        over = terminals | final
    low, high = _bounds(task, options)
    if native:
        # Without next observations the last row of a trajectory has one only if it needs none.
        rows = (
            np.flatnonzero(terminals | ~np.append(over[:-1], True)) if next_observations is None else np.arange(length)
        )
        arrays: dict[str, Any] = {key: columns[key] for key in ("observations", "actions", "rewards")}
        arrays |= {"terminations": terminals, "truncations": final & ~terminals, "next_observations": next_observations}
        arrays["episode_starts"] = starts_of(over)
    else:
        if "timeouts" not in columns:
            if limit is None:
                raise DataError(
                    f"{name}: expected timeouts, or a task with a time limit, which qlearning_dataset counts by, found "
                    "neither. Read it in mode native, or give a task with an environment."
                )
            # It counts the transition after a row that ended a trajectory and was kept as the second: the time limit of
            # such a trajectory is one transition too early.
            final = limit_rows(terminals, limit, 1, int(options.terminate_on_end))
        rows = np.flatnonzero(~final[:-1] | options.terminate_on_end)
        if not len(rows):
            raise DataError(f"{name}: expected transitions that qlearning_dataset keeps, found none in {length} rows.")
        arrays = kept_columns(columns, terminals, terminals & over | final, rows)
    surroundings: dict[str, Any] = {"action_low": low, "action_high": high}
    if (discrete := _discrete(task, options)) is not None:
        arrays["actions"] = numbered(name, arrays["actions"], discrete[0])
        surroundings = {"action_classes": discrete[1]}
    raw = options.bounded(RawTransitions(**arrays, **surroundings))
    dataset = Dataset.from_arrays(name, task, raw)
    returns = complete_returns(columns, terminals, over, rows)
    returns.flags.writeable = False
    return replace(dataset, dataset_returns=returns)


def _task(path: Path) -> Task:
    """The task of D4RL's file of that name; one without an environment for any other file."""
    known = d4rl_index.of_file(path.name)
    return Task(UNKNOWN, None) if known is None else known.task


def _limit(path: Path, task: Task) -> int | None:
    """The time limit of the task, if it has one."""
    known = d4rl_index.of_file(path.name)
    entries = [*([] if known is None else [known]), *d4rl_index.ENTRIES.values()]
    limit = next((entry.time_limit for entry in entries if _same_environment(entry.task, task)), None)
    if limit is None and task.env_id is not None:
        limit = gymnasium_shapes(task.environment)[1].max_episode_length
    return None if limit is None or limit < 2 else limit


def _same_environment(known: Task, task: Task) -> bool:
    """Whether a task is a known one, perhaps with other reference returns or bounds."""
    return (known.name, known.env_id, known.env_spec) == (task.name, task.env_id, task.env_spec)


def _discrete(task: Task, options: ReadOptions) -> tuple[int, int] | None:
    """The first discrete action of the task's environment and how many there are; None where its actions are continuous, as
    those with given bounds are."""
    continuous = (known for name, known in TASKS.items() if name not in DISCRETE_TASKS)
    own = task.env_id is not None and not any(_same_environment(known, task) for known in continuous)
    own &= None in (options.action_low, options.action_high)
    return discrete_actions(environment_spaces(task.environment)[1]) if own else None


def _bounds(task: Task, options: ReadOptions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of actions: the given ones, else those of the task's environment; -1 and 1 for D4RL's own tasks and where there is no
    environment."""
    low: Bound = -1.0
    high: Bound = 1.0
    own = task.env_id is not None and not any(_same_environment(known, task) for known in TASKS.values())
    if own and None in (options.action_low, options.action_high):
        space = environment_spaces(task.environment)[1]
        low, high = getattr(space, "low", low), getattr(space, "high", high)
    low = low if options.action_low is None else options.action_low
    high = high if options.action_high is None else options.action_high
    return np.asarray(low, np.float64), np.asarray(high, np.float64)
