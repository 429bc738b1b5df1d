"""Reads a user's own arrays, in memory or in an `.npz` file."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.readers.base import Reader, ReadOptions, has_ending, open_file, require_memory
from seqeval_rl.data.readers.layouts import ARRAYS, BOUNDS, CLASSES, OWN, SCALARS, Layout, fitting
from seqeval_rl.data.validation import RawTransitions, numbered, task_of_dataset
from seqeval_rl.environments.spaces import discrete_actions, environment_spaces
from seqeval_rl.environments.tasks import Task, as_bound
from seqeval_rl.errors import DataError, EnvironmentMissingError, SeqevalError
from seqeval_rl.utils.text import file_name

_VERSION = 1  # of the reader; raise it with every change of its result


class NpzReader(Reader):
    """A user's own arrays in an `.npz` file."""

    prefix = OWN.prefix
    endings = (".npz",)
    usage = ("<path>.npz",)
    takes_bounds = True

    def matches(self, source: str) -> bool:
        """See `Reader`."""
        return source.startswith(self.prefix) or (has_ending(source, self.endings) and fits(source, OWN))

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        path = Path(source.removeprefix(self.prefix)).expanduser()
        few = load(path, (*SCALARS, *BOUNDS, CLASSES))
        task, low, high = _surroundings(source, names(path), few, options)
        facts = [cache.files_hash([path]), _VERSION, np.asarray(low).tolist(), np.asarray(high).tolist()]
        facts += [discrete] if (discrete := _discrete(source, few, task, (low, high))) is not None else []
        key = f"npz-{file_name(path.stem, 'data')}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
        dataset = cache.obtain(options.cache_key(key), lambda: _dataset(source, load(path), task, (low, high), options))
        return replace(dataset, name=source, task=task)


def fits(path: str, layout: Layout) -> bool:
    """Whether a file has the arrays of a format; one that cannot be read is left to the reader of a user's own arrays."""
    try:
        return layout in fitting(names(Path(path).expanduser()))
    except SeqevalError:
        return layout is OWN


def from_mapping(columns: Mapping[str, Any], options: ReadOptions) -> Dataset:
    """Arrays in memory, with the keys of such a file; raises as `load_dataset` does."""
    task, *bounds = _surroundings(ARRAYS, columns, columns, options)
    return _dataset(ARRAYS, columns, task, bounds, options)


def _surroundings(
    name: str, keys: Iterable[str], columns: Mapping[str, Any], options: ReadOptions
) -> tuple[Task, Any, Any]:
    """The task and the action bounds, from the file's scalars and from the environment; checks the keys."""
    OWN.check(name, map(str, keys))
    task = options.task or task_of(name, columns, options)
    stated = {key: columns[key] for key in BOUNDS if columns.get(key) is not None and getattr(options, key) is None}
    if stated and task.env_id is not None:
        task = _on_the_same_scale(task, stated)
    bounds = [columns.get(key) if (given := getattr(options, key)) is None else given for key in BOUNDS]
    if any(bound is None for bound in bounds) and task.env_id is not None:
        space = environment_spaces(task.environment)[1]
        own = [getattr(space, side, None) for side in ("low", "high")]
        bounds = [given if given is not None else default for given, default in zip(bounds, own, strict=True)]
    return task, bounds[0], bounds[1]


def _discrete(name: str, columns: Mapping[str, Any], task: Task, bounds: Sequence[Any]) -> tuple[int, int] | None:
    """The first discrete action and how many there are, as the environment says or, without one, `action_classes`; None where
    actions are continuous, as those with bounds are."""
    given = columns.get(CLASSES)
    stated: int | None = None
    if given is not None:
        value = np.asarray(given)
        if value.size != 1 or value.dtype.kind not in "iu":
            raise DataError(
                f"{name}: expected {CLASSES} to be one whole number, found {value.dtype} of shape {value.shape}. Correct it."
            )
        stated = int(value.item())
    if task.env_id is None or all(bound is not None for bound in bounds):
        return None if stated is None else (0, stated)
    space = environment_spaces(task.environment)[1]
    own = discrete_actions(space)
    if stated is not None and (own is None or own[1] != stated):
        raise DataError(
            f"{name}: {CLASSES} is {stated}, expected {space} as in {task.env_id}. Correct it, or name the right task."
        )
    return own


def _on_the_same_scale(task: Task, bounds: Mapping[str, Any]) -> Task:
    """The task whose environment gets actions scaled by the data's own bounds, where these differ from the environment's."""
    try:
        space = environment_spaces(task.environment)[1]
        same = all(np.allclose(bound, getattr(space, key.removeprefix("action_"))) for key, bound in bounds.items())
        return task if same else task.override(None, *(as_bound(bounds.get(key)) for key in BOUNDS))
    except (EnvironmentMissingError, AttributeError, ValueError, TypeError):
        return task  # what is wrong is said by whatever needs the environment, or scales the actions


def _dataset(name: str, columns: Mapping[str, Any], task: Task, bounds: Sequence[Any], options: ReadOptions) -> Dataset:
    optional: dict[str, Any] = {key: columns.get(key) for key in ("next_observations", "episode_starts")}
    optional |= dict(zip(BOUNDS, bounds, strict=True))
    arrays = {key: columns[key] for key in OWN.required}
    if (discrete := _discrete(name, columns, task, bounds)) is not None:
        arrays["actions"] = numbered(name, arrays["actions"], discrete[0])
        optional[CLASSES] = discrete[1]
    raw = RawTransitions(**arrays, **optional)
    return Dataset.from_arrays(name, task, options.bounded(raw))


def names(path: str | Path) -> list[str]:
    """The names of the arrays in a file; raises as `load` does."""
    with _opened(path) as file:
        return list(file.files)


def load(path: str | Path, wanted: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a file, or those of the wanted ones that it has.

    Raises:
        FileError: no such file, or it may not be read.
        DataError: it is damaged, or holds something else than plain arrays.
    """
    with _opened(path) as file:
        keys = [key for key in file.files if wanted is None or key in wanted]
        _check_declared(path, file.zip, keys)
        return {key: file[key] for key in keys}


def _check_declared(path: str | Path, archive: zipfile.ZipFile, keys: Collection[str]) -> None:
    """Raise where arrays declare more than is in the file (`DataError`), or than fits into memory (`FileError`)."""
    members = [archive.getinfo(name if (name := f"{key}.npy") in archive.namelist() else key) for key in keys]
    require_memory(path, sum(member.file_size for member in members))
    for key, member in zip(keys, members, strict=True):
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)
        if math.prod(shape) * dtype.itemsize > member.file_size:
            raise DataError(
                f"{path}: expected {key} of shape {shape} as it declares, found {member.file_size:,} bytes. The file is damaged: "
                "delete it and get it again, or write it again."
            )


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    # numpy does not close a damaged file that it opened itself.
    with open_file(Path(path), "an .npz file of plain arrays") as stream, np.load(stream, allow_pickle=False) as file:
        yield file


def task_of(name: str, columns: Mapping[str, Any], options: ReadOptions, environment: str | None = None) -> Task:
    """The task of the dataset `name`, from the scalars among its arrays; `environment` is its id where they do not say it.

    Raises:
        DataError: a scalar is not one name or number, one reference return is without the other, or the environment is not to be
            trusted.
    """
    found: dict[str, Any] = {}
    for key in SCALARS:
        if columns.get(key) is not None:
            value = np.asarray(columns[key])
            if value.size != 1 or value.dtype.kind not in ("U" if key == "env_id" else "fiu"):
                expected = "one name" if key == "env_id" else "one number"
                raise DataError(
                    f"{name}: expected {key} to be {expected}, found {value.dtype} of shape {value.shape}. Correct it."
                )
            found[key] = value.item()
    env_id, low, high = (found.get(key) for key in SCALARS)
    how = "Add the other one, or leave it out."
    return task_of_dataset(name, env_id or environment, low, high, how, trusted=options.trust_environments)
