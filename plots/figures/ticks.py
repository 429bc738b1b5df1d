"""Ticks of axes: round numbers, counts as 250k, logarithmic axes with plain numbers.

Like the other modules of this package it imports matplotlib only when something is drawn, so that listing figures is quick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


def format_count(number: float) -> str:
    """A number of transitions as axes show it: 0, 250k, 1M."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:.6g}{suffix}"
    return f"{number:.6g}"


def short(number: float) -> str:
    """A number with three digits."""
    return f"{number:.3g}"


def round_ticks(axis: Axis, most: int, integer: bool = False) -> None:
    """At most about `most` ticks at distances of 1, 2, 2.5 or 5 times a power of ten; with `integer` at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=integer))


def labelled(axis: Axis, text: Callable[[float], str]) -> None:
    """Ticks are labelled with `text` of their number."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def logarithmic_ticks(axis: Axis, multiples: tuple[int, ...], most: int, text: Callable[[float], str]) -> None:
    """At most `most` ticks at these multiples of powers of ten, labelled with `text`; no minor ticks."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=multiples, numticks=most))
    axis.set_minor_locator(NullLocator())
    labelled(axis, text)


def logarithmic_x(ax: Axes, values: list[float], most: int) -> None:
    """A logarithmic x-axis with at most `most` round numbers within the range of the values, all of them above 0."""
    from matplotlib.ticker import NullFormatter, NullLocator

    room = max(1.3, (max(values) / min(values)) ** 0.12)
    low, high = min(values) / room, max(values) * room
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    round_numbers = [multiple * 10.0**power for power in range(first, last + 1) for multiple in (1, 2, 5)]
    inside = [number for number in round_numbers if low <= number <= high]
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_xticks(inside[:: -(-len(inside) // most)] if inside else [min(values)])
    labelled(ax.xaxis, short)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
