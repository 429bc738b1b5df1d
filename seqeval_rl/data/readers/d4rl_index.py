"""D4RL's datasets (Fu et al., 2020, arXiv 2004.07219): their files, tasks, time limits and published statistics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from seqeval_rl.data import cache
from seqeval_rl.data.download import check_sha256, download
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import FileError, UsageError, unknown

_SERVER = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
_LEVELS = ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert")
_MAZES = {"umaze": "u", "medium": "big", "large": "hardest"}  # antmaze's mazes, in its files' names


class Entry(NamedTuple):
    """A dataset of D4RL."""

    identity: str  # for example "hopper-medium-v2"
    path: str  # of its HDF5 file under the server's root
    task: Task
    time_limit: int  # transitions after which D4RL's environment ends an episode

    @property
    def file_name(self) -> str:
        """The file's name on this machine, as the d4rl package names it."""
        return self.path.rpartition("/")[2]


class Published(NamedTuple):
    """Published statistics of a dataset."""

    transitions: int  # by d4rl's `qlearning_dataset`
    mean_return: float  # of its trajectories


def _entries() -> list[Entry]:
    found = []

    def add(identity: str, path: str, task: str, time_limit: int) -> None:
        found.append(Entry(identity, path, TASKS[f"d4rl/{task}"], time_limit))

    for task in ("hopper", "halfcheetah", "walker2d", "ant"):
        for level in _LEVELS:
            add(f"{task}-{level}-v2", f"gym_mujoco_v2/{task}_{level.replace('-', '_')}-v2.hdf5", task, 1000)
    for maze, kind, multistart, multigoal in (
        ("umaze", "", False, False),
        ("umaze", "-diverse", True, True),
        ("medium", "-play", True, False),
        ("medium", "-diverse", True, True),
        ("large", "-play", True, False),
        ("large", "-diverse", True, True),
    ):
        name = f"Ant_maze_{_MAZES[maze]}-maze_noisy_multistart_{multistart}_multigoal_{multigoal}_sparse_fixed.hdf5"
        limit = 700 if maze == "umaze" else 1000
        add(f"antmaze-{maze}{kind}-v2", f"ant_maze_v2/{name}", f"antmaze-{maze}", limit)
    for maze, limit in (("umaze", 300), ("medium", 600), ("large", 800)):
        add(f"maze2d-{maze}-v1", f"maze2d/maze2d-{maze}-sparse-v1.hdf5", f"maze2d-{maze}", limit)
    for task, limit in (("pen", 100), ("door", 200), ("hammer", 200), ("relocate", 200)):
        for level in ("human", "cloned", "expert"):
            add(f"{task}-{level}-v1", f"hand_dapg_v1/{task}-{level}-v1.hdf5", task, limit)
    for level, name in (
        ("complete", "mini_kitchen_microwave_kettle_light_slider"),
        ("partial", "kitchen_microwave_kettle_light_slider"),
        ("mixed", "kitchen_microwave_kettle_bottomburner_light"),
    ):
        add(f"kitchen-{level}-v0", f"kitchen/{name}-v0.hdf5", f"kitchen-{level}", 280)
    return found


ENTRIES = {entry.identity: entry for entry in _entries()}

# Sizes are exact. The mean returns come from others, who counted trajectories a little differently; see `MEAN_SCORE_SLACK`.
PUBLISHED = {
    f"{task}-{level}-v2": Published(transitions, mean_return)
    for task, levels in {
        "halfcheetah": {
            "random": (999_000, -288.26),
            "medium": (999_000, 4760.69),
            "medium-replay": (201_798, 3075.20),
            "medium-expert": (1_998_000, 7701.41),
            "expert": (999_000, 10634.44),
        },
        "hopper": {
            "random": (999_999, 18.40),
            "medium": (999_998, 1420.84),
            "medium-replay": (401_598, 467.05),
            "medium-expert": (1_998_966, 2087.97),
            "expert": (999_061, 3502.63),
        },
        "walker2d": {
            "random": (999_999, 1.87),
            "medium": (999_322, 2845.16),
            "medium-replay": (301_698, 681.35),
            "medium-expert": (1_998_318, 3791.24),
            "expert": (999_000, 4909.15),
        },
    }.items()
    for level, (transitions, mean_return) in levels.items()
}
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
    return next((found for found in ENTRIES.values() if found.file_name == name), None)


def folders() -> list[Path]:
    """The paths at which its file is searched: in the d4rl package's directory, then among this package's downloads."""
    package = os.environ.get("D4RL_DATASET_DIR") or Path.home() / ".d4rl" / "datasets"
    return [Path(package).expanduser(), downloads()]


def downloads() -> Path:
    """The directory of downloads."""
    return cache.root() / "downloads" / "d4rl"


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


def url(found: Entry) -> str:
    """The address of its file: on D4RL's server, or the mirror in `SEQEVAL_D4RL_MIRROR`.

    Raises:
        UsageError: the mirror is no http(s) address.
    """
    mirror = os.environ.get("SEQEVAL_D4RL_MIRROR") or _SERVER
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise UsageError(
            f"SEQEVAL_D4RL_MIRROR: expected an address such as https://example.org/offline_rl, under which "
            f"{found.path} is, found {mirror!r}. Correct it."
        )
    return f"{mirror.rstrip('/')}/{found.path}"


def obtain(found: Entry, sha256: str | None = None, offline: bool | None = None, progress: bool = True) -> Path:
    """The dataset's file, downloaded where it is not on this machine; see `data.download.download`."""
    path = find(found)
    if path is None:
        return download(url(found), downloads() / found.file_name, sha256, offline, progress)
    if sha256 is not None:
        check_sha256(path, sha256)
    return path
