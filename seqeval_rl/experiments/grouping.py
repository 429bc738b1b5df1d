"""Which runs may train in one stack, and the settings of a stack whose runs differ in theirs.

Runs share a stack if their algorithm, task, shapes and protocol are the same and their settings differ in floats only:
a stacked algorithm takes such a setting as a tensor [R], one value for each run, which its losses [R] broadcast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import torch

from seqeval_rl.interface.config import common_settings

MOST = 0.8  # share of a device's free memory that stacks may take


@dataclasses.dataclass(frozen=True)
class GroupCandidate:
    """A run that is to be trained, as the planner sees it."""

    run: Any
    kind: Any  # hashable; only runs of one kind fit into one stack
    log: Hashable  # runs of one log share its rows
    dataset_bytes: int  # of the rows, on the device
    run_bytes: int  # of everything that the run has to itself, on the device


def kind(
    algorithm: str,
    config: Any,
    decay_steps: int | None,
    task: Hashable,
    protocol: Hashable,
    latest: int,
    length: int | None,
) -> tuple[Any, ...]:
    """What must be equal of two runs for one stack to hold both.

    Args:
        algorithm: its reference.
        config: its settings.
        decay_steps: gradient steps over which a rate decays, where the harness sets them.
        task: of the stream.
        protocol: of the run.
        latest: evaluation at which the run stands, -1 for a fresh one: only runs that stand at the same one train side by side.
        length: transitions of the log where an online phase follows, into which all go at the same time; else None.
    """
    return (algorithm, (common_settings(config), decay_steps), task, protocol, latest, length)


def room_for_groups(device: torch.device) -> float:
    """Bytes that stacks may take on a device: most of what is free on CUDA; on a CPU none, since one run fills a core."""
    return MOST * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0.0


def divide(candidates: Iterable[GroupCandidate], room: float) -> list[list[GroupCandidate]]:
    """Stacks: runs of one kind, in their order, as many in each as `room` bytes hold; at least one."""
    stacks: list[list[GroupCandidate]] = []
    latest: dict[Any, list[GroupCandidate]] = {}  # by kind, the stack that is being filled
    for candidate in candidates:
        stack = latest.get(candidate.kind)
        if stack is None or _bytes([*stack, candidate]) > room:
            stack = latest[candidate.kind] = []
            stacks.append(stack)
        stack.append(candidate)
    return stacks


def _bytes(stack: Sequence[GroupCandidate]) -> int:
    logs = {candidate.log: candidate.dataset_bytes for candidate in stack}
    return sum(logs.values()) + sum(candidate.run_bytes for candidate in stack)


WORTH_A_PROCESS = 5.0  # estimated seconds of work; a worker takes some seconds to start
