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
    """How one algorithm, or one variant of it, is drawn."""

    colour: str
    line: Any  # matplotlib's line style
    marker: str
    hollow: bool = False  # whether the marker is an outline

    @property
    def properties(self) -> dict[str, Any]:
        """Line and marker as keyword arguments of matplotlib's `plot`."""
        outline = {"markerfacecolor": "white", "markersize": 5.0, "markeredgewidth": 0.8} if self.hollow else {}
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker, **outline}

    @property
    def marker_properties(self) -> dict[str, Any]:
        """`properties` without the line."""
        return self.properties | {"linestyle": ""}


def metric_label(metrics: Iterable[str]) -> str:
    """Of an axis with values of runs whose main metrics these are, see `RunResult.main_metric`."""
    labels = {"score": "normalized score", "return": "return"}
    return " or ".join(label for metric, label in labels.items() if metric in set(metrics))


LINES: dict[str, Any] = {
    "solid": "-",
    "long": (0, (6, 1.5)),
    "dashdot": (0, (5, 1.5, 1, 1.5)),
    "dashdotdot": (0, (4, 1.2, 1, 1.2, 1, 1.2)),
    "dotted": (0, (1.2, 1.2)),
    "short": (0, (2.5, 1.2)),
    "sparse": (0, (0.8, 2.4)),
}
KNOWN_ALGORITHMS = {
    "td3_bc": ("TD3+BC", LineStyle("#0072B2", LINES["solid"], "o")),
    "iql": ("IQL", LineStyle("#D55E00", LINES["long"], "s")),
    "cql": ("CQL", LineStyle("#009E73", LINES["dashdot"], "^")),
    "awac": ("AWAC", LineStyle("#CC79A7", LINES["dashdotdot"], "D")),
    "bc": ("BC", LineStyle("#000000", LINES["dotted"], "v")),
    "sac": ("SAC", LineStyle("#7A5C2E", LINES["long"], "*")),
}
# Of the project's other algorithms, whose looks are drawn like those of anybody's.
OTHER_NAMES = {
    "cal_ql": "Cal-QL", "decision_transformer": "Decision Transformer", "discrete_bc": "discrete BC",
    "discrete_cql": "discrete CQL", "dqn": "DQN", "drq_bc": "DrQ+BC", "edac": "EDAC", "fql": "FQL", "rebrac": "ReBRAC",
    "sac_n": "SAC-N", "td3": "TD3",
}  # fmt: skip


@dataclass(frozen=True)
class Override:
    """A user's changes to an algorithm's look, from a style file; None: unchanged."""

    name: str | None = None
    colour: str | None = None
    line: Any = None
    marker: str | None = None
    hollow: bool | None = None

    def applied(self, look: LineStyle) -> LineStyle:
        """The look with these changes."""
        given = {name: value for name, value in vars(self).items() if name != "name" and value is not None}
        return replace(look, **given)


# By algorithm, or by a variant's name in the legend. Of this thread or task: only `style.styled` sets it.
overrides: ContextVar[Mapping[str, Override]] = ContextVar("overrides", default=MappingProxyType({}))


def display_name(algorithm: str) -> str:
    """The name of the style file, else the one that papers use for an algorithm of this project, else the algorithm's own."""
    override = overrides.get().get(algorithm, Override())
    return override.name or KNOWN_ALGORITHMS.get(algorithm, (OTHER_NAMES.get(algorithm, algorithm),))[0]


# By the end of its key, the line of each control.
CONTROL_LINES = {" (static control)": LINES["sparse"], " (interleaved control)": LINES["short"]}


def control(name: str, kind: str = "static") -> str:
    """Key of the style of a control (static or interleaved), where `name` is that of the sequential runs: the same colour,
    another line."""
    return f"{name} ({kind} control)"


def algorithm_of(name: str) -> str:
    """The algorithm of a style's key, that of a variant `td3_bc (alpha=1)` or a control too."""
    return name.partition(" (")[0]


def legend_name(name: str) -> str:
    """The key of a style as the legend shows it: `TD3+BC (alpha=1)` for `td3_bc (alpha=1)`."""
    algorithm = algorithm_of(name)
    return display_name(algorithm) + name.removeprefix(algorithm)


def without_control(name: str) -> str:
    """The key of the sequential runs' style, for that of a control or of themselves."""
    for suffix in CONTROL_LINES:
        name = name.removesuffix(suffix)
    return name


def legend_order(names: Iterable[str]) -> list[str]:
    """Each key once: the reference algorithms in a fixed order, then the others by alphabet; variants by value.

    An algorithm's variants, `td3_bc (alpha=1)`, come in its place, a control after its sequential runs.
    """
    places = {algorithm: place for place, algorithm in enumerate(KNOWN_ALGORITHMS)}

    def rank(name: str) -> tuple[int, list[str | float], str]:
        own = without_control(name)
        return places.get(algorithm_of(own), len(places)), by_value(legend_name(own)), name.removeprefix(own)

    return sorted(set(names), key=rank)


def by_value(name: str) -> list[str | float]:
    """Sort key: names by alphabet, and those that differ in a setting's number by that: alpha=2.5 before alpha=10."""
    parts = re.split(r"(?<==)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=[,)]|$)", name)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]
