"""Reads V-D4RL (Lu et al., arXiv 2206.04779): images of dm_control, in directories of HDF5 shards or of one `.npz` per episode.

An action, its reward and discount are in the row of the observation that they lead to; those in the first row of an episode
are ignored. An observation is a stack of the newest three images, as for V-D4RL's own agents on 84 pixels. Each action was
repeated twice, and the reward is the sum.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.images import of_trails
from seqeval_rl.data.readers import hdf5, npz
from seqeval_rl.data.readers.base import HDF5_ENDINGS, Reader, ReadOptions, has_ending, open_file, unreadable
from seqeval_rl.data.readers.d4rl_file import keys_of
from seqeval_rl.data.readers.layouts import Layout
from seqeval_rl.data.validation import RawTransitions, check_length, column, flags, image_column, no_transitions
from seqeval_rl.environments.tasks import (
    TASKS,
    UNKNOWN,
    VISION_REPEAT,
    VISION_RETURNS,
    VISION_STACK,
    VISION_TASKS,
    Task,
)
from seqeval_rl.errors import DataError
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.text import file_name, some

# Directories of V-D4RL whose data come from environments that were changed, which are not those of the tasks.
_CHANGED = ("distracting", "multitask")

_KINDS = {".hdf5": HDF5_ENDINGS, ".npz": (".npz",)}
_LAYOUTS = {
    ".hdf5": Layout("vd4rl:", ("observation", "action", "reward", "discount", "step_type"), (), ()),
    ".npz": Layout("vd4rl:", ("image", "action", "reward"), ("discount", "is_first", "is_last", "is_terminal"), ()),
}
_KIND = "arrays as V-D4RL has them"
_FIRST, _LAST = 0, 2  # values of dm_env's step_type; between them 1
# One or more episodes: image [F, C, H, W], action [F, act_dim]; reward, discount, first and last [F].
Columns = dict[str, NDArray[Any]]


class Vd4rlReader(Reader):
    """A directory of V-D4RL, with `*.hdf5` or `*.npz`, for example `vd4rl_data/main/walker_walk/random/84px`.

    The task is by default the one that the path names, see `environments.dm_control_tasks`.
    """

    prefix = "vd4rl:"
    usage = ("vd4rl:<directory>",)
    takes_bounds = True
    single_file = False

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        path = Path(source.removeprefix(self.prefix)).expanduser()
        files = _files(source, path)
        kind = ".hdf5" if has_ending(files[0].name, HDF5_ENDINGS) else ".npz"
        _LAYOUTS[kind].name_unused(source, sorted(keys_of(files[0])))
        key = f"vd4rl-{file_name('-'.join(path.absolute().parts[-3:]), 'data')}-{cache.files_hash(files)[:16]}"
        dataset = cache.obtain(options.cache_key(key), lambda: _convert(source, files, options))
        return replace(dataset, name=source, task=options.task or _task(path, dataset.obs_shape[-1]))

    def label(self, source: str) -> str:
        """See `Reader`: the directory, without the one that names the size of images."""
        return super().label(re.sub(r"(?<=/)(84|64)px/?$", "", source))


def _files(name: str, path: Path) -> list[Path]:
    """The shards or episodes in their order, which is that of the numbers in their names."""
    try:
        inside = list(path.iterdir())
    except OSError as error:
        raise unreadable(f"dataset {name}", "a directory of *.hdf5 or *.npz", error) from error
    found = {kind: [file for file in inside if has_ending(file.name, endings)] for kind, endings in _KINDS.items()}
    if all(found.values()):
        raise DataError(f"{name}: expected either *.hdf5 or *.npz, found both. Move one kind elsewhere.")
    if not any(found.values()):
        there = (file for file in path.glob("*/*") if has_ending(file.name, (*HDF5_ENDINGS, ".npz")))
        below = sorted({file.parent.relative_to(path) for file in there})
        what = f"in {some(below)}: name one of these" if below else "check the path"
        raise DataError(f"{name}: expected *.hdf5 or *.npz in this directory, found none; {what}.")
    return sorted(found[".hdf5"] or found[".npz"], key=_numbers)


def _numbers(file: Path) -> list[Any]:
    """Sorts 2.hdf5 before 10.hdf5."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]


def _task(path: Path, side: int) -> Task:
    """The task that a path names, for images of so many pixels on a side."""
    parts = path.absolute().parts
    named = next((part for part in reversed(parts) if part in VISION_TASKS), None)
    if named is None:
        return Task(UNKNOWN, None)
    if {*parts} & {*_CHANGED}:
        return Task(named, None, *VISION_RETURNS)
    return TASKS.get(f"{named}-{side}px", TASKS[named])


def _convert(name: str, files: list[Path], options: ReadOptions) -> Dataset:
    load = _shard if has_ending(files[0].name, HDF5_ENDINGS) else _episode
    frames: NDArray[np.uint8] | None = None
    parts: list[Columns] = []
    lengths = [_guarded(file, _rows_of) for file in files]
    with progress_bar(name, sum(lengths), options.progress) as bar:
        for number, (file, length) in enumerate(zip(files, lengths, strict=True)):
            part = _guarded(file, load)
            images = image_column(str(file), "images", part.pop("image"))
            for key in part:
                check_length(str(file), key, part[key], len(images), "images")
            if frames is None:
                frames = np.empty((sum(lengths), *images.shape[1:]), np.uint8)
            if images.shape != (length, *frames.shape[1:]):
                raise DataError(
                    f"{file}: images have shape {images.shape}, expected {(length, *frames.shape[1:])} as in {files[0].name}. "
                    "Move files of other datasets elsewhere."
                )
            start = sum(lengths[:number])
            frames[start : start + length] = images
            parts.append(part)
            bar.update(length)
    assert frames is not None
    try:
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    except ValueError as error:
        raise DataError(f"{name}: expected actions of one shape in all files, found others. Write it again.") from error
    return _dataset(name, options, frames, columns)


def _dataset(name: str, options: ReadOptions, frames: NDArray[np.uint8], columns: Columns) -> Dataset:
    first, last = columns["first"], columns["last"]
    begins = np.append(first[1:], True)  # the next row belongs to another episode
    if not first[0] or (last & ~begins).any():
        row = int(np.flatnonzero(last & ~begins)[0]) + 1 if first[0] else 0
        raise DataError(f"{name}: row {row} continues an episode without a first row, expected one. Get it again.")
    pixels = of_trails(frames, np.diff(np.append(np.flatnonzero(first), len(frames))), VISION_STACK)
    if not len(pixels):
        raise no_transitions(name)
    origin, newest, reached = pixels.index.T
    terminated = column(name, "discount", columns["discount"][reached], (1, 1)) == 0
    raw = RawTransitions(
        pixels,
        columns["action"][reached],
        columns["reward"][reached],
        terminated,
        last[reached] & ~terminated,
        episode_starts=np.flatnonzero(newest == origin),
    )
    return Dataset.from_arrays(name, Task(UNKNOWN, None), options.bounded(raw), VISION_REPEAT)


def _shard(file: Path) -> Columns:
    """Episodes of 84 x 84 images, in the format of DrQ-v2's code."""
    with hdf5.opened(file, _KIND) as stored:
        names = ("observation", "action", "reward", "discount", "step_type")
        hdf5.check_memory(file, (stored[key] for key in names))
        if missing := [key for key in names if not hdf5.is_whole(stored[key])]:
            raise DataError(f"{file}: parts of {missing[0]} are missing in the file, expected all of it. Get it again.")
        found = {key: stored[key][:] for key in names}
    kinds = found.pop("step_type")
    if not np.isin(kinds, (0, 1, 2)).all():
        raise DataError(
            f"{file}: expected step_type to be 0, 1 or 2 (first, middle, last), found others. Get it again."
        )
    return {"image": found.pop("observation"), **found, "first": kinds == _FIRST, "last": kinds == _LAST}


def _episode(file: Path) -> Columns:
    """An episode of 64 x 64 images, in the format of Dreamer's code."""
    found = npz.load(file)
    if "discount" not in found and "is_terminal" in found:
        found["discount"] = 1.0 - found["is_terminal"].astype(np.float32)
    image, length = found["image"], len(found["reward"])
    expected = np.arange(length)
    columns = {key: found[key] for key in ("action", "reward", "discount")}
    for key, alone in (("first", expected == 0), ("last", expected == length - 1)):
        given = flags(str(file), f"is_{key}", found.get(f"is_{key}", alone), length)
        if key == "first" and (given != alone).any():
            raise DataError(
                f"{file}: expected one episode with is_first in its first row alone, found others. Get it again."
            )
        columns[key] = given
    return {"image": np.moveaxis(image, -1, 1) if image.ndim == 4 else image, **columns}


def _rows_of(file: Path) -> int:
    """Rows in a file."""
    if has_ending(file.name, (".npz",)):
        return len(npz.load(file, ["reward"])["reward"])
    with hdf5.opened(file, _KIND) as stored:
        return len(stored["reward"])


def _guarded(file: Path, load: Callable[[Path], Any]) -> Any:
    with open_file(file, _KIND):
        return load(file)
