"""Readers: a source, given as text or as arrays, becomes a `Dataset`.

Sources are `bundled/<task>/<level>`, `minari:<id>`, `ogbench:<name>`, `vd4rl:<directory>` and the path of an `.npz` file (own
arrays, or OGBench's), each with `:N` behind it for the first N transitions, or a mapping of arrays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from seqeval_rl import bundled, minari_logs, npz_files, ogbench, vd4rl
from seqeval_rl.dataset import Dataset, environment_spaces, task_of_log
from seqeval_rl.errors import DataError, UsageError, unknown
from seqeval_rl.tasks import Task

_SCHEMES = ("minari:", "ogbench:", "vd4rl:")
_REQUIRED = ("observations", "actions", "rewards", "terminations", "truncations")
_SCALARS = ("env_id", "reference_min", "reference_max")
_OPTIONAL = ("next_observations", "episode_starts", *_SCALARS, "action_low", "action_high")


def load_dataset(
    source: str | os.PathLike[str] | Mapping[str, Any], task: Task | None = None, progress: bool = True
) -> Dataset:
    """Read, build or download a dataset.

    Args:
        source: `bundled/hopper/medium`, `minari:D4RL/door/human-v2`, `minari:D4RL/antmaze/umaze-v1@observation@desired_goal`,
            `ogbench:antmaze-large-navigate-singletask-v0`, `vd4rl:vd4rl_data/main/walker_walk/random/84px`,
            `logs/mine.npz`, each with an optional `:10000` for a prefix; or a mapping with the keys of such a file:
            `observations`, `actions`, `rewards`, `terminations`, `truncations`, and where there are any
            `next_observations`, `episode_starts`, `env_id`, `reference_min`, `reference_max`, `action_low`, `action_high`
            (see `Dataset.from_arrays`).
        task: environment and reference returns; by default those that come with the data, else those of the known task
            with that environment.
        progress: show a bar for what takes long.

    Raises:
        UsageError: the source is not understood or not known.
        DataError: the data cannot be used, or nothing tells their task.
        FileError: a file cannot be read or written, or a download failed.
        EnvironmentMissingError: arrays without action bounds, of an environment that is not installed.
    """
    if isinstance(source, Mapping):
        return _from_columns("arrays", source, task)
    base, size = parse_source(os.fspath(source))
    if base.startswith("minari:"):
        dataset = minari_logs.read(base.removeprefix("minari:"), task, progress)
    elif base.startswith("ogbench:"):
        dataset = ogbench.read(ogbench.obtain(base.removeprefix("ogbench:"), progress), base, task)
    elif base.startswith("vd4rl:"):
        dataset = vd4rl.read(base.removeprefix("vd4rl:"), task, progress)
    elif base.endswith(".npz"):
        if ogbench.recognised(npz_files.names(base)):
            dataset = ogbench.read(base, base, task)
        else:
            dataset = _from_columns(base, npz_files.load(base), task)
    elif base in bundled.names():
        _, task_name, level = base.split("/")
        dataset = bundled.build(task_name, level, bundled.FULL if size is None else size, progress=progress)
        return dataset if task is None else replace(dataset, task=task)
    else:
        raise unknown(
            "dataset", base, [*known_datasets(), "minari:<id>", "ogbench:<name>", "vd4rl:<directory>", "<path>.npz"]
        )
    return dataset if size is None else dataset.prefix(size)


def parse_source(source: str) -> tuple[str, int | None]:
    """`"bundled/hopper/medium:10000"` as `("bundled/hopper/medium", 10000)`; None where no size is given.

    Raises:
        UsageError: what stands behind the colon is no number of transitions.
    """
    scheme = next((scheme for scheme in _SCHEMES if source.startswith(scheme)), "")
    head, colon, tail = source.removeprefix(scheme).rpartition(":")
    if not colon or "/" in tail or tail.endswith(".npz"):
        return source, None
    if not re.fullmatch(r"[0-9]+(_[0-9]+)*", tail) or int(tail) < 1:
        raise UsageError(
            f"dataset {source!r}: expected a number of transitions, 1 or more, after ':', found {tail!r}. Correct it."
        )
    return scheme + head, int(tail)


def known_datasets() -> list[str]:
    """The bundled logs and the Minari datasets that are on this machine."""
    return [*bundled.names(), *(f"minari:{identity}" for identity in minari_logs.local())]


def _from_columns(name: str, columns: Mapping[str, Any], task: Task | None) -> Dataset:
    missing = [key for key in _REQUIRED if key not in columns]
    extra = [str(key) for key in columns if key not in (*_REQUIRED, *_OPTIONAL)]
    if missing or extra:
        found = " and ".join(
            f"{what} {', '.join(keys)}" for what, keys in (("no", missing), ("the unknown", extra)) if keys
        )
        raise DataError(
            f"{name}: expected arrays {', '.join(_REQUIRED)} and perhaps {', '.join(_OPTIONAL)}, found {found}. "
            "Rename or leave out."
        )
    if task is None:
        env_id, low, high = (npz_files.scalar(name, key, columns) for key in _SCALARS)
        how = "Give a task, or add env_id, reference_min and reference_max."
        task = task_of_log(name, env_id, low, high, how)
    bounds = [columns.get("action_low"), columns.get("action_high")]
    if any(bound is None for bound in bounds):
        space = environment_spaces(task.environment)[1]
        own = [getattr(space, side, None) for side in ("low", "high")]
        bounds = [given if given is not None else default for given, default in zip(bounds, own, strict=True)]
    return Dataset.from_arrays(
        name,
        task,
        **{key: columns[key] for key in _REQUIRED},
        next_observations=columns.get("next_observations"),
        episode_starts=columns.get("episode_starts"),
        action_low=bounds[0],
        action_high=bounds[1],
    )
