"""Where things stand in a figure, in inches: the grid of panels, what is written above each, the legend's columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots import style
from seqeval_rl.plots.groups import Panel

# Of levels of logs, the order in which the literature puts them.
_LEVELS = ("random", "replay", "medium-replay", "medium", "medium-expert", "expert")
SCREEN = 1.03  # how much wider than on paper a screen's dots can make text
LINE_HEIGHT = 0.15  # inches, of text of style.FONT_SIZE
# In units of the font size; the room is what an entry takes beside its text, in inches.
LEGEND: dict[str, float] = {
    "handlelength": 3.2,
    "handletextpad": 0.6,
    "columnspacing": 1.4,
    "borderpad": 0.2,
    "labelspacing": 0.4,
}
LEGEND_ROOM = (3.2 + 0.6 + 1.4) * style.FONT_SIZE / 72


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
    """Which panel stands where: tasks × levels if the datasets fill such a grid and it fits, else as text is read."""
    most = max(1, int(inches / 1.55))
    # Within D4RL's names stands the task's without `d4rl/`.
    levels = [panel.title.replace(panel.task.rpartition("/")[2], "*", 1) for panel in panels]
    places = {(panel.task, level): index for index, (panel, level) in enumerate(zip(panels, levels, strict=True))}
    columns = sorted(set(levels), key=_by_level)
    tasks = sorted({panel.task for panel in panels})
    if len(places) == len(panels) == len(tasks) * len(columns) and len(tasks) > 1 and 1 < len(columns) <= most:
        return [[places[task, level] for level in columns] for task in tasks]
    cells: list[int | None] = [
        *sorted(range(len(panels)), key=lambda index: (panels[index].task, _by_level(levels[index])))
    ]
    across = min(len(panels), most, 3)
    if across == 3 and len(panels) == 4:
        across = 2  # no empty places
    cells += [None] * (-len(panels) % across)
    return [cells[start : start + across] for start in range(0, len(cells), across)]


def _by_level(title: str) -> tuple[int, str]:
    """Sorts random before medium before expert, other names by alphabet and last."""
    level = re.split(r"[/:]", title.partition("*")[2].partition(":")[0].strip("/-_ "))[-1]
    level = re.sub(r"-v\d+$", "", level)
    return (_LEVELS.index(level) if level in _LEVELS else len(_LEVELS), title)


@dataclass(frozen=True)
class Top:
    """What stands above a panel: its title, and the names of blocks and online phase in as many rows as they need."""

    title: str
    names: list[tuple[str, float, int]]  # text, centre as a share of the axes' width, row from below

    @property
    def rows(self) -> int:
        """Of the names."""
        return 1 + max((row for _, _, row in self.names), default=-1)

    @property
    def lines(self) -> int:
        """Of names and title together."""
        return self.rows + self.title.count("\n") + 1


def above(panel: Panel, width: float, named: bool = True) -> Top:
    """For axes of `width` inches: the name of each block, and of the online phase, over it in the lowest row that is free.

    None of them where not `named`.
    """
    names = []
    ends = [0.0] * 6  # of what is written so far in each row
    for name, start, stop in panel.stretches if named and (len(panel.stretches) > 1 or panel.online) else ():
        label = style.shorten(name, width)
        half = style.text_width(label) / 2
        middle = min(max((start + stop) / 2 / panel.extent * width, half), width - half)
        row = next((row for row, end in enumerate(ends) if middle - half >= end), None)
        if row is None:
            continue  # more blocks than names have room for: the boundaries alone are drawn
        ends[row] = max(ends[row], middle + half + 0.08)
        names.append((label, middle / width, row))
    return Top(style.wrap(panel.title, width + 0.1, 3), names)


def legend_columns(labels: list[str], inches: float) -> int:
    """As many columns as fit the figure's width."""
    widths = [max(style.text_width(line) for line in label.split("\n")) + LEGEND_ROOM for label in labels]
    for columns in range(len(labels), 1, -1):
        if SCREEN * sum(float(column.max()) for column in np.array_split(widths, columns)) <= inches:
            return columns
    return 1


def legend_height(labels: list[str], columns: int) -> float:
    """Of a legend with that many columns, filled from top to bottom as matplotlib does."""
    heights = [LINE_HEIGHT * (label.count("\n") + 1) + 0.05 for label in labels]
    return max(float(column.sum()) for column in np.array_split(heights, columns))
