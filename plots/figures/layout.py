"""Layout of figures in inches: text that fits, the grid of panels, names above each, ticks, the legend, the caption.

Imports matplotlib only when something is drawn, so that listing figures is quick.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.grouping import Panel
from seqeval_rl.plots.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


# Levels of datasets, in the literature's order.
_LEVELS = ("random", "replay", "medium-replay", "medium", "medium-expert", "expert")
SCREEN = 1.03  # how much wider text can be in pixels than on paper
LINE_HEIGHT = 0.15  # inches, of text of the font size


@lru_cache(maxsize=4096)
def text_width(text: str) -> float:
    """Width of a line of text at the figures' font size, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=style.rc()["font.family"], size=style.rc()["font.size"])
    width: float = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    return width / 72


def shorten(text: str, width: float) -> str:
    """`text` with as much of its middle left out (…) as it takes to be at most `width` inches wide."""
    if text_width(text) <= width:
        return text

    def without_middle(kept: int) -> str:
        return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"

    # Measuring each of thousands of letters takes minutes. Kerning can make a text a little wider where a letter is left out.
    near = bisect_right(range(len(text)), width, key=lambda kept: text_width(without_middle(kept)))
    for kept in range(min(len(text) - 1, near + 4), 1, -1):
        if text_width(short := without_middle(kept)) <= width:
            return short
    return "…"


def wrap(text: str, width: float, lines: int | None = None) -> str:
    """`text` broken into lines of at most `width` inches, after a space or one of `/ - _ , →`.

    A word that is too wide, and with `lines` the last line, are shortened in the middle.
    """
    pieces = [piece for piece in re.split(r"(?<=[\s/\-_,→])", text) if piece]
    rows = [""]
    for index, piece in enumerate(pieces):
        if not rows[-1] or text_width((rows[-1] + piece).rstrip()) <= width:
            rows[-1] += piece
        elif lines is not None and len(rows) == lines:
            rows[-1] += "".join(pieces[index:])
            break
        else:
            rows.append(piece)
    return "\n".join(shorten(row.strip(), width) for row in rows)


def figure_width(width: str | float) -> float:
    """A named width, or inches, in inches; raises `UsageError` for anything else."""
    if isinstance(width, str):
        if width not in style.WIDTHS:
            raise unknown("figure width", width, style.WIDTHS)
        return style.WIDTHS[width]
    if not 1 <= width <= 100:
        raise UsageError(
            f"figure width: expected 1 to 100 inches, found {width}. Give inches or one of {', '.join(style.WIDTHS)}."
        )
    return float(width)


def grid(panels: list[Panel], inches: float) -> list[list[int | None]]:
    """Rows of panels, by index: tasks × levels if the datasets fill such a grid and it fits, else in reading order."""
    most = max(1, int(inches / 1.55))
    # D4RL's names contain the task's name without `d4rl/`.
    levels = [panel.title.replace(panel.task.rpartition("/")[2], "*", 1) for panel in panels]
    places = {(panel.task, level): index for index, (panel, level) in enumerate(zip(panels, levels, strict=True))}
    columns = sorted(set(levels), key=_by_level)
    tasks = sorted({panel.task for panel in panels})
    if len(places) == len(panels) == len(tasks) * len(columns) and len(tasks) > 1 and 1 < len(columns) <= most:
        return [[places[task, level] for level in columns] for task in tasks]
    order = sorted(range(len(panels)), key=lambda index: (panels[index].task, _by_level(levels[index])))
    across = min(len(panels), most, 2 if len(panels) == 4 else 3)  # no empty places
    cells = [*order, *[None] * (-len(panels) % across)]
    return [cells[start : start + across] for start in range(0, len(cells), across)]


def _by_level(title: str) -> tuple[int, str]:
    """Sort key: random before medium before expert, other names by alphabet and last."""
    level = re.split(r"[/:]", title.partition("*")[2].partition(":")[0].strip("/-_ "))[-1]
    level = re.sub(r"-v\d+$", "", level)
    return (_LEVELS.index(level) if level in _LEVELS else len(_LEVELS), title)


@dataclass(frozen=True)
class Top:
    """The text above a panel: its title, and the names of blocks and online phase in as many rows as they need."""

    title: str
    names: list[tuple[str, float, int]]  # text, centre as a share of the axes' width, row from below

    @property
    def rows(self) -> int:
        """Lines of names."""
        return 1 + max((row for _, _, row in self.names), default=-1)

    @property
    def lines(self) -> int:
        """Of names and title together."""
        return self.rows + self.title.count("\n") + 1


def above(panel: Panel, width: float, named: bool = True) -> Top:
    """For axes of `width` inches; with `named` the name of each block and of the online phase, in the lowest free row."""
    names = []
    ends = [0.0] * 6  # of what is written so far in each row
    for name, start, stop in panel.spans if named and (len(panel.spans) > 1 or panel.online) else ():
        label = shorten(name, width)
        half = text_width(label) / 2
        middle = min(max((start + stop) / 2 / panel.extent * width, half), width - half)
        row = next((row for row, end in enumerate(ends) if middle - half >= end), None)
        if row is None:
            continue  # more blocks than names have room for: the boundaries alone are drawn
        ends[row] = max(ends[row], middle + half + 0.08)
        names.append((label, middle / width, row))
    return Top(wrap(panel.title, width + 0.1, 3), names)


Entries = Sequence[tuple[str, dict[str, Any]]]  # of a legend: label, and properties of its line


def framed(inches: float, height: float, text: str, draw: Callable[[Figure], None]) -> Figure:
    """A figure with what `draw` puts into `height` inches, and `text` as the caption below it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(style.rc()):
        lines = wrap(text, (inches - 0.2) / SCREEN).split("\n") if text else []
        figure = Figure(figsize=(inches, height + LINE_HEIGHT * len(lines) + 0.15), layout="constrained")
        draw(figure)
        if lines:
            figure.supxlabel("\n".join(lines), x=0.1 / inches, ha="left", linespacing=1.25)
    return figure


def panels(figure: Figure, number: int, across: int, x_label: str, y_label: str) -> list[Axes]:
    """`number` axes, `across` in a row, with labels at the left and at the bottom."""
    axes = figure.subplots(-(-number // across), across, squeeze=False)
    for place, ax in enumerate(axes.flat):
        if place >= number:
            ax.set_axis_off()
        elif place + across >= number:
            ax.set_xlabel(x_label)
    for row in axes:
        row[0].set_ylabel(y_label)
    return list(axes.flat[:number])


def legend(figure: Figure, entries: Entries, inches: float) -> None:
    """Above the axes, in as many columns as fit."""
    from matplotlib.lines import Line2D

    labels, columns = _legend(entries, inches)
    handles = [Line2D([], [], **look, label=label) for label, (_, look) in zip(labels, entries, strict=True)]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def entries_height(entries: Entries, inches: float) -> float:
    """Height of `legend` in inches; it is filled from top to bottom."""
    labels, columns = _legend(entries, inches)
    heights = [LINE_HEIGHT * (label.count("\n") + 1) + 0.05 for label in labels]
    return max(float(column.sum()) for column in np.array_split(heights, columns))


def _legend(entries: Entries, inches: float) -> tuple[list[str], int]:
    """The labels in lines, and how many columns of them fit."""
    settings = style.rc()
    parts = [settings[f"legend.{name}"] for name in ("handlelength", "handletextpad", "columnspacing")]
    room = sum(parts) * settings["font.size"] / 72  # of an entry without its text
    labels = [wrap(label, inches - room - 0.2, 3) for label, _ in entries]
    widths = [max(map(text_width, label.split("\n"))) + room for label in labels]
    for columns in range(len(labels), 1, -1):
        if SCREEN * sum(float(column.max()) for column in np.array_split(widths, columns)) <= inches:
            return labels, columns
    return labels, 1


def names_of(labels: Sequence[str], width: float, most: int = 3) -> tuple[list[str], float, int]:
    """Names wrapped to at most `most` lines of `width` inches, the width of the widest line, and the most lines of a name."""
    names = [wrap(label, width, max(1, min(most, 3))) for label in labels]
    rows = [name.split("\n") for name in names]
    return names, max(text_width(line) for lines in rows for line in lines), max(map(len, rows))


def panel_height(inches: float, entries: Entries) -> float:
    """Height of a figure with a single panel and a legend, in inches."""
    return min(max(0.55 * inches, 1.6), 3.2) + 0.4 + entries_height(entries, inches)


def format_count(number: float, position: float | None = None) -> str:
    """A number of transitions as axes show it: 0, 250k, 1M; has the arguments of matplotlib's formatters."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:.6g}{suffix}"
    return f"{number:.6g}"


def round_ticks(axis: Axis, most: int, integer: bool = False) -> None:
    """At most about `most` ticks at distances of 1, 2, 2.5 or 5 times a power of ten; with `integer` at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=integer))


def logarithmic_ticks(axis: Axis, multiples: tuple[int, ...], most: int, text: Any) -> None:
    """At most `most` ticks at these multiples of powers of ten, with matplotlib's formatter `text`; no minor ticks."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=multiples, numticks=most))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(text)
