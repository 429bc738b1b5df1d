"""Writing episodes as a Minari dataset (https://minari.farama.org)."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl.data.episodes import Episode
from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import FileError
from seqeval_rl.utils.files import atomic_directory, lock_file, restore_replaced


@contextlib.contextmanager
def writer(
    identity: str, task: Task, algorithm: str, description: str, size: float, replace_old: bool = False
) -> Iterator[Callable[[Iterable[Episode]], None]]:
    """A function that writes episodes as a Minari dataset, atomically: it appears when the block succeeds.

    Where the dataset exists already, the function only consumes the episodes.

    Args:
        identity: the dataset's id.
        task: its environment and reference returns.
        algorithm: what chose the actions, for its metadata.
        description: what it is, for its metadata.
        size: estimate of its bytes; checked first, because HDF5 crashes on a full disk.
        replace_old: replace an existing dataset.

    Raises:
        FileError: Minari's directory cannot be written, or there is too little room.
    """
    from minari.storage import get_dataset_path

    try:
        target = Path(get_dataset_path(identity))
        target.parent.mkdir(parents=True, exist_ok=True)
        # Minari ignores directories whose name begins with a dot.
        with lock_file(target.with_name(f".{target.name}.lock")):
            restore_replaced(target)
            if target.exists() and not replace_old:
                yield lambda episodes: deque(episodes, maxlen=0).clear()
                return
            free = shutil.disk_usage(target.parent).free
            if free < size:
                raise OSError(errno.ENOSPC, f"{size / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free", target)
            with atomic_directory(target) as partial:
                directory = partial / "data"
                directory.mkdir()
                yield lambda episodes: _write(directory, identity, task, algorithm, description, episodes)
            _create_namespace(identity.rpartition("/")[0])
    except OSError as error:
        raise unusable(f"minari:{identity}", error) from error


def _write(
    directory: Path, identity: str, task: Task, algorithm: str, description: str, episodes: Iterable[Episode]
) -> None:
    import gymnasium
    from minari.dataset.minari_storage import MinariStorage

    spec = gymnasium.spec(str(task.environment))
    storage = MinariStorage.new(directory, *environment_spaces(task.environment), spec)
    metadata = {
        "dataset_id": identity,
        "minari_version": version("minari"),
        "author": {"The seqeval-rl authors"},
        "algorithm_name": algorithm,
        "description": description,
        "eval_env_spec": spec.to_json(),
        "ref_min_score": task.reference_min,
        "ref_max_score": task.reference_max,
        "requirements": [f"gymnasium=={version('gymnasium')}", f"mujoco=={version('mujoco')}"],
    }
    storage.update_metadata(metadata)
    # One call for all: each call opens the file anew and measures its directory.
    storage.update_episodes(_buffers(episodes))


def _buffers(episodes: Iterable[Episode]) -> Iterator[Any]:
    """Minari's form of episodes."""
    from minari.data_collector import EpisodeBuffer

    for number, episode in enumerate(episodes):
        terminations = np.zeros(len(episode.rewards), bool)
        terminations[-1] = episode.terminated
        truncations = np.zeros_like(terminations)
        truncations[-1] = not episode.terminated
        yield EpisodeBuffer(
            id=number,
            seed=episode.seed,
            observations=episode.observations,
            actions=episode.actions,
            rewards=episode.rewards,
            terminations=terminations,
            truncations=truncations,
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
