"""What figures of one or a few axes share: the caption below, the legend above, names beside rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from seqeval_rl.plots import layout, style

NICE = [1, 2, 2.5, 5, 10]  # distances of ticks
Entries = Sequence[tuple[str, style.LineStyle]]  # of a legend: label and look


def framed(inches: float, height: float, text: str, draw: Callable[[Figure], None]) -> Figure:
    """What `draw` puts into `height` inches, and the caption below it."""
    with mpl.rc_context(style.RC):
        lines = style.wrap(text, (inches - 0.2) / layout.SCREEN).split("\n") if text else []
        figure = Figure(figsize=(inches, height + layout.LINE_HEIGHT * len(lines) + 0.15), layout="constrained")
        draw(figure)
        if lines:
            figure.supxlabel("\n".join(lines), x=0.1 / inches, ha="left", linespacing=1.25)
    return figure


def legend(figure: Figure, entries: Entries, inches: float, lines: bool = True) -> None:
    """Above the axes, in as many columns as fit; markers alone where not `lines`."""
    labels = _labels(entries, inches)
    without = {} if lines else {"linestyle": ""}
    handles = [
        Line2D([], [], **look.drawn | without, label=label) for label, (_, look) in zip(labels, entries, strict=True)
    ]
    columns = layout.legend_columns(labels, inches)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, **layout.LEGEND)


def entries_height(entries: Entries, inches: float) -> float:
    """Of `legend`, in inches."""
    labels = _labels(entries, inches)
    return layout.legend_height(labels, layout.legend_columns(labels, inches))


def _labels(entries: Entries, inches: float) -> list[str]:
    return [style.wrap(label, inches - layout.LEGEND_ROOM - 0.2, 3) for label, _ in entries]


def names_of(labels: Sequence[str], width: float, most: int = 3) -> tuple[list[str], float, int]:
    """Names in at most `most` lines of `width` inches, how wide they are, and in how many lines."""
    names = [style.wrap(label, width, max(1, min(most, 3))) for label in labels]
    rows = [name.split("\n") for name in names]
    return names, max(style.text_width(line) for lines in rows for line in lines), max(map(len, rows))
