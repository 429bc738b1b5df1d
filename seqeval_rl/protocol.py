"""The settings of the protocol and the arithmetic of its loop: what is visible when, and when to evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqeval_rl.errors import DataError, UsageError, unknown

Order = Literal["shuffled", "episodes", "logged"]


class Protocol(BaseModel):
    """Settings of sequential evaluation; the defaults are those of the published runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    initial: int = Field(default=5_000, ge=1, description="T0: transitions visible before the first update")
    increment: int = Field(default=1, ge=1, description="gamma: transitions revealed at once")
    updates_per_increment: int = Field(default=1, ge=1, description="K: gradient steps after each reveal")
    batch_size: int = Field(default=256, ge=1, description="B: transitions per gradient step")
    order: Order = Field(default="shuffled", description="in which order the log arrives")
    window: int | None = Field(
        default=None, ge=1, description="only the newest w visible transitions are sampled; none = all"
    )
    evaluate_every: int = Field(default=5_000, ge=1, description="transitions between evaluations")
    episodes: int = Field(default=10, ge=1, description="E: evaluation episodes each time")
    divergence_limit: float = Field(
        default=1e6, gt=0, description="a mean Q value farther from 0 than this ends the run as failed"
    )

    @classmethod
    def parse(cls, settings: Mapping[str, Any], where: str) -> Protocol:
        """Settings checked by type, range and against each other; raises `UsageError` in one line saying what to change."""
        for name in settings:
            if name not in cls.model_fields:
                raise unknown("protocol setting", name, cls.model_fields, where)
        try:
            protocol = cls(**settings)
        except ValidationError as error:
            raise invalid(error, "protocol", where) from None
        if protocol.window is not None and protocol.window < protocol.batch_size:
            raise UsageError(
                f"protocol.window in {where}: expected at least batch_size = {protocol.batch_size}, found {protocol.window}. "
                "Widen the window or shrink the batch."
            )
        return protocol


def invalid(error: ValidationError, section: str, where: str) -> UsageError:
    """The first complaint of pydantic as one line."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in (section, *first["loc"]))
    return UsageError(f"setting {path} in {where}: {first['msg']}, found {first['input']!r}. Change it and run again.")


@dataclass(frozen=True)
class Point:
    """A point of the loop at which the runs are evaluated."""

    index: int  # which evaluation, 0 = untrained
    transitions: int  # t, transitions seen so far, T0 included
    gradient_steps: int  # updates so far


class Schedule:
    """What the loop does to a stream of N transitions: increment j = 1, 2, … shows t_j = min(T0 + jγ, N), then takes K steps.

    Gradient steps are counted from 0, so step g belongs to increment g // K + 1. Pure arithmetic: nothing depends on data.
    """

    def __init__(self, protocol: Protocol, total: int, where: str = "the stream"):
        """For a stream of `total` transitions; raises `DataError` unless T0 < N and the first window holds a batch."""
        if protocol.initial >= total:
            raise DataError(
                f"{where}: expected more transitions than protocol.initial = {protocol.initial}, found {total}. "
                "Use a longer log or a smaller initial."
            )
        self.protocol = protocol
        self.total = total
        self.increments = -(-(total - protocol.initial) // protocol.increment)
        self.gradient_steps = self.increments * protocol.updates_per_increment

    def visible(self, increments: NDArray[np.int64]) -> NDArray[np.int64]:
        """t after that many increments, any shape."""
        return np.minimum(self.protocol.initial + increments * self.protocol.increment, self.total)

    def window(self, gradient_steps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For gradient steps [G], the half-open range of arrival positions that may be sampled: (low [G], high [G])."""
        high = self.visible(gradient_steps // self.protocol.updates_per_increment + 1)
        width = self.protocol.window
        return (np.zeros_like(high) if width is None else np.maximum(high - width, 0)), high

    def points(self) -> list[Point]:
        """Where to evaluate: before training, whenever t crosses a multiple of `evaluate_every`, and at the end."""
        every = self.protocol.evaluate_every
        counts = self.visible(np.arange(self.increments + 1, dtype=np.int64))
        crossed = np.flatnonzero(np.diff(counts // every)) + 1
        increments = np.unique(np.concatenate(([0], crossed, [self.increments])))
        per_increment = self.protocol.updates_per_increment
        return [Point(i, int(counts[j]), int(j) * per_increment) for i, j in enumerate(increments)]
