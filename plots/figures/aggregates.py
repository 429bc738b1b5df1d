"""Figure `aggregates`: means and medians of the final scores over all datasets, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.cross_task import aggregates, interval_sentence, scores_across
from seqeval_rl.plots.analysis.naming import LineStyle
from seqeval_rl.plots.analysis.statistics import ACROSS, Cell
from seqeval_rl.plots.figures import layout, style, ticks
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from seqeval_rl.results.read import RunResult


@figure("aggregates", help="means and medians over all datasets with intervals")
def aggregate_intervals(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Interquartile mean, median, mean and optimality gap across datasets, each with its 95 % bootstrap interval.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    of = aggregates(scores, seed)
    looks = style.line_styles(entry.style for entry in scores.entries)
    across = len(ACROSS) if inches >= 5 else 2 if inches >= 2.5 else 1
    down = len(ACROSS) // across
    names, longest, lines = layout.names_of([entry.label for entry in scores.entries], 0.3 * inches)
    cell = (inches - longest - 0.3) / across
    row = max(0.2, layout.LINE_HEIGHT * lines + 0.06)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for ax, name in zip(axes.flat, ACROSS, strict=True):
            interval_rows(ax, of[name], [looks[entry.style] for entry in scores.entries], 0.12 / row)
            ax.set_title(f"{name} {'←' if name == 'optimality gap' else '→'}")
            ax.set_yticks(range(len(names)), names)
            ax.set_ylim(len(names) - 0.4, -0.6)
            ax.tick_params(axis="y", length=0)
            ticks.round_ticks(ax.xaxis, max(2, int(cell / 0.4)))
        for ax in axes[-1]:
            ax.set_xlabel("normalised score")

    text = (
        f"Scores at {100 * share:g} % of the data. Arrows point to what is better. {scores.sentence()}"
        f"{interval_sentence(scores, 'Bars')} {damage_sentence(results)}"
    )
    return layout.framed(inches, down * (row * len(names) + 0.45) + 0.3, text.rstrip() if caption else "", draw)


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
