"""Types for the fields of an algorithm's `Config`, which declare the range of a setting, and the configs of a run group."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Annotated, Any, Final

import torch
from pydantic import Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A float above 0."""

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A float of at least 0."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A float in [0, 1]."""

OpenFraction = Annotated[float, Field(gt=0, lt=1)]
"""A float in (0, 1)."""

Count = Annotated[int, Field(ge=1)]
"""An integer of at least 1."""

Layers = Annotated[tuple[Count, ...], Field(min_length=1)]
"""Widths of a network's hidden layers, at least one."""


OFFLINE_STEPS: Final = "gradient steps of the offline part"
"""As a value in `Algorithm.published`: the number of gradient steps that the run takes on its dataset."""


def common_settings(config: Any) -> Hashable:
    """What two runs of one group must have in common: the values of all fields that are not floats, and which are floats."""
    return tuple(
        (field.name, "a float" if isinstance(value, float) else repr(value))
        for field in dataclasses.fields(config)
        for value in [getattr(config, field.name)]
    )


def grouped_config(configs: Sequence[Any]) -> Any:
    """The settings of a group of R runs: a float in which they differ becomes a tensor [R], float64.

    Raises:
        ValueError: the settings differ in a field that is not a float.
    """
    first = configs[0]
    others = [config for config in configs if common_settings(config) != common_settings(first)]
    if others:
        raise ValueError(f"run group: expected settings that differ in floats only, found {first} and {others[0]}")
    swept = {
        field.name: torch.tensor(values, dtype=torch.float64)
        for field in dataclasses.fields(first)
        for values in [[getattr(config, field.name) for config in configs]]
        if any(value != values[0] for value in values)
    }
    return dataclasses.replace(first, **swept) if swept else first


def differing(config: Any) -> tuple[str, ...]:
    """The fields in which the runs of a group differ: those that are tensors [R]."""
    return tuple(f.name for f in dataclasses.fields(config) if isinstance(getattr(config, f.name), torch.Tensor))
