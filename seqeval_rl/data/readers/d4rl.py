"""Reads D4RL's HDF5 files, through the dataset cache.

Two reading modes: `native` keeps every transition with its true next observation; `d4rl` is exactly `qlearning_dataset` of the
d4rl package, which takes the next row's observation, and drops the last row and those of time limits (see `d4rl_rules`). In
both, actions slightly outside their bounds are clipped (see `Dataset`), and the returns of the dataset are those of its complete
trajectories.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.download import check_sha256, recorded_sha256
from seqeval_rl.data.readers import d4rl_episodes, d4rl_index
from seqeval_rl.data.readers.base import FetchOptions, Listing, Mode, Reader, ReadOptions
from seqeval_rl.data.readers.d4rl_file import check_readable, read_columns
from seqeval_rl.data.validation import RawTransitions, column, flags
from seqeval_rl.data.verification import Check, check_file, verify_dataset
from seqeval_rl.environments.spaces import environment_spaces, gymnasium_shapes
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError
from seqeval_rl.utils.text import slug

_VERSION = 0  # of the reader: to be raised by whatever changes what it makes of a file


@dataclass(frozen=True)
class Reading:
    """How a file is read."""

    mode: Mode = "native"
    terminate_on_end: bool = False  # of `qlearning_dataset`: keep the rows of time limits too

    def __str__(self) -> str:
        return f"{self.mode}-terminate" if self.terminate_on_end else self.mode


class D4rlReader(Reader):
    """D4RL's datasets by their ids, and HDF5 files in their format."""

    prefix = "d4rl:"
    endings = (".hdf5",)
    usage = ("d4rl:<id>", "<path>.hdf5")
    modes = ("native", "d4rl")

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        reading = Reading(options.mode, options.terminate_on_end)
        if not source.startswith(self.prefix):
            return read(source, source, options.task, reading, options.progress)
        entry = d4rl_index.entry(source.removeprefix(self.prefix))
        path = d4rl_index.obtain(entry, progress=options.progress)
        return read(path, source, options.task or entry.task, reading, options.progress)

    def fetch(self, source: str, options: FetchOptions) -> Path:
        """See `Reader`."""
        if not source.startswith(self.prefix):
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

    def verify(self, source: str, transitions: int | None) -> Iterator[Check]:
        """See `Reader`. The checks do not depend on the task, which the file's name may not name."""
        entry = d4rl_index.entry(source.removeprefix(self.prefix)) if source.startswith(self.prefix) else None
        path = Path(source) if entry is None else d4rl_index.require(entry)
        task = Task(path.name, None, 0.0, 1.0) if entry is None else entry.task
        yield check_file(path)
        yield from verify_dataset(convert(path, source, task, Reading(), progress=False))
        if entry is not None:
            yield from _check_published(path, source, entry)

    def label(self, source: str) -> str:
        """See `Reader`: `medium` for `d4rl:hopper-medium-v2`, and for the file of it."""
        return d4rl_index.label(Path(source.removeprefix(self.prefix)).name) or super().label(source)


def _check_published(path: Path, name: str, entry: d4rl_index.Entry) -> Iterator[Check]:
    """Compare size and returns with the published ones. Raises `DataError` where they differ."""
    published = d4rl_index.PUBLISHED.get(entry.identity)
    if published is None:
        yield Check("published", True, "nothing is published to compare its size and its returns with")
        return
    dataset = convert(path, name, entry.task, Reading("d4rl"), progress=False)
    if len(dataset) != published.transitions:
        raise DataError(
            f"{path}: {len(dataset)} transitions by qlearning_dataset, expected {published.transitions} as published. Delete it "
            "and get it again."
        )
    score, expected = dataset.mean_score(), float(entry.task.score(published.mean_return))
    if abs(score - expected) > d4rl_index.MEAN_SCORE_SLACK:
        raise DataError(
            f"{path}: mean score of the dataset is {score:.2f}, expected {expected:.2f} as published. Delete it and get it again."
        )
    yield Check("published size", True, f"{len(dataset):,} transitions by qlearning_dataset, as published")
    yield Check("published returns", True, f"mean score of the dataset {score:.2f}, published {expected:.2f}")


def read(path: str | Path, name: str, task: Task | None, reading: Reading, progress: bool) -> Dataset:
    """A file in D4RL's format.

    Args:
        path: of the file. Its name, if it is one of D4RL's, determines the task.
        name: what the dataset is called.
        task: environment and reference returns; by default those of the file's name.
        reading: how.
        progress: show a bar.

    Raises:
        FileError: it cannot be read, or the cache cannot be written.
        DataError: damaged, keys missing, unequal lengths, NaN and the like, or its task is unknown.
        EnvironmentMissingError: the bounds of actions, or the time limit that the file lacks, are those of an environment
            that is not installed.
    """
    path = Path(path)
    check_readable(path)
    task = task or _task(path, name)
    low, high = _bounds(task)
    facts = [cache.files_hash([path]), _VERSION, str(reading), _limit(path, task), low.tolist(), high.tolist()]
    key = f"d4rl-{slug(path.stem)}-{reading}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
    dataset = cache.obtain(key, lambda: convert(path, name, task, reading, progress))
    return replace(dataset, name=name, task=task)


def convert(path: Path, name: str, task: Task, reading: Reading, progress: bool) -> Dataset:
    """Read the file itself, past the cache; arguments and errors as for `read`."""
    columns = read_columns(path, name, reading.mode == "native", progress)
    length = len(columns["observations"])
    terminals = flags(name, "terminals", columns["terminals"], length)
    timeouts = flags(name, "timeouts", columns["timeouts"], length) if "timeouts" in columns else None
    # Checked before any row is summed or dropped.
    rewards = column(name, "rewards", columns["rewards"], (1, 1), length)
    limit = None if timeouts is not None else _limit(path, task)
    ends = d4rl_episodes.true_ends(terminals, timeouts, limit)
    low, high = _bounds(task)
    if reading.mode == "native":
        rows = np.arange(length) if "next_observations" in columns else d4rl_episodes.open_rows(ends)
        raw = RawTransitions(
            columns["observations"],
            columns["actions"],
            rewards,
            terminals,
            ends.final & ~terminals,
            columns.get("next_observations"),
            action_low=low,
            action_high=high,
        )
    else:
        if timeouts is None:
            if limit is None:
                raise DataError(
                    f"{name}: expected timeouts, or a task with a time limit, which qlearning_dataset counts by, found "
                    "neither. Read it in mode native, or give a task with an environment."
                )
            seen = d4rl_episodes.d4rl_ends(terminals, timeouts, limit, reading.terminate_on_end)
        else:
            seen = ends
        rows = d4rl_episodes.qlearning_rows(seen, reading.terminate_on_end)
        if not len(rows):
            raise DataError(f"{name}: expected transitions that qlearning_dataset keeps, found none in {length} rows.")
        raw = RawTransitions(**_kept(columns, rewards, seen, rows), action_low=low, action_high=high)
    dataset = Dataset.from_arrays(name, task, raw)
    returns = d4rl_episodes.trajectory_returns(rewards, ends, rows)
    returns.flags.writeable = False
    return replace(dataset, dataset_returns=returns)


def _kept(
    columns: dict[str, NDArray[Any]], rewards: NDArray[np.float32], ends: d4rl_episodes.Ends, rows: NDArray[np.int64]
) -> dict[str, Any]:
    """Columns of the rows that `qlearning_dataset` keeps. The kept part of a trajectory is truncated or terminates."""
    over = ends.terminals | ends.final
    trajectory = np.concatenate(([0], np.cumsum(over[:-1])))
    kept = trajectory[rows]
    starts = np.concatenate(([0], np.flatnonzero(np.diff(kept)) + 1))
    truncations = np.zeros(len(rows), bool)
    # The last trajectory is incomplete unless the file has its end, in a row that is kept or dropped.
    truncations[-1] = bool(over[-1]) or kept[-1] != trajectory[-1]
    terminations = ends.terminals[rows]
    return {
        "observations": columns["observations"][rows],
        "actions": columns["actions"][rows],
        "rewards": rewards[rows],
        "next_observations": columns["observations"][rows + 1],
        "terminations": terminations,
        "truncations": truncations & ~terminations,
        "episode_starts": starts,
    }


def _task(path: Path, name: str) -> Task:
    known = d4rl_index.of_file(path.name)
    if known is None:
        raise DataError(
            f"{name}: expected a known task, found none for a file called {path.name}. Give a task: one of "
            f"{', '.join(task for task in TASKS if task.startswith('d4rl/'))}, or env_id, reference_min and reference_max."
        )
    return known.task


def _limit(path: Path, task: Task) -> int | None:
    """The time limit of the task, if it has one."""
    known = d4rl_index.of_file(path.name)
    entries = [known] if known is not None and known.task == task else d4rl_index.ENTRIES.values()
    limit = next((entry.time_limit for entry in entries if entry.task == task), None)
    if limit is None and task.env_id is not None:
        limit = gymnasium_shapes(task.environment)[1].max_episode_length
    return None if limit is None or limit < 2 else limit


def _bounds(task: Task) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of actions: those of the task's environment; -1 and 1 for D4RL's own tasks and where there is no environment."""
    low, high = np.float64(-1.0), np.float64(1.0)
    if task.env_id is not None and task not in TASKS.values():
        space = environment_spaces(task.environment)[1]
        low, high = getattr(space, "low", low), getattr(space, "high", high)
    return np.asarray(low, np.float64), np.asarray(high, np.float64)
