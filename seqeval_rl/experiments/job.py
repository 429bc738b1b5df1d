"""A job: the runs of one group, with everything a worker process needs to train them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import Task
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.device import Precision


@dataclass(frozen=True)
class PlannedRun:
    """One run of a job; can be sent to another process."""

    stream: StreamSpec
    # Of the algorithm's Config; the Config itself may be of a class that only this process has loaded.
    settings: dict[str, Any]
    seed: int
    directory: Path
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know: the runs of a group, and how they are trained."""

    runs: tuple[PlannedRun, ...]
    task: Task
    algorithm: str  # reference, see registry.find_algorithm
    protocol: Protocol
    device: str
    backend: str  # of the environments: auto, envpool or gymnasium
    precision: Precision  # of matrix products
    overwrite: bool
    cost: float  # estimated seconds of one core
    loggers: tuple[str, ...] = ()  # more than `metrics.jsonl`, see `find_logger`


@dataclass(frozen=True)
class RunEnd:
    """How a run ended."""

    directory: Path
    status: str  # finished, failed (diverged; it stays so) or crashed (an exception; the same command tries again)
    message: str = ""
