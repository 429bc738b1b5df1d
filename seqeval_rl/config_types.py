"""Types of configuration fields: the range of a setting is written where the setting is declared, and checked with the file."""

from __future__ import annotations

from typing import Annotated

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
