"""Run groups: which runs may train together, and how many of them fit on a device.

Runs share a group if their algorithm, task, shapes and protocol are the same and their settings differ in floats only: a
vectorized algorithm takes such a setting as a tensor [R], one value for each run, which its losses [R] broadcast.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seqeval_rl.environments.tasks import Task
from seqeval_rl.experiments.sweep import DECAY, Variant
from seqeval_rl.interface.config import common_settings
from seqeval_rl.protocol import Protocol, Schedule

MEMORY_SHARE = 0.8  # of a device's free memory that run groups may take
WORTH_A_PROCESS = 5.0  # estimated seconds of work; a worker takes some seconds to start


@dataclass(frozen=True)
class GroupKey:
    """What must be equal of two runs for one group to hold both."""

    algorithm: str  # reference, see `registry.find_algorithm`
    settings: Hashable  # all but the floats, and the gradient steps over which a rate decays
    task: Task
    protocol: Protocol
    resume_from: int  # evaluation, -1 for a fresh run: a group begins with one evaluation
    dataset_length: (
        int | None
    )  # transitions, where an online phase follows that all runs enter at the same time; else None

    @classmethod
    def of(cls, variant: Variant, schedule: Schedule, task: Task, resume_from: int = -1) -> GroupKey:
        """The key of a variant's runs on a stream of this task."""
        settings = common_settings(variant.config), variant.settings(schedule).get(DECAY)
        length = schedule.dataset_length if variant.protocol.online else None
        return cls(variant.entry.reference, settings, task, variant.protocol, resume_from, length)


@dataclass(frozen=True)
class GroupCandidate:
    """A run that is to be trained, as the planner sees it."""

    run: Any
    key: Any  # a `GroupKey`
    dataset: Hashable  # runs of one dataset share its rows
    dataset_bytes: int  # of the rows, on the device
    run_bytes: int  # of everything that the run has to itself, on the device
    seconds: float = 0.0  # of one core, estimated


def room_for_groups(device: torch.device) -> float:
    """Bytes that groups may take on a device: most of what is free on CUDA; on a CPU none, since one run fills a core."""
    return MEMORY_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0.0


def divide(candidates: Iterable[GroupCandidate], room: float) -> list[list[GroupCandidate]]:
    """Groups: runs of one key, in their order, as many in each as `room` bytes hold; at least one."""
    groups: list[list[GroupCandidate]] = []
    filling: dict[Hashable, list[GroupCandidate]] = {}  # by key
    for candidate in candidates:
        group = filling.get(candidate.key)
        if group is None or _bytes([*group, candidate]) > room:
            group = filling[candidate.key] = []
            groups.append(group)
        group.append(candidate)
    return groups


def _bytes(group: Sequence[GroupCandidate]) -> int:
    datasets = {candidate.dataset: candidate.dataset_bytes for candidate in group}
    return sum(datasets.values()) + sum(candidate.run_bytes for candidate in group)
