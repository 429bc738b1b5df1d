"""Values with their intervals as rows of a panel, for the figures `aggregates` and `rank`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.plots.analysis.naming import LineStyle
from seqeval_rl.plots.analysis.statistics import Cell
from seqeval_rl.plots.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def interval_rows(ax: Axes, cells: list[Cell], looks: list[LineStyle], thick: float) -> None:
    """Each algorithm in a row of its own, from the top: its interval as a bar `thick` rows wide, its value as its marker."""
    for place, (cell, look) in enumerate(zip(cells, looks, strict=True)):
        if not np.isnan(cell.low):
            ax.barh(place, cell.high - cell.low, thick, cell.low, color=look.colour, alpha=0.35, linewidth=0, zorder=3)
        ax.plot([cell.value] * 2, [place - thick / 2, place + thick / 2], color=look.colour, linewidth=1.3, zorder=4)
        ax.plot(cell.value, place, **look.marker_properties, zorder=5)
    ax.use_sticky_edges = False  # a bar has room around it
    ax.margins(x=0.08)
    ax.grid(axis="x", color=style.LIGHT_GREY, linewidth=0.4, alpha=0.5)
    ax.set_axisbelow(True)
