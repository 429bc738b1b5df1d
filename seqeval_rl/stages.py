"""The way of a stack whose streams are of different lengths: all runs side by side until the shortest ends, then the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

RunT = TypeVar("RunT")


@dataclass(frozen=True)
class Stage(Generic[RunT]):
    """What some runs do side by side."""

    runs: tuple[RunT, ...]
    updates: int  # gradient steps of each of them
    evaluations: int  # of each of them


def stages(runs: Sequence[tuple[RunT, int, int]]) -> list[Stage[RunT]]:
    """The stages of a stack whose runs, each with its gradient steps and evaluations, begin together; one where all are equally
    long."""
    found: list[Stage[RunT]] = []
    updates = evaluations = 0
    for end in sorted({ends for _, ends, _ in runs}):
        left = [run for run in runs if run[1] >= end]
        evaluated = min(count for _, _, count in left)
        found.append(Stage(tuple(run for run, _, _ in left), end - updates, evaluated - evaluations))
        updates, evaluations = end, evaluated
    return found
