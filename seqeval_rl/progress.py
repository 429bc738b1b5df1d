"""What jobs tell while they run; plain data, so that it travels from process to process. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Scored(NamedTuple):
    """A run's score at an evaluation."""

    run: int  # its place in the job
    evaluation: int
    score: float


class Failed(NamedTuple):
    """A run that cannot go on."""

    run: int  # its place in the job
    reason: str


@dataclass(frozen=True)
class Progress:
    """What a job tells while it runs: about twice a second, and at each evaluation."""

    job: int
    share: float  # of its gradient steps, 0 to 1
    gradient_steps: int = 0  # taken since the job began, by all of its runs together
    transitions: int | None = None  # t of the runs that train at the moment; None before they begin
    scores: tuple[Scored, ...] = ()  # that are new, and at first those of earlier attempts
    failures: tuple[Failed, ...] = ()  # that are new
    last: bool = False  # nothing follows
