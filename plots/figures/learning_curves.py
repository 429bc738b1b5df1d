"""The data-efficiency figure: score over the data seen, one panel per dataset, one curve per algorithm.

A point of a curve stands for the runs that have got that far. Where that is not every run of the curve (one failed, or
is not finished), or where no run has finished yet, the curve is faded, and the caption counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.captions import caption as describe
from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.curves import AXES, Axis, Segment, notes, placed, segments
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.naming import LineStyle, display_name, legend_order
from seqeval_rl.plots.analysis.published import CITATION, Experiment, PublishedCurve, behind, published_results
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Statistic
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.layout import format_count, wrap
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import PREQUENTIAL

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


def handles(
    panels: list[Panel],
    drawn: list[list[tuple[Group, list[Segment]]]],
    styles: dict[str, LineStyle],
    inches: float,
    dataset_mean: bool,
) -> list[Line2D]:
    """One for each style, the mean of the log where `dataset_mean` says that it is drawn, and the mark of a failed run."""
    labels = {group.style: group.label for panel in panels for group in panel.groups}
    found = [
        Line2D(
            [], [], **look.drawn,
            label=wrap(labels[name], inches - layout.LEGEND_ROOM - 0.2, 3),
        )
        for name, look in styles.items()
    ]  # fmt: skip
    if dataset_mean:
        found.append(
            Line2D([], [], color=style.LOG_COLOUR, linestyle=(0, (4, 3)), linewidth=0.9, label="mean of the log")
        )
    groups = [group for panel in drawn for group, _ in panel]
    if any(run.evaluations for group in groups for run in group.having("failed")):
        found.append(Line2D([], [], color="black", linestyle="", marker="x", markersize=5, label="run failed"))
    return found


def draw_published(ax: Axes, others: dict[str, PublishedCurve], extent: int) -> None:
    """Means of the published runs, as far as the panel goes."""
    for name, curve in others.items():
        there = curve.transitions <= extent
        ax.plot(curve.transitions[there], curve.mean[there], **_published_look(name))


def published_handles(others: list[dict[str, PublishedCurve]]) -> list[Line2D]:
    """One for each algorithm whose published curve is drawn."""
    names = legend_order({name for curves in others for name in curves})
    return [Line2D([], [], label=f"{display_name(name)}, published", **_published_look(name)) for name in names]


def _published_look(algorithm: str) -> dict[str, Any]:
    """Thin and pale, without markers, in the algorithm's colour."""
    return {
        "color": style.line_styles([algorithm])[algorithm].colour,
        "linewidth": 0.9,
        "alpha": 0.55,
        "zorder": 2,
    }


_FADED = 0.4  # opacity
_ROOM = 1.015  # of the x-axis, so that a marker on the last transition is whole


@dataclass(frozen=True)
class Quantity:
    """What is drawn over transitions."""

    metric: str = "score"  # of the runs' evaluations
    label: str = "normalised score"  # of the y-axis
    logarithmic: bool = False  # where all values are above 0
    note: str = ""  # with which the caption begins


@figure("curves", help="score over transitions, a panel per dataset")
def curves(
    results: Sequence[RunResult],
    *,
    metric: str = "score",
    statistic: Statistic = "iqm",
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
    paper_curves: bool = False,
    seeds_shown: bool = False,
    x: str = "transitions",
) -> Figure:
    """Score over transitions: a panel per dataset, a curve per algorithm with a 95 % bootstrap interval over its seeds.

    Dashed is the mean score of the log (of each block of a mixed stream), vertical lines are block boundaries and the
    switch to online, `(uses future data)` in the legend marks runs that used data before these were visible, and `(static)` those
    that saw the whole log from the start: they stand where the sequential run had taken as many gradient steps. Tasks ×
    levels make a grid.

    Args:
        results: of `seqeval_rl.read_results`.
        metric: of the runs' evaluations, for example "score", "return" or "critic/loss".
        statistic: "iqm", the interquartile mean (below four runs it is the mean), or "mean".
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows, with numbers of seeds, failed and unfinished runs.
        seed: of the bootstrap.
        paper_curves: whether to draw the published mean curves behind those of the same dataset and algorithm.
        seeds_shown: whether to draw each run too, as a hairline.
        x: "transitions", "share" (of the log), "gradient_steps" or "wall_time" (seconds). On the last two runs meet blocks
            each at its own place, so that boundaries and the means of blocks are not drawn; a single log's mean is.

    Raises:
        UsageError: no run, no run with that metric, an unknown width, statistic or axis, or published curves
            over anything but transitions.
    """
    quantity = Quantity() if metric == "score" else Quantity(metric, metric)
    return draw(
        results, quantity, statistic=statistic, width=width, caption=caption, seed=seed, paper_curves=paper_curves,
        seeds_shown=seeds_shown, x=x,
    )  # fmt: skip


def without_scores(results: Sequence[RunResult]) -> str | None:
    """What to look at instead, where evaluations have metrics but no score; None where there are scores, or nothing yet."""
    metrics = {name for run in results for evaluation in run.evaluations for name in evaluation["metrics"]}
    if not metrics or "score" in metrics:
        return None
    losses = sorted(name for name in metrics if "/" in name and not name.startswith(PREQUENTIAL))
    found = sorted({name for run in results for name in run.prequential_scores()})
    return (
        "results: no scores, since nothing was played in an environment (protocol.episodes = 0). Instead there are "
        f"prequential scores ({', '.join(found) or 'none'}; `--kind prequential`) and the metrics {', '.join(losses) or 'none'}."
    )


def draw(
    results: Sequence[RunResult],
    quantity: Quantity,
    *,
    statistic: Statistic = "iqm",
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
    paper_curves: bool = False,
    seeds_shown: bool = False,
    x: str = "transitions",
) -> Figure:
    """The figure of any quantity; the other arguments and errors as those of `curves`."""
    inches = layout.figure_width(width)
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    if x not in AXES:
        raise unknown("x-axis", x, AXES)
    if paper_curves and x != "transitions":
        raise UsageError(f"published curves: expected the x-axis transitions, found {x}. They hold nothing else.")
    metric, axis = quantity.metric, AXES[x]
    panels = collect(results)
    drawn = [[(group, segments(group, metric, statistic, seed, x)) for group in panel.groups] for panel in panels]
    if not any(parts for panel in drawn for _, parts in panel):
        raise _nothing(results, metric, x)
    grid = layout.grid(panels, inches)
    styles = style.line_styles(group.style for panel in panels for group in panel.groups)
    others = [behind(panel) if paper_curves else {} for panel in panels]

    with mpl.rc_context(style.RC):
        means = metric == "score" and any(_log_means(panel, axis) for panel in panels)
        entries = handles(panels, drawn, styles, inches, means) + published_handles(others)
        labels = [str(handle.get_label()) for handle in entries]
        columns = layout.legend_columns(labels, inches)
        said = describe(panels, drawn, metric, statistic, others if paper_curves else None, seeds_shown, x)
        parts = (quantity.note, said, notes(axis, panels), damage_sentence(results))
        text = " ".join(part for part in parts if part) if caption else ""
        lines = wrap(text, (inches - 0.2) / layout.SCREEN).split("\n") if text else []
        cell = inches / len(grid[0])
        inner = cell - 0.45  # of the axes: less ticks, their labels and gaps
        tops = [layout.above(panel, inner, named=axis.of_data) for panel in panels]
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
                draw_published(ax, others[index], panels[index].extent)
                _draw_panel(ax, panels[index], drawn[index], styles, quantity, tops[index], inner, seeds_shown, x)
                if under is None:
                    ax.set_xlabel(axis.label)
            axes_row[0].set_ylabel(quantity.label)
        figure.legend(handles=entries, loc="outside upper center", ncols=columns, frameon=False, **layout.LEGEND)
        if lines:
            figure.supxlabel("\n".join(lines), x=0.1 / inches, ha="left", linespacing=1.25)
    return figure


def _nothing(results: Sequence[RunResult], metric: str, x: str) -> UsageError:
    """Why there is nothing to draw."""
    instead = without_scores(results)
    if metric == "score" and instead is not None:
        return UsageError(instead)
    metrics = {name for run in results for evaluation in run.evaluations for name in evaluation["metrics"]}
    if metric in metrics:
        return UsageError(
            f"results: expected evaluations with a place on the x-axis {x}, found none that were timed. Choose another axis."
        )
    if metrics:
        return unknown("metric", metric, metrics)
    return UsageError(f"results: expected evaluations, found none in {len(results)} runs. Wait for the first one.")


def _draw_panel(
    ax: Axes,
    panel: Panel,
    drawn: list[tuple[Group, list[Segment]]],
    styles: dict[str, LineStyle],
    quantity: Quantity,
    top: layout.Top,
    width: float,
    seeds_shown: bool,
    x: str,
) -> None:
    """One dataset, on axes about `width` inches wide."""
    metric, axis = quantity.metric, AXES[x]
    ends = [part.transitions[-1] for _, parts in drawn for part in parts]
    ax.set_xlim(0, (axis.extent(panel) or max(ends, default=0) or 1) * _ROOM)
    steps = [1, 2, 2.5, 5, 10]
    ax.xaxis.set_major_locator(MaxNLocator(nbins=min(int(width / 0.5) + 1, 7), steps=steps))
    most = 6 if width > 2.5 else 4
    centres = [part.centre for _, parts in drawn for part in parts]
    logarithmic = quantity.logarithmic and bool(centres) and min(centre.min() for centre in centres) > 0
    if logarithmic:
        ax.set_yscale("log")
    else:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=most, steps=steps))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    if metric == "score":
        _draw_log(ax, panel, axis)
    for place, name in enumerate(styles):
        for group, parts in drawn:
            if group.style == name:
                _draw_group(ax, group, parts, styles[name], place / len(styles), metric, x)
                if seeds_shown:
                    _draw_seeds(ax, group, styles[name], metric, x)
    for block in panel.blocks[1:] if axis.of_data else ():
        ax.axvline(axis.place(panel, block.start), color=style.BLOCK_COLOUR, linewidth=0.8, zorder=1)
    if panel.transitions and panel.online and axis.of_data:
        ax.axvline(axis.place(panel, panel.transitions), color=style.LOG_COLOUR, linewidth=0.8, zorder=1)
    for label, middle, row in top.names:
        ax.annotate(
            label, (middle / _ROOM, 1), xycoords="axes fraction", xytext=(0, 2 + row * layout.LINE_HEIGHT * 72),
            textcoords="offset points", ha="center", va="bottom", color=style.LOG_COLOUR,
        )  # fmt: skip
    ax.set_title(top.title, pad=5 + top.rows * layout.LINE_HEIGHT * 72)
    ax.margins(y=0.06)
    if logarithmic:
        _logarithmic_ticks(ax, most)


def _logarithmic_ticks(ax: Axes, most: int) -> None:
    """About so many on the y-axis, with numbers as on any other axis."""
    low, high = ax.dataLim.intervaly
    if high / low < 1 + 1e-6:  # matplotlib gives no room to what does not change, and warns
        ax.set_autoscaley_on(False)
        ax.set_ylim(low / 1.5, high * 1.5)
    decades = np.log10(high / low)
    subs = (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)
    ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=most))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    ax.yaxis.set_minor_locator(NullLocator())


def _log_means(panel: Panel, axis: Axis) -> list[tuple[float, float, float]]:
    """The log's own mean score as (begin, end, score), over each block or the whole log; over all of an axis of no data."""
    spans = [(block.start, block.stop, block.mean_score) for block in panel.blocks]
    spans = spans or [(0, panel.transitions, panel.mean_score)]
    if not axis.of_data:
        score = spans[0][2]
        return [(0.0, float("inf"), score)] if len(spans) == 1 and score is not None else []
    return [
        (axis.place(panel, start), axis.place(panel, stop), score) for start, stop, score in spans if score is not None
    ]


def _draw_log(ax: Axes, panel: Panel, axis: Axis) -> None:
    for start, stop, score in _log_means(panel, axis):
        stop = min(stop, ax.get_xlim()[1])
        ax.plot([start, stop], [score, score], color=style.LOG_COLOUR, linestyle=(0, (4, 3)), linewidth=0.9, zorder=2)


def _draw_group(
    ax: Axes, group: Group, parts: list[Segment], look: LineStyle, place: float, metric: str, x: str
) -> None:
    """One algorithm: line, markers and interval; failed runs each with its end.

    `place`, 0 to 1, differs from curve to curve and keeps their markers apart.
    """
    for part in parts:
        strength = 1.0 if part.whole else _FADED
        few = len(part.transitions) < 4
        ax.plot(
            part.transitions, part.centre, **look.drawn, alpha=strength,
            markevery=None if few else (0.02 + 0.14 * place, 0.14), zorder=4,
        )  # fmt: skip
        if part.interval is not None:
            low, high = part.interval
            ax.fill_between(
                part.transitions, low, high, color=look.colour, alpha=0.17 * strength, linewidth=0, zorder=3
            )
    for run in group.having("failed"):
        places, values = placed(run, metric, x)
        if len(places):
            ax.plot(places, values, color=look.colour, linewidth=0.6, alpha=_FADED, zorder=3)
            ax.plot(places[-1], values[-1], color=look.colour, marker="x", markersize=5, zorder=5, linestyle="")


def _draw_seeds(ax: Axes, group: Group, look: LineStyle, metric: str, x: str) -> None:
    """Each run as a hairline; failed ones are there already."""
    for run in group.runs:
        if run.status != "failed":
            ax.plot(*placed(run, metric, x), color=look.colour, linewidth=0.5, alpha=_FADED, zorder=3)


def paper_figure(experiment: Experiment, *, width: str | float = "page", caption: bool = True, seed: int = 0) -> Figure:
    """Published scores over transitions, mean over seeds with a 95 % bootstrap interval: results of others.

    `offline` (Figure 1) and `finetune` (Figure 2) are grids of three tasks by four levels, the latter with the switch to
    online at the end of the log; `mixed` (Figure 3) has a panel per task with its two block boundaries.

    Args:
        experiment: "offline", "finetune" or "mixed".
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows and whose results they are.
        seed: of the bootstrap.

    Raises:
        UsageError: unknown experiment or width.
    """
    quantity = Quantity(note=f"Published results of {CITATION}, drawn from their run logs.")
    return draw(published_results(experiment), quantity, statistic="mean", width=width, caption=caption, seed=seed)
