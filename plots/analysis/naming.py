"""Names, colours, lines and markers of algorithms, and a user's changes to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class LineStyle:
    """How one algorithm is drawn."""

    colour: str
    line: Any  # matplotlib's line style
    marker: str
    hollow: bool = False  # whether the marker is an outline

    @property
    def drawn(self) -> dict[str, Any]:
        """Line and marker as matplotlib's properties of a line."""
        outline = {"markerfacecolor": "white", "markersize": 5.0, "markeredgewidth": 0.8} if self.hollow else {}
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker, **outline}


SOLID: Any = "-"
LONG: Any = (0, (6, 1.5))
DASHDOT: Any = (0, (5, 1.5, 1, 1.5))
DASHDOTDOT: Any = (0, (4, 1.2, 1, 1.2, 1, 1.2))
DOTTED: Any = (0, (1.2, 1.2))
SHORT: Any = (0, (2.5, 1.2))
SPARSE: Any = (0, (0.8, 2.4))

KNOWN_ALGORITHMS = {
    "td3_bc": ("TD3+BC", LineStyle("#0072B2", SOLID, "o")),
    "iql": ("IQL", LineStyle("#D55E00", LONG, "s")),
    "cql": ("CQL", LineStyle("#009E73", DASHDOT, "^")),
    "awac": ("AWAC", LineStyle("#CC79A7", DASHDOTDOT, "D")),
    "bc": ("BC", LineStyle("#000000", DOTTED, "v")),
    "sac": ("SAC", LineStyle("#7A5C2E", LONG, "*")),
}


@dataclass(frozen=True)
class Override:
    """What a user wants of an algorithm's look, see `style_file.styled`; None: as it is."""

    name: str | None = None
    colour: str | None = None
    line: Any = None
    marker: str | None = None
    hollow: bool | None = None

    def applied(self, look: LineStyle) -> LineStyle:
        """The look with what is given in its place."""
        given = {"colour": self.colour, "line": self.line, "marker": self.marker, "hollow": self.hollow}
        return replace(look, **{name: value for name, value in given.items() if value is not None})


# By algorithm, or by a variant's name in the legend. Of this thread or task: set by `style_file.styled` alone.
overrides: ContextVar[Mapping[str, Override]] = ContextVar("overrides", default=MappingProxyType({}))


def display_name(algorithm: str) -> str:
    """The user's name for it (`style_file.styled`), else that which papers use, for the reference algorithms, else its own."""
    override = overrides.get().get(algorithm)
    if override is not None and override.name is not None:
        return override.name
    return KNOWN_ALGORITHMS[algorithm][0] if algorithm in KNOWN_ALGORITHMS else algorithm


CONTROL_SUFFIX = " (static control)"


def control(name: str) -> str:
    """The style's key of the static control of the runs whose key is `name`: their colour, another line."""
    return name + CONTROL_SUFFIX


def legend_order(names: Iterable[str]) -> list[str]:
    """Each name once: the reference algorithms in a fixed order, then the others by alphabet; variants by value.

    A reference algorithm's variants, `TD3+BC (alpha=1)`, stand where it stands, a static control behind its own.
    """

    def place(name: str) -> int:
        shown = enumerate((key, f"{display_name(key)} (") for key in KNOWN_ALGORITHMS)
        return next((i for i, (key, start) in shown if name == key or name.startswith(start)), len(KNOWN_ALGORITHMS))

    def rank(name: str) -> tuple[int, list[str | float], bool]:
        own = name.removesuffix(CONTROL_SUFFIX)
        return place(own), by_value(display_name(own)), own != name

    return sorted(set(names), key=rank)


def by_value(name: str) -> list[str | float]:
    """Sorts names by alphabet, and those that differ in a setting's number by this: alpha=2.5 before alpha=10."""
    parts = re.split(r"(?<==)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=[,)]|$)", name)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]
