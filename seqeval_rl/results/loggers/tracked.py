"""What the loggers of trackers share: which tracked run an evaluation belongs to, its group, its settings and its scalars."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqeval_rl.errors import UsageError
from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun
from seqeval_rl.results.read import EVENTS


def installed(package: str) -> Any:
    """The tracker's package, which has an extra of the same name. Raises `UsageError` where it cannot be imported."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"--logger {package}: expected the package {package}, found none ({error}). "
            f"Install it with pip install 'seqeval-rl[{package}]', or leave this logger out."
        ) from error


def project(variable: str) -> str:
    """The tracker's project: the value of the environment variable, or else `seqeval-rl`."""
    return os.environ.get(variable) or "seqeval-rl"


def results_of(run: LoggedRun) -> Path:
    """The results directory."""
    return run.directory.parents[2]


def group(run: LoggedRun) -> str:
    """The group of a run, of all seeds of one dataset and algorithm: `hopper-medium-v2/td3_bc`."""
    return run.name.rpartition("/")[0]


def tags(run: LoggedRun) -> tuple[str, str]:
    """The names of the dataset and of the algorithm."""
    return run.manifest["dataset"]["name"], run.manifest["algorithm"]["name"]


def run_id(run: LoggedRun) -> str:
    """An id that a run keeps when it is resumed, wherever its directory is then, and loses when it begins again."""
    try:
        with (run.directory / EVENTS).open("rb") as file:
            first = file.readline()  # of the first attempt: time, machine and process
    except OSError:
        first = b""
    return short_id(run.name.encode() + first)


def short_id(of: bytes) -> str:
    """12 characters."""
    return hashlib.sha256(of).hexdigest()[:12]


def scalars(point: LoggedPoint, metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of an evaluation with its other counters; `transitions` is the x-axis."""
    return {**metrics, "gradient_steps": point.gradient_steps, "env_steps": point.env_steps}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str | float | bool]:
    """The settings of nested tables under dotted names; what is neither a number nor text as text."""
    found: dict[str, str | float | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, (str, float, bool, int)) else str(value)
    return found
