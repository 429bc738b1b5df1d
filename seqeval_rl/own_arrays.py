"""Your own arrays, in memory or in an `.npz` file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl import cache, npz_files
from seqeval_rl.dataset import Dataset
from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError
from seqeval_rl.log_environment import task_of_log
from seqeval_rl.utils.text import slug

_REQUIRED = ("observations", "actions", "rewards", "terminations", "truncations")
_SCALARS = ("env_id", "reference_min", "reference_max")
_BOUNDS = ("action_low", "action_high")
_OPTIONAL = ("next_observations", "episode_starts", *_SCALARS, *_BOUNDS)
_VERSION = 0  # of the reader: to be raised by whatever changes what it makes of a file


def from_mapping(columns: Mapping[str, Any], task: Task | None) -> Dataset:
    """Arrays in memory, with the keys of such a file; raises as `read_npz` does."""
    return _dataset("arrays", columns, *_surroundings("arrays", columns, columns, task))


def read_npz(path: str, task: Task | None) -> Dataset:
    """A file, through the flat cache.

    Raises:
        FileError: it cannot be read.
        DataError: damaged, keys missing or unknown, or what `Dataset.from_arrays` refuses.
        EnvironmentMissingError: no action bounds, and the environment is not installed.
    """
    few = npz_files.load(path, (*_SCALARS, *_BOUNDS))
    task, low, high = _surroundings(path, npz_files.names(path), few, task)
    facts = [cache.files_hash([Path(path)]), _VERSION, np.asarray(low).tolist(), np.asarray(high).tolist()]
    key = f"npz-{slug(Path(path).stem)}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
    dataset = cache.obtain(key, lambda: _dataset(path, npz_files.load(path), task, low, high))
    return replace(dataset, name=path, task=task)


def _surroundings(
    name: str, keys: Iterable[str], columns: Mapping[str, Any], task: Task | None
) -> tuple[Task, Any, Any]:
    """The task and the bounds of actions, from what stands beside the columns and from the environment; checks the keys."""
    keys = list(keys)
    missing = [key for key in _REQUIRED if key not in keys]
    extra = [str(key) for key in keys if key not in (*_REQUIRED, *_OPTIONAL)]
    if missing or extra:
        found = " and ".join(
            f"{what} {', '.join(keys)}" for what, keys in (("no", missing), ("the unknown", extra)) if keys
        )
        raise DataError(
            f"{name}: expected arrays {', '.join(_REQUIRED)} and perhaps {', '.join(_OPTIONAL)}, found {found}. "
            "Rename or leave out."
        )
    if task is None:
        env_id, low, high = (npz_files.scalar(name, key, columns) for key in _SCALARS)
        how = "Give a task, or add env_id, reference_min and reference_max."
        task = task_of_log(name, env_id, low, high, how)
    bounds = [columns.get(key) for key in _BOUNDS]
    if any(bound is None for bound in bounds) and task.env_id is not None:
        space = environment_spaces(task.environment)[1]
        own = [getattr(space, side, None) for side in ("low", "high")]
        bounds = [given if given is not None else default for given, default in zip(bounds, own, strict=True)]
    return task, bounds[0], bounds[1]


def _dataset(name: str, columns: Mapping[str, Any], task: Task, low: Any, high: Any) -> Dataset:
    return Dataset.from_arrays(
        name,
        task,
        **{key: columns[key] for key in _REQUIRED},
        next_observations=columns.get("next_observations"),
        episode_starts=columns.get("episode_starts"),
        action_low=low,
        action_high=high,
    )
