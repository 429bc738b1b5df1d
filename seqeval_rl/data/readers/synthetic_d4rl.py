"""Synthetic datasets in D4RL's format: small HDF5 files like D4RL's, rolled out here from the bundled behavior policies.

They are for tests and for suites run with `--mini`: they are read like D4RL's own files and belong to the same environments. They
say nothing about D4RL's data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.episodes import Episode, columns_of, cut_to
from seqeval_rl.data.readers import bundled, d4rl_index
from seqeval_rl.data.readers.base import FetchOptions, Reader, ReadOptions
from seqeval_rl.data.readers.d4rl import read
from seqeval_rl.data.readers.d4rl_index import Entry
from seqeval_rl.data.rollouts import Chunk, WorkerPool, episodes, time_limit
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import UsageError, unknown, writing
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.files import atomic_path

PREFIX = "synthetic:d4rl/"
LARGEST = 100_000  # rows; for larger datasets use `bundled/`
_LEVELS = ("random", "medium", "expert", "medium-replay", "medium-expert")
_VERSION = 0  # of the files' contents: to be raised by whatever changes them


class SyntheticD4rlReader(Reader):
    """Synthetic data in D4RL's format; the size in the source is that of the file."""

    prefix = "synthetic:"
    usage = ("synthetic:d4rl/<id>:<N>",)
    modes = ("native", "d4rl")
    single_file = False
    builds_to_size = True

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        path, entry = build(source, options.transitions, options.progress)
        # Rolling it out shows a bar; reading so small a file takes no time.
        options = replace(options, task=options.task or entry.task, progress=False)
        return read(path, f"{source}:{options.transitions}", options)

    def fetch(self, source: str, options: FetchOptions) -> Path:
        """See `Reader`."""
        return build(source, options.transitions, options.progress)[0]

    def label(self, source: str) -> str:
        """See `Reader`."""
        return d4rl_index.label(source.rpartition("/")[2]) or super().label(source)


def names() -> list[str]:
    """Every dataset of D4RL with a synthetic counterpart, `synthetic:d4rl/<id>`."""
    tasks = [task for task in sorted(bundled.behaviors()) if f"d4rl/{task}" in TASKS]
    return [f"{PREFIX}{task}-{level}-v2" for task in tasks for level in _LEVELS]


def build(name: str, rows: int | None, progress: bool = True) -> tuple[Path, Entry]:
    """The file, rolled out where it is not there, and the dataset of D4RL that it is like.

    `medium-replay` goes through the training run's checkpoints up to the medium one, `medium-expert` is half and half. The
    last trajectory is cut where the file is full.

    Args:
        name: "synthetic:d4rl/hopper-medium-v2".
        rows: of the file, at most 100 000; in mode `d4rl` fewer are transitions.
        progress: show a bar.

    Raises:
        UsageError: unknown, or no size or one that is out of range.
        FileError: the cache cannot be written.
        EnvironmentMissingError: MuJoCo's environments are not installed.
    """
    if name not in names():
        raise unknown("synthetic dataset", name, names())
    if rows is None or not 2 <= rows <= LARGEST:
        found = "none" if rows is None else rows
        raise UsageError(
            f"{name}: expected 2 to {LARGEST} rows behind ':', found {found}. Write {name}:600, for example."
        )
    entry = d4rl_index.entry(name.removeprefix(PREFIX))
    # Folder and lock keep the name that the prefix had before, `made:`, so that files of then are found.
    path = cache.root() / "made" / f"{entry.identity}-{rows}-{_VERSION}.hdf5"
    if not path.is_file():
        with cache.lock(f"made-{path.stem}"):
            if not path.is_file():  # another process may have built it while this one waited
                trail = list(_episodes(entry, rows, f"{name}:{rows}", progress))
                _write(path, columns_of(trail, time_limit(str(entry.task.environment))))
    return path, entry


def _episodes(entry: Entry, rows: int, name: str, progress: bool) -> Iterator[Episode]:
    """Episodes of `rows` transitions together; the last one of each policy is cut to fit."""
    task, _, level = entry.identity.removesuffix("-v2").partition("-")
    behavior = bundled.behaviors()[task]
    replay, medium = behavior["replay"], behavior["medium"]
    policies: list[tuple[str, str | None]] = {
        "random": [("random", None)],
        "medium-replay": [("replay", checkpoint) for checkpoint in replay[: replay.index(medium[0]) + 1]],
        "medium-expert": [("medium", medium[0]), ("expert", behavior["expert"][0])],
    }.get(level, [(level, checkpoint) for checkpoint in behavior.get(level, [])])
    boundaries = [round(rows * number / len(policies)) for number in range(len(policies) + 1)]
    with WorkerPool(1) as pool, progress_bar(name, rows, progress) as bar:
        for (kind, checkpoint), share in zip(policies, np.diff(boundaries).tolist(), strict=True):
            chunks = (Chunk(task, str(entry.task.environment), kind, checkpoint, index) for index in count())
            for episode in cut_to(episodes(chunks, pool, share, 1.0), share):
                yield episode
                bar.update(len(episode.rewards))


def _write(path: Path, columns: dict[str, Any]) -> None:
    """Write the file atomically."""
    # Where the next policy starts, the trajectory ends too, without a terminal state.
    names = {"terminations": "terminals", "truncations": "timeouts"}
    with (
        writing(path, "Set SEQEVAL_CACHE to a directory with room."),
        atomic_path(path) as partial,
        h5py.File(partial, "w") as file,
    ):
        for key, values in columns.items():
            stored = values.astype(np.float32) if values.dtype == np.float64 else values
            if key != "episode_starts":
                file.create_dataset(names.get(key, key), data=stored, compression="gzip")
