"""Writing episodes as a Minari dataset (https://minari.farama.org).

HDF5 ends its process with a segmentation fault where a file cannot grow, so it writes in a process of its own.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl.data.episodes import Episode, cut_to
from seqeval_rl.environments.spaces import discrete_actions, environment_spaces, gymnasium_shapes
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import FileError, UsageError
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.files import atomic_directory, largest_file, lock_file, require_room, restore_replaced
from seqeval_rl.utils.processes import WorkerEndedError, WorkerProcess

_AT_ONCE = 10_000  # transitions that the other process is sent together
_NEARLY = 2**21  # bytes by which HDF5 may have missed a limit


@dataclass(frozen=True)
class NewDataset:
    """A Minari dataset to be written."""

    identity: str  # its id
    task: Task  # its environment and reference returns
    transitions: int
    algorithm: str  # what chose the actions, for its metadata
    description: str  # likewise
    episode_length: float = 100.0  # expected, to estimate its size

    @property
    def bytes(self) -> float:
        """Estimated size: measured, 1.4 times the columns and 16 kB for each episode."""
        observation, action = (int(np.prod(space.shape)) for space in environment_spaces(self.task.environment))
        return self.transitions * (1.4 * (8 * observation + 4 * action + 10) + 16e3 / self.episode_length)


def check_vectors(task: Task, what: str) -> None:
    """Raise `UsageError` where the observations of a task are images, of which no Minari dataset is written."""
    if gymnasium_shapes(task.environment)[1].images:
        raise UsageError(
            f"{what}: expected a task whose observations are vectors, found images in {task.env_id}. Datasets of images are "
            "bundled (bundled/walker_walk/medium:10000) or read from files."
        )


@contextlib.contextmanager
def writer(new: NewDataset, replace_old: bool, progress: bool) -> Iterator[Callable[[Iterable[Episode]], None]]:
    """A function that writes the first `new.transitions` of episodes, atomically: the dataset appears when the block succeeds.

    Where the dataset exists already, the function only consumes the episodes.

    Args:
        new: what is written; its size is checked first, because HDF5 crashes on a full disk.
        replace_old: replace an existing dataset.
        progress: show a bar.

    Raises:
        UsageError: the task's observations are images.
        FileError: Minari's directory cannot be written, or there is too little room.
    """
    from minari.storage import get_dataset_path

    check_vectors(new.task, f"minari:{new.identity}")

    def shown(episodes: Iterable[Episode]) -> Iterator[Episode]:
        with progress_bar(f"minari:{new.identity}", new.transitions, progress) as bar:
            for episode in cut_to(episodes, new.transitions):
                yield episode
                bar.update(len(episode.rewards))

    try:
        target = Path(get_dataset_path(new.identity))
        target.parent.mkdir(parents=True, exist_ok=True)
        # Minari ignores directories whose name begins with a dot.
        with lock_file(target.with_name(f".{target.name}.lock")):
            restore_replaced(target)
            if target.exists() and not replace_old:
                yield lambda episodes: deque(shown(episodes), maxlen=0).clear()
                return
            require_room(target.parent, new.bytes)
            with atomic_directory(target) as partial:
                directory = partial / "data"
                directory.mkdir()
                yield lambda episodes: _write(directory, new, shown(episodes))
            _create_namespace(new.identity.rpartition("/")[0])
    except OSError as error:
        raise unusable(f"minari:{new.identity}", error) from error


def _write(directory: Path, new: NewDataset, episodes: Iterable[Episode]) -> None:
    try:
        _create(directory, new)
    except OSError as error:
        raise _cannot_grow(directory / "metadata.json", error) from error
    process = WorkerProcess(f"{__name__}:_append")
    try:
        for first, some in _parts(episodes):
            try:
                process.send((directory, first, some))
                process.receive()
            except (OSError, RuntimeError, WorkerEndedError) as error:
                raise _cannot_grow(directory / "main_data.hdf5", error) from error
        process.end_input()
    except BaseException:
        process.kill()
        raise
    finally:
        process.stop()


def _create(directory: Path, new: NewDataset) -> None:
    import gymnasium
    from minari.dataset.minari_storage import MinariStorage

    spec, references = gymnasium.spec(str(new.task.environment)), new.task.return_references
    storage = MinariStorage.new(directory, *environment_spaces(new.task.environment), spec)
    metadata = {
        "dataset_id": new.identity,
        "minari_version": version("minari"),
        "author": {"The seqeval-rl authors"},
        "algorithm_name": new.algorithm,
        "description": new.description,
        "eval_env_spec": spec.to_json(),
        **({"ref_min_score": references[0], "ref_max_score": references[1]} if references else {}),
        "requirements": [f"gymnasium=={version('gymnasium')}", f"mujoco=={version('mujoco')}"],
    }
    storage.update_metadata(metadata)


def _parts(episodes: Iterable[Episode]) -> Iterator[tuple[int, list[Episode]]]:
    """Consecutive episodes, at least `_AT_ONCE` transitions together, with the number of the first."""
    first, some, transitions = 0, list[Episode](), 0
    for episode in episodes:
        some.append(episode)
        transitions += len(episode.rewards)
        if transitions >= _AT_ONCE:
            yield first, some
            first, some, transitions = first + len(some), [], 0
    if some:
        yield first, some


def _cannot_grow(path: Path, error: Exception) -> OSError:
    """Why one of a dataset's files could not be written."""
    size = path.stat().st_size if path.exists() else 0
    free, limit = shutil.disk_usage(path.parent).free, largest_file()
    number = getattr(error, "errno", None)
    if number == errno.EFBIG or (number is None and size + _NEARLY > limit):
        number, why = errno.EFBIG, f"files may have {limit:,.0f} bytes (ulimit -f)"
    elif number == errno.ENOSPC or (number is None and free < _NEARLY):
        number, why = errno.ENOSPC, f"{free:,} bytes are free on its disk"
    else:
        ended = isinstance(error, WorkerEndedError) and error.status < 0
        how = f"its process ended with {signal.Signals(-error.status).name}" if ended else str(error)
        number, why = number or errno.EIO, how
    return OSError(number, f"{size:,} bytes are written, {why}", str(path))


def _append(request: tuple[Path, int, list[Episode]]) -> None:
    """In the other process: write episodes, the first of which has that number."""
    from minari.dataset.minari_storage import MinariStorage

    directory, first, episodes = request
    storage = MinariStorage.read(directory)
    discrete = discrete_actions(storage.action_space) is not None
    storage.update_episodes(_buffers(first, episodes, discrete))


def _buffers(first: int, episodes: Iterable[Episode], discrete: bool) -> Iterator[Any]:
    """Minari's form of episodes, in which discrete actions are int64 [T]."""
    from minari.data_collector import EpisodeBuffer

    for number, episode in enumerate(episodes, first):
        last = np.arange(1, len(episode.rewards) + 1) == len(episode.rewards)
        yield EpisodeBuffer(
            id=number,
            seed=episode.seed,
            observations=episode.observations,
            actions=episode.actions[:, 0].astype(np.int64) if discrete else episode.actions,
            rewards=episode.rewards,
            terminations=last & episode.terminated,
            truncations=last & (not episode.terminated),
        )


def _create_namespace(namespace: str) -> None:
    from minari.namespace import create_namespace, list_local_namespaces

    if namespace and namespace not in list_local_namespaces():
        # Another process may be a moment faster.
        with contextlib.suppress(ValueError):
            create_namespace(namespace, description="Datasets written by seqeval-rl")


def unusable(what: str, error: OSError) -> FileError:
    """The error for a directory of Minari that cannot be read or written."""
    return FileError(
        f"{what}: cannot be read or written ({error.strerror or error}: {error.filename or 'no file named'}). "
        "Set MINARI_DATASETS_PATH to a directory with room."
    )
