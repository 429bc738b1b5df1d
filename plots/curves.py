"""The data-efficiency figure: score over the data seen, one panel per dataset, one curve per algorithm.

A point of a curve stands for the runs that have got that far. Where that is not every run of the curve (one failed, or
is not finished), or where no run has finished yet, the curve is faded, and the caption counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots import layout, style
from seqeval_rl.plots.caption import caption as describe
from seqeval_rl.plots.groups import Group, Panel, collect, run_curve
from seqeval_rl.plots.segments import Segment, segments
from seqeval_rl.plots.statistics import AGGREGATES, Statistic

if TYPE_CHECKING:
    from seqeval_rl.results import RunResult

_FADED = 0.4  # opacity
_ROOM = 1.015  # of the x-axis, so that a marker on the last transition is whole


def curves(
    results: Sequence[RunResult],
    *,
    metric: str = "score",
    statistic: Statistic = "iqm",
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Score over transitions: a panel per dataset, a curve per algorithm with a 95 % bootstrap interval over its seeds.

    Dashed is the mean score of the log (of each block of a mixed stream), vertical lines are block boundaries, and
    `(peeks)` in the legend marks runs that used data before these were visible. Tasks × levels make a grid.

    Args:
        results: of `seqeval_rl.read_results`.
        metric: of the runs' evaluations, for example "score", "return" or "critic/loss".
        statistic: "iqm", the interquartile mean (below four runs it is the mean), or "mean".
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows, with numbers of seeds, failed and unfinished runs.
        seed: of the bootstrap.

    Raises:
        UsageError: no run, no run with that metric, or an unknown width or statistic.
    """
    inches = layout.figure_width(width)
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    panels = collect(results)
    drawn = [[(group, segments(group, metric, statistic, seed)) for group in panel.groups] for panel in panels]
    if not any(parts for panel in drawn for _, parts in panel):
        metrics = {name for run in results for evaluation in run.evaluations for name in evaluation["metrics"]}
        if metrics:
            raise unknown("metric", metric, metrics)
        raise UsageError(f"results: expected evaluations, found none in {len(results)} runs. Wait for the first one.")
    grid = layout.grid(panels, inches)
    styles = style.line_styles(group.style for panel in panels for group in panel.groups)

    with mpl.rc_context(style.RC):
        handles = _handles(panels, drawn, styles, metric, inches)
        labels = [str(handle.get_label()) for handle in handles]
        columns = layout.legend_columns(labels, inches)
        text = describe(panels, drawn, metric, statistic) if caption else ""
        lines = style.wrap(text, inches - 0.2).split("\n") if text else []
        cell = inches / len(grid[0])
        inner = cell - 0.45  # of the axes: less ticks, their labels and gaps
        tops = [layout.above(panel, inner) for panel in panels]
        heights = [
            min(max(0.6 * cell, 1.2), 2.9)
            + 0.5
            + layout.LINE_HEIGHT * max(tops[index].lines for index in row if index is not None)
            for row in grid
        ]
        total = sum(heights) + layout.legend_height(labels, columns) + layout.LINE_HEIGHT * len(lines) + 0.2
        figure = Figure(figsize=(inches, total), layout="constrained")
        axes = figure.subplots(len(grid), len(grid[0]), squeeze=False, height_ratios=heights)
        for place, (row, axes_row) in enumerate(zip(grid, axes, strict=True)):
            below = grid[place + 1] if place + 1 < len(grid) else [None] * len(row)
            for index, under, ax in zip(row, below, axes_row, strict=True):
                if index is None:
                    ax.set_axis_off()
                    continue
                _draw_panel(ax, panels[index], drawn[index], styles, metric, tops[index], inner)
                if under is None:
                    ax.set_xlabel("transitions")
            axes_row[0].set_ylabel("normalised score" if metric == "score" else metric)
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, **layout.LEGEND)
        if lines:
            figure.supxlabel("\n".join(lines), x=0.1 / inches, ha="left", linespacing=1.25)
    return figure


def _draw_panel(
    ax: Axes,
    panel: Panel,
    drawn: list[tuple[Group, list[Segment]]],
    styles: dict[str, style.LineStyle],
    metric: str,
    top: layout.Top,
    width: float,
) -> None:
    """One dataset, on axes about `width` inches wide."""
    ax.set_xlim(0, panel.transitions * _ROOM)
    steps = [1, 2, 2.5, 5, 10]
    ax.xaxis.set_major_locator(MaxNLocator(nbins=min(int(width / 0.5) + 1, 7), steps=steps))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6 if width > 2.5 else 4, steps=steps))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.count(value)))
    if metric == "score":
        _draw_log(ax, panel)
    for place, name in enumerate(styles):
        for group, parts in drawn:
            if group.style == name:
                _draw_group(ax, group, parts, styles[name], place / len(styles), metric)
    for block in panel.blocks[1:]:
        ax.axvline(block.start, color=style.BLOCK_COLOUR, linewidth=0.8, zorder=1)
    for label, middle, row in top.names:
        ax.annotate(
            label, (middle / _ROOM, 1), xycoords="axes fraction", xytext=(0, 2 + row * layout.LINE_HEIGHT * 72),
            textcoords="offset points", ha="center", va="bottom", color=style.LOG_COLOUR,
        )  # fmt: skip
    ax.set_title(top.title, pad=5 + top.rows * layout.LINE_HEIGHT * 72)
    ax.margins(y=0.06)


def _draw_log(ax: Axes, panel: Panel) -> None:
    """The log's own mean score, over each block or over the whole panel."""
    spans = [(block.start, block.stop, block.mean_score) for block in panel.blocks]
    for start, stop, score in spans or [(0, panel.transitions, panel.mean_score)]:
        if score is not None:
            ax.plot(
                [start, stop], [score, score], color=style.LOG_COLOUR, linestyle=(0, (4, 3)), linewidth=0.9, zorder=2
            )


def _draw_group(ax: Axes, group: Group, parts: list[Segment], look: style.LineStyle, place: float, metric: str) -> None:
    """One algorithm: line, markers and interval; failed runs each with its end.

    `place`, 0 to 1, differs from curve to curve and keeps their markers apart.
    """
    for part in parts:
        strength = 1.0 if part.whole else _FADED
        few = len(part.transitions) < 4
        ax.plot(
            part.transitions, part.centre, color=look.colour, linestyle=look.line, marker=look.marker, alpha=strength,
            markevery=None if few else (0.02 + 0.14 * place, 0.14), zorder=4,
        )  # fmt: skip
        if part.interval is not None:
            low, high = part.interval
            ax.fill_between(
                part.transitions, low, high, color=look.colour, alpha=0.17 * strength, linewidth=0, zorder=3
            )
    for run in group.having("failed"):
        transitions, values = run_curve(run, metric)
        if len(transitions):
            ax.plot(transitions, values, color=look.colour, linewidth=0.6, alpha=_FADED, zorder=3)
            ax.plot(transitions[-1], values[-1], color=look.colour, marker="x", markersize=5, zorder=5, linestyle="")


def _handles(
    panels: list[Panel],
    drawn: list[list[tuple[Group, list[Segment]]]],
    styles: dict[str, style.LineStyle],
    metric: str,
    inches: float,
) -> list[Line2D]:
    labels = {group.style: group.label for panel in panels for group in panel.groups}
    handles = [
        Line2D(
            [], [], color=look.colour, linestyle=look.line, marker=look.marker,
            label=style.wrap(labels[name], inches - layout.LEGEND_ROOM - 0.2, 3),
        )
        for name, look in styles.items()
    ]  # fmt: skip
    logs = [score for panel in panels for score in (panel.mean_score, *(block.mean_score for block in panel.blocks))]
    if metric == "score" and any(score is not None for score in logs):
        handles.append(
            Line2D([], [], color=style.LOG_COLOUR, linestyle=(0, (4, 3)), linewidth=0.9, label="mean of the log")
        )
    groups = [group for panel in drawn for group, _ in panel]
    if any(run.evaluations for group in groups for run in group.having("failed")):
        handles.append(Line2D([], [], color="black", linestyle="", marker="x", markersize=5, label="run failed"))
    return handles
