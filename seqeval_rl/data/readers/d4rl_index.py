"""D4RL's datasets (Fu et al., 2020, arXiv 2004.07219): their files and where these come from, tasks, time limits and published
statistics."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from seqeval_rl.data import cache
from seqeval_rl.data.download import download, hub_address, sources
from seqeval_rl.data.hashes import check_sha256
from seqeval_rl.data.readers import hdf5
from seqeval_rl.data.readers.base import HDF5_ENDINGS, has_ending
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, FileError, unknown

_SERVER = "https://rail.eecs.berkeley.edu/datasets/offline_rl"
_COPY = "imone/D4RL"  # a dataset repository of the Hugging Face Hub with the same files, without their folders


class Published(NamedTuple):
    """Published statistics of a dataset; sizes are exact, for the means see `MEAN_SCORE_SLACK`."""

    transitions: int  # by d4rl's `qlearning_dataset`
    mean_return: float  # of its trajectories


class Entry(NamedTuple):
    """A dataset of D4RL."""

    identity: str  # for example "hopper-medium-v2"
    path: str  # of its HDF5 file under the server's root
    task: Task
    time_limit: int  # transitions after which D4RL's environment ends an episode
    published: Published | None
    observations: int  # dimensions
    actions: int  # dimensions
    # Of the file on D4RL's server, as TensorFlow Datasets has recorded them (antmaze-medium-play, relocate-cloned and kitchen: as
    # several users have); None: not known.
    size: int | None = None  # bytes
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """The file's name on this machine, as the d4rl package names it."""
        return self.path.rpartition("/")[2]

    @property
    def cached(self) -> int:
        """Bytes of its entry in the cache; 0 where the number of its transitions is not published."""
        width = 2 * self.observations + self.actions + 2
        return 0 if self.published is None else 4 * width * self.published.transitions


def _entries() -> Iterator[Entry]:
    with (resources.files(__package__) / "d4rl.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            size, mean_return = row["transitions"], row["mean_return"]
            published = Published(int(size), float(mean_return)) if size else None
            yield Entry(
                *(row["identity"], row["path"], TASKS[row["task"]], int(row["time_limit"]), published),
                *(int(row["observations"]), int(row["actions"]), int(row["bytes"] or 0) or None, row["sha256"] or None),
            )


ENTRIES = {entry.identity: entry for entry in _entries()}
# How far a dataset's mean score may be from the published one, in points of the score. The published means are 0.1 to 0.2 % below
# those of complete trajectories, as if one empty trajectory were among them and the time limits' rows missing.
MEAN_SCORE_SLACK = 0.5


def identities() -> list[str]:
    """Every known dataset, `d4rl:<id>`."""
    return [f"d4rl:{identity}" for identity in ENTRIES]


def entry(identity: str) -> Entry:
    """The dataset of that id, without the `d4rl:`; raises `UsageError` with the nearest ids."""
    if identity not in ENTRIES:
        raise unknown("dataset", f"d4rl:{identity}", identities())
    return ENTRIES[identity]


def of_file(name: str) -> Entry | None:
    """The dataset whose file has that name, if there is one."""
    for ending in HDF5_ENDINGS:
        if has_ending(name, (ending,)):
            name = f"{name[: -len(ending)]}.hdf5"
    return next((found for found in ENTRIES.values() if found.file_name == name), None)


def continues_at_goal(name: str, task: Task) -> bool:
    """Whether terminal rows end no trajectory, in a file of that name and of that task: so it is in D4RL's antmaze."""
    known = of_file(name)
    return any(one.name.startswith("d4rl/antmaze") for one in (task, *([known.task] if known else ())))


def folders() -> list[Path]:
    """The paths at which its file is searched: in the d4rl package's directory, then among this package's downloads."""
    package = os.environ.get("D4RL_DATASET_DIR") or Path.home() / ".d4rl" / "datasets"
    return [Path(package).expanduser(), cache.root() / "downloads" / "d4rl"]


def find(found: Entry) -> Path | None:
    """The dataset's file on this machine, or None."""
    return next((path for folder in folders() if (path := folder / found.file_name).is_file()), None)


def require(found: Entry) -> Path:
    """The dataset's file on this machine; raises `FileError` where there is none."""
    path = find(found)
    if path is None:
        places = " or ".join(str(folder) for folder in folders())
        name = f"d4rl:{found.identity}"
        raise FileError(
            f"dataset {name}: expected {found.file_name} in {places}, found none. `seqeval datasets fetch {name}`."
        )
    return path


def label(name: str) -> str | None:
    """Its short name among datasets of its task, `medium` of `hopper-medium-v2` or of its file's name; None: unknown."""
    found = of_file(name) or ENTRIES.get(name)
    if found is None:
        return None
    level = found.identity.rpartition("-")[0].removeprefix(found.task.name.removeprefix("d4rl/"))
    return level.lstrip("-") or found.identity


def local() -> list[str]:
    """The datasets whose files are on this machine, `d4rl:<id>`."""
    return [f"d4rl:{found.identity}" for found in ENTRIES.values() if find(found) is not None]


def addresses(found: Entry) -> list[str]:
    """Where its file comes from, in this order: the mirrors in `SEQEVAL_D4RL_MIRROR`; else D4RL's server and a public copy.

    Raises as `download.sources` does.
    """
    public = [f"{_SERVER}/{found.path}", hub_address(_COPY, found.file_name)]
    return sources("SEQEVAL_D4RL_MIRROR", found.path, public)


def obtain(
    found: Entry, sha256: str | None = None, offline: bool | None = None, progress: bool = True, afterwards: int = 0
) -> Path:
    """The dataset's file, downloaded where it is not on this machine; see `data.download.download`.

    A download must have the SHA-256 of the file on D4RL's server; where that is not known, observations and actions of the
    task's dimensions.
    """
    path = find(found)
    if path is None:
        place, known = folders()[-1] / found.file_name, sha256 or found.sha256
        return download(
            *(addresses(found), place, known, offline, progress),
            size=None if sha256 else found.size,
            check=None if known else lambda partial: _check_dimensions(found, partial),
            afterwards=afterwards,
        )
    if sha256 is not None:
        check_sha256(path, sha256)
    return path


def _check_dimensions(found: Entry, path: Path) -> None:
    """Raise `DataError` unless a file has rows of the dataset's dimensions."""
    with hdf5.opened(path) as file:
        shapes = [getattr(file.get(key), "shape", None) for key in ("observations", "actions")]
    expected = [found.observations, found.actions]
    rows = {shape[0] for shape in shapes if shape}
    if len(rows) != 1 or rows == {0} or [shape[1:] if shape else None for shape in shapes] != [(n,) for n in expected]:
        raise DataError(
            f"expected observations [N, {expected[0]}] and actions [N, {expected[1]}], found {shapes[0]} and {shapes[1]}"
        )
