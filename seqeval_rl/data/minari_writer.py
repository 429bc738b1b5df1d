"""Writing episodes as a Minari dataset (https://minari.farama.org)."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl.data.episodes import Episode, cut_to
from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import FileError
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.files import atomic_directory, lock_file, require_room, restore_replaced


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


@contextlib.contextmanager
def writer(new: NewDataset, replace_old: bool, progress: bool) -> Iterator[Callable[[Iterable[Episode]], None]]:
    """A function that writes the first `new.transitions` of episodes, atomically: the dataset appears when the block succeeds.

    Where the dataset exists already, the function only consumes the episodes.

    Args:
        new: what is written; its size is checked first, because HDF5 crashes on a full disk.
        replace_old: replace an existing dataset.
        progress: show a bar.

    Raises:
        FileError: Minari's directory cannot be written, or there is too little room.
    """
    from minari.storage import get_dataset_path

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
    # One call for all: each call opens the file anew and measures its directory.
    storage.update_episodes(_buffers(episodes))


def _buffers(episodes: Iterable[Episode]) -> Iterator[Any]:
    """Minari's form of episodes."""
    from minari.data_collector import EpisodeBuffer

    for number, episode in enumerate(episodes):
        last = np.arange(1, len(episode.rewards) + 1) == len(episode.rewards)
        yield EpisodeBuffer(
            id=number,
            seed=episode.seed,
            observations=episode.observations,
            actions=episode.actions,
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
