"""The settings of sequential evaluation, and the arithmetic of its loop: which transitions are visible when, when to evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from seqeval_rl.errors import DataError, UsageError, at, invalid, unknown

Order = Literal["shuffled", "episodes", "logged"]
Phase = Literal["offline", "online"]
_LARGEST = 10**12  # of any number of transitions or steps in a setting
_MOST_EVALUATIONS = 10**6
_MOST_STEPS = 2**53  # gradient steps, so that they are exact in any file


def _transitions(value: int | float) -> int | float:
    """A number of transitions from 1, or a share of the dataset between 0 and 1."""
    if 1 <= value <= _LARGEST and value == int(value):
        return int(value)
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError(
        f"expected a whole number of transitions from 1 to {_LARGEST:,}, or a share of the dataset between 0 and 1"
    )


Extent = Annotated[int | float, AfterValidator(_transitions)]


class Protocol(BaseModel):
    """Settings of sequential evaluation; the defaults are those of the published runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    initial: Extent = Field(
        default=5_000, description="T0: transitions visible before the first update; below 1 a share of the dataset"
    )
    increment: int = Field(default=1, ge=1, le=_LARGEST, description="gamma: transitions revealed at once")
    updates_per_increment: int = Field(default=1, ge=1, le=_LARGEST, description="K: gradient steps after each reveal")
    batch_size: int = Field(default=256, ge=1, le=_LARGEST, description="B: transitions per gradient step")
    order: Order = Field(
        default="shuffled", description="in which the dataset arrives: shuffled, episodes (each kept whole) or logged"
    )
    window: int | None = Field(
        default=None, ge=1, le=_LARGEST, description="only the newest w visible transitions are sampled; none = all"
    )
    evaluate_every: Extent = Field(
        default=5_000, description="transitions between evaluations; below 1 a share of the dataset"
    )
    episodes: int = Field(
        default=10,
        ge=0,
        le=_LARGEST,
        description="E: episodes of an evaluation; 0: no environment, prequential scores only",
    )
    online: int = Field(
        default=0,
        ge=0,
        le=_LARGEST,
        description="transitions that the policy gathers in an environment after the dataset",
    )
    static: bool = Field(
        default=False, description="control: the full dataset is visible from the start, for as many gradient steps"
    )
    uses_future_data: bool = Field(
        default=False, description="as published: statistics of the full dataset, and schedules that know its length"
    )
    max_episode_steps: int | None = Field(
        default=None,
        ge=1,
        le=_LARGEST,
        description="time limit of episodes, in environment steps; none: the environment's own, and 1000 where it has none",
    )
    divergence_limit: float = Field(
        default=1e6, gt=0, description="a run whose mean Q value is farther from 0 than this has failed"
    )

    @classmethod
    def parse(cls, settings: Mapping[str, Any], where: str) -> Protocol:
        """Settings checked by type, by range and against each other. Raises `UsageError`, one line that says what to change."""
        for name in settings:
            if name not in cls.model_fields:
                raise unknown("protocol setting", name, cls.model_fields, at(where, f"protocol.{name}"))
        try:
            protocol = cls(**settings)
        except ValidationError as error:
            raise invalid(error, "protocol", where) from None
        if protocol.window is not None and protocol.window < protocol.batch_size:
            place = at(where, "protocol.window")
            raise UsageError(
                f"protocol.window in {place}: expected at least batch_size = {protocol.batch_size}, found {protocol.window}. "
                "Widen the window or shrink the batch."
            )
        for name in ("window", "online"):
            if protocol.static and getattr(protocol, name):
                place = at(where, f"protocol.{name}")
                raise UsageError(
                    f"protocol.{name} in {place}: expected none with static = true, found {getattr(protocol, name)}. "
                    "The static control shows the full dataset at once and nothing else: leave one of them out."
                )
        return protocol


@dataclass(frozen=True)
class EvaluationPoint:
    """When the runs are evaluated."""

    index: int  # which evaluation, 0 = untrained
    transitions: int  # t, transitions visible so far, T0 included, offline plus online
    gradient_steps: int  # updates so far
    env_steps: int = 0  # of the online phase so far

    @property
    def phase(self) -> Phase:
        """Whether the newest transition is from the dataset or was gathered by the policy."""
        return "online" if self.env_steps else "offline"


class Schedule:
    """The loop over N transitions of a dataset and M online: increment j = 1, 2, … reveals γ more, then takes K gradient steps.

    t_j = min(T0 + jγ, N) in the offline phase, which takes J increments; then t_j = min(N + (j - J)γ, N + M). Without a dataset
    the first T0 transitions are gathered before the first gradient step. Gradient steps are counted from 0, so step g
    belongs to increment g // K + 1. Pure arithmetic: nothing depends on data.
    """

    def __init__(self, protocol: Protocol, dataset_length: int, where: str = "the stream"):
        """For a dataset of N transitions; 0: online learning alone.

        Raises:
            DataError: not T0 < N, or without a dataset not T0 < M.
            UsageError: a share of a dataset where there is none; or more evaluations or gradient steps than can be counted.
        """
        self.protocol, self.dataset_length = protocol, dataset_length
        self.initial, self.evaluate_every = (self._whole(name, where) for name in ("initial", "evaluate_every"))
        self.total = dataset_length + protocol.online
        available, what = (
            (dataset_length, "")
            if dataset_length
            else (protocol.online, " of protocol.online, since there is no dataset")
        )
        if self.initial >= available:
            raise DataError(
                f"{where}: expected more transitions than protocol.initial = {self.initial}, found {available}{what}. "
                "Use a longer dataset or a smaller initial."
            )
        gamma = protocol.increment
        self._offline = -(-(dataset_length - self.initial) // gamma) if dataset_length else 0  # J
        self._base = dataset_length or self.initial  # t after J increments
        self.increments = self._offline + -(-(self.total - self._base) // gamma)
        self.gradient_steps = self.increments * protocol.updates_per_increment
        self.offline_gradient_steps = self._offline * protocol.updates_per_increment
        evaluations = self.total // self.evaluate_every
        for name, found, most, remedy in (
            ("evaluations", evaluations, _MOST_EVALUATIONS, "Raise protocol.evaluate_every"),
            ("gradient steps", self.gradient_steps, _MOST_STEPS, "Lower protocol.updates_per_increment"),
        ):
            if found > most:
                raise UsageError(f"{where}: expected at most {most:,} {name}, found {found:,}. {remedy}.")

    def _whole(self, name: str, where: str) -> int:
        """A setting in transitions."""
        value = getattr(self.protocol, name)
        if isinstance(value, int):
            return value
        if not self.dataset_length:
            raise UsageError(
                f"{where}: expected protocol.{name} in transitions, since there is no dataset, found the share {value:g}."
            )
        return max(1, round(value * self.dataset_length))

    def seen(self, increments: NDArray[np.int64]) -> NDArray[np.int64]:
        """t after that many increments (any shape) of a sequential run; also the position of a static control on that axis."""
        gamma = self.protocol.increment
        offline = np.minimum(self.initial + increments * gamma, self.dataset_length)
        online = np.minimum(self._base + (increments - self._offline) * gamma, self.total)
        return np.where(increments <= self._offline, offline if self.dataset_length else online, online)

    def visible(self, increments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Transitions that are visible after that many increments (any shape): t, or all of them for the static control."""
        return np.full_like(increments, self.dataset_length) if self.protocol.static else self.seen(increments)

    def window(self, gradient_steps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For gradient steps [G], the half-open range of arrival positions that may be sampled: (low [G], high [G])."""
        high = self.visible(gradient_steps // self.protocol.updates_per_increment + 1)
        width = self.protocol.window
        return (np.zeros_like(high) if width is None else np.maximum(high - width, 0)), high

    def points(self) -> list[EvaluationPoint]:
        """When to evaluate: before training, whenever t crosses a multiple of `evaluate_every`, and at the end of each phase."""
        increments = np.array([0, self._offline, self.increments])
        first, boundary, last = self.seen(increments)
        multiples = np.arange(first // self.evaluate_every + 1, last // self.evaluate_every + 1) * self.evaluate_every
        # The increments after which t is at least a multiple, of the offline and of the online phase.
        offline, online = multiples[multiples <= boundary], multiples[multiples > boundary]
        gamma = self.protocol.increment
        crossed = np.concatenate((-((self.initial - offline) // gamma), self._offline - (self._base - online) // gamma))
        increments = np.unique(np.concatenate(([0, self._offline], crossed, [self.increments])))
        visible, per_increment = self.visible(increments), self.protocol.updates_per_increment
        return [
            EvaluationPoint(i, int(t), int(j) * per_increment, max(int(t) - self.dataset_length, 0))
            for i, (j, t) in enumerate(zip(increments, visible, strict=True))
        ]
