"""Minari datasets: finding, reading and writing them (https://minari.farama.org)."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.episodes import Episode
from seqeval_rl.data.images import are_images, of_trails
from seqeval_rl.data.task_matching import task_of_dataset
from seqeval_rl.environments.spaces import concatenate, environment_spaces
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, FileError, UsageError, unknown
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.files import atomic_directory, lock_file, restore_replaced
from seqeval_rl.utils.text import first_line, slug

_COLUMNS = ("actions", "rewards", "terminations", "truncations")
_log = logging.getLogger("seqeval_rl")


def local() -> list[str]:
    """Ids of the Minari datasets on this machine; one that Minari cannot read is named in the log."""
    import minari

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            names = list(minari.list_local_datasets())
    except OSError as error:
        raise _unusable("Minari's datasets", error) from error
    for warning in caught:
        _log.warning("%s", warning.message)
    return names


def read(source: str, task: Task | None, progress: bool) -> Dataset:
    """A Minari dataset, through the flat cache; downloaded first where it is not on this machine.

    Args:
        source: its id; where observations are a Dict, with the entries that are seen: `D4RL/antmaze/umaze-v1@observation@goal`
            lays `observation` and `goal` end to end.
        task: reference returns and environment. Where it names the environment of the dataset by its id alone, it takes over
            that one's settings.
        progress: show a bar.

    Raises:
        UsageError: the id is not one of Minari's form, or an entry is not known.
        DataError: damaged, not of Boxes, or nothing tells its task.
        FileError: the download failed.
    """
    identity, *keys = source.split("@")
    name = f"minari:{source}"
    directory = find(identity)
    try:
        import minari

        found = minari.MinariDataset(directory)
    except Exception as error:  # JSON, HDF5, Arrow or Minari's own checks
        raise _damaged(name, directory, error) from error
    check_spaces(name, found, keys)
    task = task_of(name, found, tuple(keys), task)
    key = f"minari-{slug(source)}-{_fingerprint(directory)}"
    dataset = cache.obtain(key, lambda: _convert(name, directory, found, keys, task, progress))
    return replace(dataset, name=name, task=task)


def find(identity: str) -> Path:
    """Directory of a local Minari dataset, downloaded if need be."""
    import minari
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(identity)
    except (ValueError, TypeError):  # Minari has no error of its own for a missing version
        raise UsageError(
            f"dataset minari:{identity}: expected an id such as mujoco/hopper/medium-v0, with its version. "
            f"On this machine: {', '.join(local()) or 'none'}."
        ) from None
    try:
        directory = Path(get_dataset_path(identity)) / "data"
        if not directory.exists():
            minari.download_dataset(identity)
    except Exception as error:  # each of Minari's remotes has errors of its own
        raise FileError(
            f"dataset minari:{identity}: not on this machine (there: {', '.join(local()) or 'none'}) and its download "
            f"failed ({first_line(error)}). Check the id and the network."
        ) from error
    return directory


def _fingerprint(directory: Path) -> str:
    """Changes when any of the dataset's files does."""
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        state = path.stat()
        total.update(f"{path.relative_to(directory)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return total.hexdigest()[:16]


def _convert(name: str, directory: Path, source: Any, keys: Sequence[str], task: Task, progress: bool) -> Dataset:
    """Read every episode."""
    columns: dict[str, list[Any]] = {key: [] for key in _COLUMNS}
    trails: list[Any] = []  # an episode's observations, the last one included
    starts = [0]
    with progress_bar(name, int(source.total_steps), progress) as bar:
        try:
            for episode in source.iterate_episodes():
                length = len(episode.rewards)
                trails.append(concatenate(episode.observations, keys, 1) if keys else np.asarray(episode.observations))
                if len(trails[-1]) != length + 1:
                    raise ValueError(
                        f"{len(trails[-1])} observations and {length} rewards, expected one observation more"
                    )
                for key in _COLUMNS:
                    columns[key].append(np.asarray(getattr(episode, key)))
                starts += [starts[-1] + length] if length else []
                bar.update(length)
        except Exception as error:  # HDF5, Arrow and JPEG each have errors of their own for a damaged file
            raise _damaged(f"{name}, episode {len(starts) - 1}", directory, error) from error
    if starts[-1] != source.total_steps:
        raise _damaged(name, directory, ValueError(f"{starts[-1]} of {source.total_steps} transitions"))
    if len(starts) == 1:
        raise DataError(f"{name}: expected at least one transition, found none. Check that the log was written.")
    arrays: dict[str, Any] = {key: np.concatenate(parts) for key, parts in columns.items()}
    limit = None if source.env_spec is None else source.env_spec.max_episode_steps
    if limit is not None and starts[-1] - starts[-2] < limit and not arrays["terminations"][-1]:
        # Neither a terminal state nor the time limit: recording stopped here.
        arrays["truncations"][-1] = False
    arrays |= {"action_low": source.action_space.low, "action_high": source.action_space.high}
    if are_images(trails[0]):
        pixels = of_trails(np.concatenate(trails), np.array([len(trail) for trail in trails]))
        return Dataset.from_frames(name, task, pixels, **arrays, episode_starts=starts)
    seen, following = (np.concatenate([trail[part] for trail in trails]) for part in (slice(-1), slice(1, None)))
    return Dataset.from_arrays(name, task, seen, **arrays, next_observations=following, episode_starts=starts)


@contextlib.contextmanager
def writer(
    identity: str, task: Task, algorithm: str, description: str, size: float, replace_old: bool = False
) -> Iterator[Callable[[Iterable[Episode]], None]]:
    """A function that writes episodes as a Minari dataset, which appears in its place when the block ends well.

    Where the dataset is there already, the function only uses the episodes up.

    Args:
        identity: the dataset's id.
        task: its environment and reference returns.
        algorithm: what chose the actions, for its metadata.
        description: what it is, for its metadata.
        size: bytes that it will have, more or less; checked first, because HDF5 crashes where it finds a full disk.
        replace_old: put it in the place of a dataset that is there.

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
        raise _unusable(f"minari:{identity}", error) from error


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
            create_namespace(namespace, description="Logs made by seqeval-rl")


def _damaged(name: str, directory: Path, error: Exception) -> DataError:
    return DataError(
        f"{name}: expected a Minari dataset in {directory}, found {first_line(error)}. Delete it and get it again."
    )


def _unusable(what: str, error: OSError) -> FileError:
    return FileError(
        f"{what}: cannot be read or written ({error.strerror or error}: {error.filename or 'no file named'}). "
        "Set MINARI_DATASETS_PATH to a directory with room."
    )


def check_spaces(name: str, source: Any, keys: Sequence[str]) -> None:
    """Check that observations are a Box, or a Dict with Boxes under `keys`, and actions a Box.

    Raises:
        UsageError: keys that are not there, or that are not needed.
        DataError: other spaces, or a Dict and no keys.
    """
    from gymnasium.spaces import Box, Dict

    observations, actions = source.observation_space, source.action_space
    if not isinstance(actions, Box):
        raise DataError(f"{name}: expected actions in a Box, found {actions}. Such datasets are not supported.")
    if isinstance(observations, Box):
        if keys:
            raise UsageError(f"dataset {name}: expected no '@', found one: observations are one Box. Leave it out.")
        return
    if not isinstance(observations, Dict):
        raise DataError(
            f"{name}: expected observations in a Box, found {observations}. Such datasets are not supported."
        )
    boxes = [key for key, space in observations.items() if isinstance(space, Box)]
    if not keys:
        raise DataError(
            f"{name}: expected observations in a Box, found a Dict with {', '.join(observations)}. Name the entries that are "
            f"to be seen, end to end in that order, for example {'@'.join([name, *boxes[:2]])}."
        )
    for key in keys:
        if key not in boxes:
            raise unknown("observation", key, boxes, f"dataset {name}")
    if len(set(keys)) < len(keys):
        raise UsageError(f"dataset {name}: expected each entry once, found {', '.join(keys)}. Leave the second out.")


def _evaluation_spec(name: str, source: Any) -> Any:
    """Gymnasium's `EnvSpec` of the environment to evaluate in, as `recover_environment(eval_env=True)` has it, or None."""
    from gymnasium.envs.registration import EnvSpec

    text = source.storage.metadata.get("eval_env_spec")
    if text is None:
        return source.env_spec
    try:
        fields = json.loads(text)
        known = {field.name for field in dataclasses.fields(EnvSpec)}
        # Older versions of gymnasium had fields that newer ones refuse.
        return EnvSpec.from_json(json.dumps({key: value for key, value in fields.items() if key in known}))
    except Exception as error:  # whatever text that is no such JSON leads to
        raise DataError(
            f"{name}: expected eval_env_spec in its metadata to be an EnvSpec, found {type(error).__name__}. Get it again."
        ) from error


def task_of(name: str, source: Any, keys: tuple[str, ...], task: Task | None) -> Task:
    """The given task, or the one that the metadata tell, with the environment as the dataset has it.

    Raises:
        DataError: nothing tells the environment or the reference returns.
    """
    import gymnasium

    how = "Give a task: env_id, reference_min and reference_max."
    spec, metadata = _evaluation_spec(name, source), source.storage.metadata
    env_spec = ""
    if spec is not None:
        registered = gymnasium.registry.get(spec.id)
        same = registered is not None and _settings(registered) == _settings(spec)
        env_spec = "" if same else spec.to_json()
    if task is None:
        env_id = None if spec is None else spec.id
        low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
        return task_of_dataset(name, env_id, low, high, how, env_spec, keys)
    if task.env_id is not None and keys:
        task = replace(task, obs_keys=task.obs_keys or keys)
    if spec is not None and task.env_id == spec.id:
        task = replace(task, env_spec=task.env_spec or env_spec)
    return task


def _settings(spec: Any) -> tuple[str, int | None, str]:
    return json.dumps(spec.kwargs, default=str, sort_keys=True), spec.max_episode_steps, str(spec.additional_wrappers)
