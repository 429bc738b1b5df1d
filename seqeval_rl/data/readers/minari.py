"""Reader of Minari datasets (https://minari.farama.org)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.download import is_offline
from seqeval_rl.data.images import are_images, of_trails
from seqeval_rl.data.minari_writer import unusable
from seqeval_rl.data.readers import hdf5
from seqeval_rl.data.readers.base import FetchOptions, Listing, Reader, ReadOptions, unreadable
from seqeval_rl.data.validation import RawTransitions, no_transitions, task_of_dataset
from seqeval_rl.environments.recording import without_recording
from seqeval_rl.environments.spaces import discrete_actions, unsupported_actions
from seqeval_rl.environments.tasks import Task
from seqeval_rl.environments.trust import checked_task
from seqeval_rl.environments.wrappers import concatenate
from seqeval_rl.errors import DataError, FileError, SeqevalError, UsageError, unknown
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.failures import Cause, cause_of
from seqeval_rl.utils.text import file_name, first_line

_COLUMNS = ("actions", "rewards", "terminations", "truncations")
_log = logging.getLogger("seqeval_rl")


class MinariReader(Reader):
    """Minari datasets by their ids.

    Where observations are a Dict, a source names the entries that are used: `D4RL/antmaze/umaze-v1@observation@goal` concatenates
    `observation` and `goal`. A given task that names the environment of the dataset by its id alone gets that one's settings.
    """

    prefix = "minari:"
    usage = ("minari:<id>",)
    takes_bounds = True
    single_file = False

    def read(self, source: str, options: ReadOptions) -> Dataset:
        """See `Reader`."""
        identity, *keys = source.removeprefix(self.prefix).split("@")
        directory = _find(identity)
        try:
            import minari

            found = minari.MinariDataset(directory)
        except Exception as error:  # JSON, HDF5, Arrow or Minari's own checks
            raise _unreadable(source, directory, error) from error
        _check_spaces(source, found, keys)
        task = _task_of(source, found, tuple(keys), options)
        contents = cache.files_hash(sorted(path for path in directory.rglob("*") if path.is_file()))[:16]
        key = f"minari-{file_name(source.removeprefix(self.prefix).replace('/', '-'))}-{contents}"
        dataset = cache.obtain(
            options.cache_key(key), lambda: _convert(source, directory, found, keys, replace(options, task=task))
        )
        return replace(dataset, name=source, task=task)

    def fetch(self, source: str, options: FetchOptions) -> Path:
        """See `Reader`."""
        return _find(source.removeprefix(self.prefix).partition("@")[0], options.offline)

    def list_datasets(self) -> list[Listing]:
        """See `Reader`."""
        return [Listing("Minari, on this machine", [f"minari:{identity}" for identity in local()])]

    def label(self, source: str) -> str:
        """See `Reader`: without the entries of observations."""
        return super().label(source.partition("@")[0])


def local() -> list[str]:
    """Ids of the Minari datasets on this machine; one that Minari cannot read is logged as a warning."""
    import minari

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            names = list(minari.list_local_datasets())
    except OSError as error:
        raise unusable("Minari's datasets", error) from error
    for warning in caught:
        _log.warning("%s", warning.message)
    return names


def _find(identity: str, offline: bool | None = None) -> Path:
    """Directory of a local Minari dataset, downloaded if need be; `offline` as for `download.is_offline`."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(identity)
    except (ValueError, TypeError):  # Minari raises these for a missing version
        raise UsageError(
            f"dataset minari:{identity}: expected an id such as mujoco/hopper/medium-v0, with its version. "
            f"On this machine: {_few(local())}."
        ) from None
    try:
        directory = Path(get_dataset_path(identity)) / "data"
        there = directory.exists()
    except OSError as error:
        raise unusable(f"minari:{identity}", error) from error
    if not there:
        if is_offline(offline):
            raise FileError(
                f"dataset minari:{identity}: not on this machine, and the network is not to be used (offline). "
                f"`seqeval datasets fetch minari:{identity}` without SEQEVAL_OFFLINE gets it."
            )
        _download(identity, directory)
    return directory


def _download(identity: str, directory: Path) -> None:
    import minari

    try:
        # What Minari prints is no part of a command's output.
        with contextlib.redirect_stdout(sys.stderr):
            minari.download_dataset(identity)
    except Exception as error:  # Minari's remotes raise different errors
        of_machine = isinstance(error, (ImportError, MemoryError)) or getattr(error, "filename", None) is not None
        found = cause_of(error) if of_machine else None
        if found is None:
            # A ValueError is Minari's verdict on the id.
            network = f"Check the network, or copy the dataset to {directory.parent}."
            found = Cause(first_line(error), "Check the id." if isinstance(error, ValueError) else network)
        raise FileError(
            f"dataset minari:{identity}: not on this machine (there: {_few(local())}) and its download failed "
            f"({found.what}). {found.remedy}"
        ) from error


def _few(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more or "none"


def _convert(name: str, directory: Path, source: Any, keys: Sequence[str], options: ReadOptions) -> Dataset:
    """Read every episode; the options have the task."""
    task = options.task
    assert task is not None
    columns: dict[str, list[Any]] = {key: [] for key in _COLUMNS}
    trails: list[Any] = []  # an episode's observations, the last one included
    starts = [0]
    with progress_bar(name, int(source.total_steps), options.progress) as bar:
        try:
            _check_storage(directory)
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
        except SeqevalError:
            raise
        except Exception as error:  # HDF5, Arrow and JPEG raise different errors for a damaged file
            raise _unreadable(f"{name}, episode {len(starts) - 1}", directory, error) from error
    if starts[-1] != source.total_steps:
        raise _unreadable(name, directory, EOFError(f"{starts[-1]} of {source.total_steps} transitions"))
    if len(starts) == 1:
        raise no_transitions(name)
    arrays: dict[str, Any] = {key: np.concatenate(parts) for key, parts in columns.items()}
    limit = None if source.env_spec is None else source.env_spec.max_episode_steps
    if limit is not None and starts[-1] - starts[-2] < limit and not arrays["terminations"][-1]:
        # Neither a terminal state nor the time limit: recording stopped here.
        arrays["truncations"][-1] = False
    if (discrete := discrete_actions(source.action_space)) is not None:
        arrays |= {"actions": arrays["actions"] - discrete[0], "action_classes": discrete[1]}
    else:
        arrays |= {"action_low": source.action_space.low, "action_high": source.action_space.high}
    if are_images(trails[0]):
        pixels = of_trails(np.concatenate(trails), np.array([len(trail) for trail in trails]))
        return Dataset.from_arrays(name, task, options.bounded(RawTransitions(pixels, **arrays, episode_starts=starts)))
    observations, following = (
        np.concatenate([trail[part] for trail in trails]) for part in (slice(-1), slice(1, None))
    )
    raw = RawTransitions(observations, **arrays, next_observations=following, episode_starts=starts)
    return Dataset.from_arrays(name, task, options.bounded(raw))


def _check_storage(directory: Path) -> None:
    """Raise `DataError` or `FileError` where its HDF5 files name others, or declare more than fits into memory."""
    for path in directory.glob("*.hdf5"):
        hdf5.files_of(path)
        with h5py.File(path, "r") as file:
            items: list[Any] = []
            file.visit(items.append)
            arrays = [item for name in items if hasattr(item := file[name], "nbytes")]
            hdf5.check_memory(path, arrays)
            if missing := [item.name for item in arrays if not hdf5.is_whole(item)]:
                raise DataError(
                    f"{path}: parts of {missing[0]} are missing, expected all of it. Delete it and get it again."
                )


def _unreadable(name: str, directory: Path, error: Exception) -> SeqevalError:
    # The directory is there, a part of it is not; the second is Minari's own account of that.
    if isinstance(error, FileNotFoundError) or str(error).startswith("No data found"):
        error = EOFError(first_line(error))
    return unreadable(name, f"a Minari dataset in {directory}", error, "get it again")


def _check_spaces(name: str, source: Any, keys: Sequence[str]) -> None:
    """Check that observations are a Box, or a Dict with Boxes under `keys`, and actions a Box or discrete."""
    from gymnasium.spaces import Box, Dict

    observations, actions = source.observation_space, source.action_space
    if not isinstance(actions, Box) and discrete_actions(actions) is None:
        raise DataError(f"{name}: {unsupported_actions(actions)}")
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
            f"to be used, concatenated in that order, for example {'@'.join([name, *boxes[:2]])}."
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
    except Exception as error:  # raised by text that is not such JSON
        raise DataError(
            f"{name}: expected eval_env_spec in its metadata to be an EnvSpec, found {type(error).__name__}. Get it again."
        ) from error


def _task_of(name: str, source: Any, keys: tuple[str, ...], options: ReadOptions) -> Task:
    """The given task, or that of the metadata, with the environment of the dataset."""
    import gymnasium

    how, task, trusted = "Give a task, or both.", options.task, options.trust_environments
    spec, metadata = _evaluation_spec(name, source), source.storage.metadata
    env_spec = ""
    if spec is not None:
        spec = without_recording(spec)
        registered = gymnasium.registry.get(spec.id)
        same = registered is not None and _settings(without_recording(registered)) == _settings(spec)
        env_spec = "" if same else spec.to_json()
    if task is None:
        env_id = None if spec is None else spec.id
        low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
        return task_of_dataset(name, env_id, low, high, how, env_spec, keys, trusted)
    if task.env_id is not None and keys:
        task = replace(task, obs_keys=task.obs_keys or keys)
    if spec is not None and task.env_id == spec.id:
        found = checked_task(name, Task(spec.id, spec.id, env_spec=env_spec), trusted)
        task = replace(task, env_spec=task.env_spec or found.env_spec)
    return task


def _settings(spec: Any) -> tuple[str, int | None, str]:
    return json.dumps(spec.kwargs, default=str, sort_keys=True), spec.max_episode_steps, str(spec.additional_wrappers)
