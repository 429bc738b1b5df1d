"""Loading, fetching, listing and verifying datasets by their sources; a source is a text, or a mapping of arrays.

Each format is one registered reader, see `readers.base`. The text of a source is that of its reader, with an optional `:N` for
the first N transitions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.hashes import check_form_of_sha256
from seqeval_rl.data.readers import npz
from seqeval_rl.data.readers.base import (
    FetchOptions,
    Listing,
    Mode,
    Reader,
    ReadOptions,
    find_reader,
    parse_source,
    readers,
)
from seqeval_rl.data.verification import Check, verify_dataset
from seqeval_rl.environments.tasks import Bound, Task, as_bound, task_named
from seqeval_rl.errors import DataError, FileError, UsageError, unknown
from seqeval_rl.utils.failures import cannot_read


def load_dataset(
    source: str | os.PathLike[str] | Mapping[str, Any],
    task: Task | str | None = None,
    mode: Mode = "native",
    progress: bool = True,
    terminate_on_end: bool = False,
    *,
    reference_returns: tuple[float, float] | None = None,
    action_low: Bound = None,
    action_high: Bound = None,
    clip_actions: bool = False,
    trust_environments: Sequence[str] = (),
) -> Dataset:
    """Read, build or download a dataset.

    Args:
        source: `bundled/hopper/medium`, `d4rl:hopper-medium-v2`, `synthetic:d4rl/hopper-medium-v2:600`,
            `minari:D4RL/door/human-v2`, `minari:D4RL/antmaze/umaze-v1@observation@desired_goal`,
            `ogbench:antmaze-large-navigate-singletask-v0`, `vd4rl:vd4rl_data/main/walker_walk/random/84px`,
            `logs/mine.npz`, `logs/mine.hdf5` (in D4RL's format), or one of an installed reader, each with an optional `:10000`
            for a prefix; or a mapping with the keys of such an `.npz` file: `observations`, `actions`, `rewards`,
            `terminations`, `truncations`, and optionally `next_observations`, `episode_starts`, `env_id`, `reference_min`,
            `reference_max`, `action_low`, `action_high` (see `RawTransitions`).
        task: environment and reference returns; by default those that come with the data, else those of the known task
            with that environment. A `Task`, the name of a known one, or an environment's id. Without reference returns there
            are no scores, but returns.
        mode: `native` has true next observations and keeps every transition that has one; `d4rl`, for files in D4RL's format,
            is exactly d4rl's `qlearning_dataset`.
        progress: show a bar for what takes long.
        terminate_on_end: of `qlearning_dataset`, in mode `d4rl`: keep the rows of time limits.
        reference_returns: returns of score 0 and 100, in place of the task's.
        action_low: lower bound of actions, one number or [act_dim], in place of that of the data and the environment. It is
            part of the task: the environment gets actions within these bounds, clipped to its own.
        action_high: their upper bound.
        clip_actions: clip actions outside the bounds, however far, and count them in `Dataset.clipped_actions`; otherwise
            those more than 0.1 % outside are refused.
        trust_environments: names of code that the data may name to open their environment: a module, which is imported so that it
            registers its environments, `module:Id` or `module:Class`. Otherwise that code comes from gymnasium's registry.

    Raises:
        UsageError: the source or the task is not understood or not known, or cannot be read in that mode or by such bounds.
        DataError: the data cannot be used.
        FileError: a file cannot be read or written, or a download failed.
        EnvironmentMissingError: arrays without action bounds, of an environment that is not installed.
    """
    if mode not in ("native", "d4rl"):
        raise UsageError(f"mode: expected native or d4rl, found {mode!r}. Choose one of them.")
    if terminate_on_end and mode != "d4rl":
        raise UsageError(
            "terminate_on_end: expected mode d4rl with it, found mode native. Leave it out, or change the mode."
        )
    options = _options(task, reference_returns, action_low, action_high, clip_actions, trust_environments)
    options = replace(options, mode=mode, terminate_on_end=terminate_on_end, progress=progress)
    if isinstance(source, Mapping):
        _check_mode("arrays", ("native",), mode)
        dataset = npz.from_mapping(source, options)
    else:
        base, size = parse_source(os.fspath(source))
        reader = reader_of(base)
        _check_mode(base, reader.modes, mode)
        _check_bounds(base, reader, options)
        try:
            dataset = reader.read(base, replace(options, transitions=size))
        except MemoryError as error:  # where arrays are packed, whatever the format
            raise FileError(cannot_read(f"dataset {base}", error)) from error
        if size is not None and not reader.builds_to_size:
            dataset = dataset.prefix(size)
    completed = dataset.task.override(reference_returns, options.action_low, options.action_high)
    return dataset if completed == dataset.task else replace(dataset, task=completed)


def _options(
    task: Task | str | None,
    reference_returns: tuple[float, float] | None,
    action_low: Bound,
    action_high: Bound,
    clip_actions: bool,
    trust_environments: Sequence[str],
) -> ReadOptions:
    """The arguments of `load_dataset` as a reader takes them: a given task has the references and bounds."""
    task = task_named(task, "load_dataset") if isinstance(task, str) else task
    low, high = as_bound(action_low), as_bound(action_high)
    if task is not None:
        task = task.override(reference_returns, low, high)
        low, high = task.action_low, task.action_high
    return ReadOptions(
        task,
        action_low=low,
        action_high=high,
        clip_actions=clip_actions,
        trust_environments=tuple(trust_environments),
    )


def reader_of(base: str) -> Reader:
    """The reader of a source without its size; raises `UsageError` with the nearest known sources where there is none."""
    reader = find_reader(base)
    if reader is None:
        names = known_datasets(downloads=True)
        raise unknown("dataset", base, [*names, *(usage for one in readers().values() for usage in one.usage)])
    return reader


def _check_mode(name: str, modes: tuple[Mode, ...], mode: Mode) -> None:
    if mode not in modes:
        raise UsageError(
            f"dataset {name!r}: mode {mode} reads files in D4RL's format, found another source. Use mode native, or a "
            "source d4rl:<id>, synthetic:d4rl/<id>:<N> or <path>.hdf5."
        )


def _check_bounds(name: str, reader: Reader, options: ReadOptions) -> None:
    given = [key for key in ("action_low", "action_high", "clip_actions") if getattr(options, key) not in (None, False)]
    if given and not reader.takes_bounds:
        raise UsageError(
            f"dataset {name!r}: expected no {given[0]}, since its reader scales actions by bounds of its own, found one. Leave "
            "it out."
        )


def supports_mode(source: str, mode: Mode) -> bool:
    """Whether a source can be read in a mode; files in D4RL's format can be read in two."""
    reader = find_reader(parse_source(source)[0])
    return reader is not None and mode in reader.modes


def label(source: str) -> str:
    """A short name among the datasets of its task: `bundled/hopper/medium:10000` and `d4rl:hopper-medium-v2` are
    `medium`, `vd4rl:walker_walk/random/84px` is `random`."""
    base = parse_source(source)[0]
    reader = find_reader(base)
    return base.rpartition("/")[2] if reader is None else reader.label(base)


def citation(source: str) -> str | None:
    """BibTeX of what to cite for a dataset, see `Reader.citation`."""
    base = parse_source(source)[0]
    reader = find_reader(base)
    return None if reader is None else reader.citation(base)


def known_datasets(downloads: bool = False) -> list[str]:
    """The datasets that have names: the bundled ones, those on this machine, and with `downloads` those to be downloaded."""
    return [source for listing in list_datasets() if listing.available or downloads for source in listing.sources]


def list_datasets() -> list[Listing]:
    """The datasets that have names, by reader: on this machine, built on first use, or to be downloaded."""
    return [listing for reader in readers().values() for listing in reader.list_datasets()]


def fetch(source: str, sha256: str | None = None, offline: bool | None = None, progress: bool = True) -> Path:
    """The file or directory of a dataset, downloaded or built where it is not on this machine.

    Args:
        source: as for `load_dataset`; a size after it matters only for what is built here.
        sha256: what the file must have; for sources of one file. Where none is given, a file that seqeval-rl downloaded must
            have the one of its download.
        offline: use no network; None: as `SEQEVAL_OFFLINE` says.
        progress: show a bar.

    Raises:
        UsageError: unknown, no SHA-256, or one for what is not one file.
        FileError: no network, no such file, a full disk.
        DataError: the size or the hash is wrong.
    """
    base, size = parse_source(source)
    reader = reader_of(base)
    if sha256 is not None and not reader.single_file:
        raise UsageError(f"dataset {base!r}: expected no SHA-256, since it is not one file. Leave it out.")
    if sha256 is not None:
        check_form_of_sha256(sha256)
    return reader.fetch(base, FetchOptions(sha256, offline, progress, size))


def verify(
    source: str,
    *,
    task: Task | str | None = None,
    reference_returns: tuple[float, float] | None = None,
    action_low: Bound = None,
    action_high: Bound = None,
    clip_actions: bool = False,
    trust_environments: Sequence[str] = (),
) -> Iterator[tuple[str, list[Check]]]:
    """Check a dataset that is on this machine: by name, what was checked and found.

    Args:
        source: as for `load_dataset`, or a key of the cache. Of a bundled dataset every cached size is checked.
        task: as for `load_dataset`, where the file is read. What is in the cache was read before.
        reference_returns: as well.
        action_low: as well.
        action_high: as well.
        clip_actions: as well.
        trust_environments: as well.

    Raises:
        UsageError: unknown.
        FileError: it is not on this machine.
        DataError: it is damaged, or differs from what was published or downloaded.
    """
    base, size = parse_source(source)
    keys = cache.entries()
    keys = [source] if source in keys else [key for key in keys if key.startswith(f"{base.replace('/', '-')}-v")]
    for key in keys:
        dataset = cache.open(key)
        if dataset is None:
            raise DataError(
                f"{cache.root() / key}: damaged, or of another format. Delete it; it is built again when it is needed."
            )
        yield key, verify_dataset(dataset)
    if not keys:
        reader = reader_of(base)
        options = _options(task, reference_returns, action_low, action_high, clip_actions, trust_environments)
        _check_bounds(base, reader, options)
        yield source, list(reader.verify(base, size, options))
