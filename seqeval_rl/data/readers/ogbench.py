"""Reads OGBench's `.npz` files (Park et al., arXiv 2410.20092), as downloaded and as its package returns them.

`terminals` mark the ends of trajectories, not terminal states. Terminal states are where `masks` are 0, also inside a
trajectory, which then continues. Rows come in three layouts. In a downloaded file, T transitions are T + 1 rows; the last,
where `terminals` is 1, holds only the last observation; with `valids` (a "compact" dataset) that last row is where `valids`
is 0; with `next_observations` (a "regular" one) each row is a transition.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.download import download, hub_address, sources
from seqeval_rl.data.images import Pixels, are_images
from seqeval_rl.data.readers import npz
from seqeval_rl.data.readers.base import FetchOptions, Reader, ReadOptions, has_ending
from seqeval_rl.data.readers.layouts import OGBENCH, SCALARS
from seqeval_rl.data.validation import RawTransitions, check_length, flags, no_transitions
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, EnvironmentMissingError, UsageError, writing
from seqeval_rl.utils.failures import cause_of
from seqeval_rl.utils.files import atomic_path, lock_file, require_room
from seqeval_rl.utils.text import file_name, first_line

_SERVER = "https://rail.eecs.berkeley.edu/datasets/ogbench"
# A dataset repository of the Hugging Face Hub with the same files: one of OGBench's authors names it in OGBench's issue 49.
_COPY = "zhouzypaul/ogbench_datasets"
# Bytes and SHA-256 of files on OGBench's server, as several users have recorded them. OGBench publishes none.
_KNOWN = {
    "antmaze-large-navigate-v0": (242877817, "2dbe946ac107ca5ac524f82f7a72efa951ceab0be915201d6b32e612d823f2e7"),
    "cube-double-play-v0": (297435656, "a73d1a33d029cedb8bc170ef94791ec585fa2d9450096f4f2a02b8cfbcf608c9"),
}
_EXAMPLE = "antmaze-large-navigate-singletask-v0"


class OgbenchReader(Reader):
    """OGBench's single-task datasets by their names, and `.npz` files in OGBench's layout.

    The task is by default that in the file's `env_id`, `reference_min` and `reference_max`; a name of OGBench's is enough for the
    environment.
    """

    prefix = "ogbench:"
    endings = (".npz",)
    usage = ("ogbench:<name>",)
    takes_bounds = True

    def matches(self, source: str) -> bool:
        """See `Reader`."""
        return source.startswith(self.prefix) or (has_ending(source, self.endings) and npz.fits(source, OGBENCH))

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        path = self.path_in(source) or _obtain(source.removeprefix(self.prefix), options.progress)
        keys = npz.names(path)
        OGBENCH.check(source, keys)
        if "rewards" not in keys:
            raise _without_rewards(source, path.stem, "a file without. ")
        task = options.task or npz.task_of(source, npz.load(path, SCALARS), options, environment_of(path.stem))
        key = f"ogbench-{file_name(path.stem, 'data')}-{cache.files_hash([path])[:16]}"
        dataset = cache.obtain(options.cache_key(key), lambda: _convert(path, source, task, options))
        return replace(dataset, name=source, task=task)

    def fetch(self, source: str, options: FetchOptions) -> Path:
        """See `Reader`."""
        path = self.path_in(source) or _obtain(source.removeprefix(self.prefix), options.progress, options.offline)
        return super().fetch(str(path), options)


def _obtain(name: str, progress: bool = True, offline: bool | None = None) -> Path:
    """The file of a single-task dataset, in the directory of OGBench's package; computed where it is not on this machine.

    Rewards are not published. OGBench's package computes them from the goal-conditioned file, which is downloaded from OGBench's
    server or a public copy, or from the mirrors in `SEQEVAL_OGBENCH_MIRROR`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageError(f"dataset ogbench:{name}: expected a name such as {_EXAMPLE}. Correct it.")
    path = Path.home() / ".ogbench" / "data" / f"{name}.npz"
    if path.is_file():
        return path
    environment = environment_of(name)
    if environment is None or "singletask" not in name.split("-"):
        near = difflib.get_close_matches(name, [file.stem for file in path.parent.glob("*.npz")], n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise _without_rewards(f"ogbench:{name}", name, f"a name without a task, and no {path}. {hint}")
    if importlib.util.find_spec("ogbench") is None:
        raise EnvironmentMissingError(
            f"dataset ogbench:{name}: expected {path}, or OGBench's package, which computes its rewards, found neither. "
            "pip install ogbench."
        )
    *parts, version = name.split("-")
    goals = "-".join([*parts[: parts.index("singletask")], version])
    file = f"{goals}.npz"
    addresses = sources("SEQEVAL_OGBENCH_MIRROR", file, [f"{_SERVER}/{file}", hub_address(_COPY, file)])
    size, sha256 = _KNOWN.get(goals, (None, None))
    found = download(addresses, path.with_stem(goals), sha256, offline, progress, size=size, check=_check_rows)
    _write_with_rewards(found, path, environment)
    return path


def _check_rows(path: Path) -> None:
    """Raise `DataError` unless a file is goal-conditioned data of OGBench's, with all of its arrays and equal lengths."""
    columns = npz.load(path, OGBENCH.required)
    missing = sorted({*OGBENCH.required} - columns.keys())
    if missing:
        raise DataError(f"expected arrays {', '.join(OGBENCH.required)}, found no {missing[0]}")
    for key, column in columns.items():
        check_length("the file", key, column, len(columns["observations"]))


def _write_with_rewards(goals: Path, path: Path, environment: str) -> None:
    """Write the file with rewards and masks next to it, atomically."""
    from ogbench.relabel_utils import relabel_dataset

    from seqeval_rl.environments.spaces import open_environment

    columns: dict[str, Any] = npz.load(goals, (*OGBENCH.required, "qpos", "button_states"))
    try:
        with open_environment(environment) as env:
            relabel_dataset(environment.removeprefix("ogbench:"), env, columns)
    except Exception as error:  # OGBench's code may raise anything for an unexpected file
        if isinstance(error, (ImportError, MemoryError, OSError)) and (cause := cause_of(error)) is not None:
            raise EnvironmentMissingError(
                f"dataset {path.stem}: OGBench's package cannot compute its rewards: {cause.what}. {cause.remedy}"
            ) from error
        raise DataError(
            f"{goals}: expected a dataset whose rewards OGBench's package can compute for {environment}, found "
            f"{first_line(error)}. Check that this is OGBench's file of that name, and the version of the package."
        ) from error
    kept = {key: columns[key] for key in (*OGBENCH.required, "rewards", "masks")}
    with writing(path, "Make room there."):
        require_room(path.parent, sum(np.asarray(column).nbytes for column in kept.values()))
        with lock_file(path.with_name(f".{path.name}.lock")), atomic_path(path) as temporary:
            np.savez(temporary, **kept)


def environment_of(name: str) -> str | None:
    """Gymnasium's id of the environment of one of OGBench's datasets, or None. It is the name without the kind of data.

    `antmaze-large-navigate-v0` is of `antmaze-large-v0`, and `cube-single-play-singletask-task2-v0` of
    `cube-single-singletask-task2-v0`.
    """
    parts = name.removesuffix("-val").split("-")
    kind = parts.index("singletask") - 1 if "singletask" in parts else len(parts) - 2
    if kind < 1 or not re.fullmatch(r"v\d+", parts[-1]):
        return None
    # With the module that registers it.
    return "ogbench:" + "-".join(parts[:kind] + parts[kind + 1 :])


def _without_rewards(where: str, name: str, found: str) -> DataError:
    """The error for goal-conditioned data."""
    parts = name.split("-")
    single = "-".join([*parts[:-1], "singletask", parts[-1]]) if environment_of(name) else _EXAMPLE
    return DataError(
        f"{where}: expected rewards, which goal-conditioned data lack, found {found}Name a task, such as ogbench:{single}, "
        "or add rewards (and masks, 0 where a transition ends in a terminal state) to the file."
    )


def _convert(path: Path, name: str, task: Task, options: ReadOptions) -> Dataset:
    columns = npz.load(path, OGBENCH.columns)
    observations = columns["observations"]
    if observations.ndim < 2 or not len(observations):
        found = f"{observations.dtype} of shape {observations.shape}"
        raise DataError(
            f"{name}: expected observations [N, *obs_shape] of at least one row, found {found}. Write it again."
        )
    if observations.ndim > 2 and not are_images(observations):
        raise DataError(
            f"{name}: observations are {observations.dtype} images, expected uint8 from 0 to 255. Convert them."
        )
    length = len(observations)
    for key in columns:
        check_length(name, key, columns[key], length)
    # Rows that are transitions, and of each whether its trajectory ends with it.
    if "next_observations" in columns:
        rows, ends = np.arange(length), flags(name, "terminals", columns["terminals"], length)
    else:
        over = (
            ~flags(name, "valids", columns["valids"], length)
            if "valids" in columns
            else flags(name, "terminals", columns["terminals"], length)
        )
        rows = np.flatnonzero(~over[:-1])  # a last row that does not end a trajectory has no next observation either
        ends = over[rows + 1]
    if not len(rows):
        raise no_transitions(name)
    terminated = np.zeros(len(rows), bool)
    if "masks" in columns:
        terminated = ~flags(name, "masks", columns["masks"][rows], len(rows))
    table: dict[str, Any] = {
        "actions": columns["actions"][rows],
        "rewards": columns["rewards"][rows],
        "terminations": terminated,
        "truncations": ends & ~terminated,
        "episode_starts": np.unique(np.concatenate(([0], np.flatnonzero(ends[:-1]) + 1))),
    }
    if "next_observations" in columns:
        raw = RawTransitions(observations, next_observations=columns["next_observations"], **table)
    elif are_images(observations):
        raw = RawTransitions(Pixels(observations, np.stack([rows, rows, rows + 1], 1)), **table)
    else:
        raw = RawTransitions(observations[rows], next_observations=observations[rows + 1], **table)
    return Dataset.from_arrays(name, task, options.bounded(raw))
