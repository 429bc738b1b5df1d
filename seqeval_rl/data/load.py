"""Readers: a source, given as text or as arrays, becomes a `Dataset`.

Sources are `bundled/<task>/<level>`, `d4rl:<id>` and the path of an `.hdf5` file in D4RL's format, `minari:<id>`,
`ogbench:<name>`, `vd4rl:<directory>` and the path of an `.npz` file (own arrays, or OGBench's), each with `:N` behind it for the
first N transitions; `made:d4rl/<id>:N` for made data in D4RL's format; or a mapping of arrays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.readers import bundled, d4rl, d4rl_index, npz, ogbench, synthetic_d4rl, vd4rl
from seqeval_rl.data.readers import minari as minari_reader
from seqeval_rl.data.readers.d4rl import Reading
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import UsageError, unknown

_SCHEMES = ("minari:", "d4rl:", "made:", "ogbench:", "vd4rl:")
_FILES = (".npz", ".hdf5")
_OTHERS = ("d4rl:<id>", "minari:<id>", "ogbench:<name>", "vd4rl:<directory>", "<path>.npz", "<path>.hdf5")


def load_dataset(
    source: str | os.PathLike[str] | Mapping[str, Any],
    task: Task | None = None,
    mode: d4rl.Mode = "native",
    progress: bool = True,
    terminate_on_end: bool = False,
) -> Dataset:
    """Read, build or download a dataset.

    Args:
        source: `bundled/hopper/medium`, `d4rl:hopper-medium-v2`, `made:d4rl/hopper-medium-v2:600`,
            `minari:D4RL/door/human-v2`, `minari:D4RL/antmaze/umaze-v1@observation@desired_goal`,
            `ogbench:antmaze-large-navigate-singletask-v0`, `vd4rl:vd4rl_data/main/walker_walk/random/84px`,
            `logs/mine.npz`, `logs/mine.hdf5` (in D4RL's format), each with an optional `:10000` for a prefix; or a mapping with
            the keys of such an `.npz` file: `observations`, `actions`, `rewards`, `terminations`, `truncations`, and where there
            are any `next_observations`, `episode_starts`, `env_id`, `reference_min`, `reference_max`, `action_low`,
            `action_high` (see `Dataset.from_arrays`).
        task: environment and reference returns; by default those that come with the data, else those of the known task
            with that environment.
        mode: `native` has true next observations and loses nothing that has one; `d4rl`, for files in D4RL's format, is exactly
            d4rl's `qlearning_dataset`.
        progress: show a bar for what takes long.
        terminate_on_end: of `qlearning_dataset`, in mode `d4rl`: keep the rows of time limits.

    Raises:
        UsageError: the source is not understood or not known, or cannot be read in that mode.
        DataError: the data cannot be used, or nothing tells their task.
        FileError: a file cannot be read or written, or a download failed.
        EnvironmentMissingError: arrays without action bounds, of an environment that is not installed.
    """
    if mode not in ("native", "d4rl"):
        raise UsageError(f"mode: expected native or d4rl, found {mode!r}. Choose one of them.")
    if terminate_on_end and mode != "d4rl":
        raise UsageError(
            "terminate_on_end: expected mode d4rl with it, found mode native. Leave it out, or change the mode."
        )
    if isinstance(source, Mapping):
        _only_native("arrays", mode)
        return npz.from_mapping(source, task)
    base, size = parse_source(os.fspath(source))
    if in_d4rl_format(base):
        dataset = _read_d4rl(base, size, task, Reading(mode, terminate_on_end), progress)
        return dataset if size is None or base.startswith("made:") else dataset.prefix(size)
    _only_native(base, mode)
    if base.startswith("minari:"):
        dataset = minari_reader.read(base.removeprefix("minari:"), task, progress)
    elif base.startswith("ogbench:"):
        dataset = ogbench.read(ogbench.obtain(base.removeprefix("ogbench:"), progress), base, task)
    elif base.startswith("vd4rl:"):
        dataset = vd4rl.read(base.removeprefix("vd4rl:"), task, progress)
    elif base.endswith(".npz"):
        theirs = ogbench.recognised(npz.names(base))
        dataset = ogbench.read(base, base, task) if theirs else npz.read_npz(base, task)
    elif base in bundled.names():
        _, task_name, level = base.split("/")
        dataset = bundled.build(task_name, level, bundled.FULL if size is None else size, progress=progress)
        return dataset if task is None else replace(dataset, task=task)
    else:
        raise unknown("dataset", base, [*known_datasets(), *_OTHERS])
    return dataset if size is None else dataset.prefix(size)


def in_d4rl_format(source: str) -> bool:
    """Whether a source is a file in D4RL's format, which can be read in two modes."""
    base = parse_source(source)[0]
    return base.startswith(("d4rl:", "made:")) or base.endswith(".hdf5")


def _only_native(name: str, mode: str) -> None:
    if mode != "native":
        raise UsageError(
            f"dataset {name!r}: mode {mode} reads files in D4RL's format, found another source. Use mode native, or a "
            "source d4rl:<id>, made:d4rl/<id>:<N> or <path>.hdf5."
        )


def _read_d4rl(base: str, size: int | None, task: Task | None, reading: Reading, progress: bool) -> Dataset:
    """A file in D4RL's format, downloaded or made first if need be."""
    if base.startswith("made:"):
        path, entry = synthetic_d4rl.build(base, size, progress)
        # Rolling it out shows a bar; reading so small a file takes no time.
        return d4rl.read(path, f"{base}:{size}", task or entry.task, reading, progress=False)
    if base.startswith("d4rl:"):
        entry = d4rl_index.entry(base.removeprefix("d4rl:"))
        path = d4rl_index.obtain(entry, progress=progress)
        return d4rl.read(path, base, task or entry.task, reading, progress)
    return d4rl.read(Path(base), base, task, reading, progress)


def parse_source(source: str) -> tuple[str, int | None]:
    """`"bundled/hopper/medium:10000"` as `("bundled/hopper/medium", 10000)`; None where no size is given.

    Raises:
        UsageError: what stands behind the colon is no number of transitions.
    """
    scheme = next((scheme for scheme in _SCHEMES if source.startswith(scheme)), "")
    head, colon, tail = source.removeprefix(scheme).rpartition(":")
    if not colon or "/" in tail or tail.endswith(_FILES):
        return source, None
    if not re.fullmatch(r"[0-9]+(_[0-9]+)*", tail) or int(tail) < 1:
        raise UsageError(
            f"dataset {source!r}: expected a number of transitions, 1 or more, after ':', found {tail!r}. Correct it."
        )
    return scheme + head, int(tail)


def label(source: str) -> str:
    """A source's name beside others of its task: `bundled/hopper/medium:10000` and `d4rl:hopper-medium-v2` are `medium`,
    `vd4rl:walker_walk/random/84px` is `random`."""
    base = parse_source(source)[0].split("@")[0]  # behind it are entries of observations
    for scheme in _SCHEMES:
        base = base.removeprefix(scheme)
    *above, name = base.rstrip("/").split("/")
    if above and name in ("84px", "64px"):
        name = above[-1]
    entry = d4rl_index.of_file(name) or d4rl_index.ENTRIES.get(name)
    if entry is not None:
        kind = entry.identity.rpartition("-")[0].removeprefix(entry.task.name.removeprefix("d4rl/"))
        return kind.lstrip("-") or entry.identity
    return name.removesuffix(".npz").removesuffix(".hdf5")


def known_datasets() -> list[str]:
    """The bundled logs, and D4RL's and Minari's datasets that are on this machine."""
    return [*bundled.names(), *d4rl_index.local(), *(f"minari:{identity}" for identity in minari_reader.local())]


def d4rl_datasets() -> list[str]:
    """Every dataset of D4RL that is known, `d4rl:<id>`, on this machine or not."""
    return d4rl_index.identities()
