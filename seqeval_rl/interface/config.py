"""Types of configuration fields: the range of a setting is written where the setting is declared, and checked with the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A float above 0."""

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A float of at least 0."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""Any float that is a number."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A float from 0 to 1, both included."""

OpenFraction = Annotated[float, Field(gt=0, lt=1)]
"""A float between 0 and 1, neither included."""

Count = Annotated[int, Field(ge=1)]
"""An integer of at least 1."""

Layers = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
"""Widths of the hidden layers of a network, at least one."""


def common_settings(config: Any) -> Hashable:
    """What must be equal in the settings of two runs of one stack: every field that is not a float, and which fields are."""
    return tuple(
        (field.name, "a float" if isinstance(value, float) else repr(value))
        for field in dataclasses.fields(config)
        for value in [getattr(config, field.name)]
    )


def grouped_config(configs: Sequence[Any]) -> Any:
    """The settings of a stack of R runs: a float in which they differ becomes a tensor [R], float64.

    Raises:
        ValueError: they differ in something else than floats.
    """
    first = configs[0]
    wrong = [config for config in configs if common_settings(config) != common_settings(first)]
    if wrong:
        raise ValueError(f"settings of a stack: expected them to differ in floats only, found {first} and {wrong[0]}")
    swept = {
        field.name: torch.tensor(values, dtype=torch.float64)
        for field in dataclasses.fields(first)
        for values in [[getattr(config, field.name) for config in configs]]
        if any(value != values[0] for value in values)
    }
    return dataclasses.replace(first, **swept) if swept else first


def differing(config: Any) -> tuple[str, ...]:
    """The fields of a stack's settings that its runs have different values of."""
    return tuple(f.name for f in dataclasses.fields(config) if isinstance(getattr(config, f.name), torch.Tensor))
