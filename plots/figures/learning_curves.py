"""Figure `curves`: score over the data seen, one panel per dataset, one curve per algorithm.

A curve at a place is over the runs that have got that far. Where that is not every run (one failed, or has not finished), or
where no run has finished yet, the curve is faded, and the caption counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.plots.analysis.captions import curve_caption
from seqeval_rl.plots.analysis.curves import Axis, CurveSet, CurveSpec, Segment, curve_set, placed
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.naming import LineStyle, display_name, legend_order, metric_label
from seqeval_rl.plots.analysis.published import CITATION, Experiment, published_results
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FADED = 0.4  # opacity
_FEW = 7  # points of a line that all have markers
_ROOM = 1.015  # of the x-axis
_DATASET_MEAN: dict[str, Any] = {"color": style.GREY, "linestyle": (0, (4, 3)), "linewidth": 0.9}


@figure("curves", help="score over transitions, a panel per dataset")
def curves(
    results: Sequence[RunResult],
    *,
    metric: str | None = None,
    statistic: Statistic = "iqm",
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
    paper_curves: bool = False,
    reference: bool = False,
    seeds_shown: bool = False,
    x: str = "transitions",
) -> Figure:
    """Score over transitions: a panel per dataset, a curve per algorithm with a 95 % bootstrap interval over its seeds.

    Dashed is the mean score of the dataset (of each block of a mixed stream); vertical lines are block boundaries and the
    switch to online. In the legend `(uses future data)` marks runs that used data before they were visible, and `(static)`
    those that saw the full dataset from the start: they are drawn where the sequential run had taken as many gradient
    steps. Tasks × levels make a grid.

    Args:
        results: from `seqeval_rl.read_results`.
        metric: the y-axis: score, return, or another metric of the evaluations such as critic/loss; by default the score, or the
            return where a task has no reference returns.
        statistic: over seeds: iqm, the interquartile mean (below four runs it is the mean), or mean.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows, with numbers of seeds, failed and unfinished runs.
        seed: of the bootstrap.
        paper_curves: draw the published mean curves behind those of the same dataset and algorithm; each point is a bin, at the
            mean number of transitions that its evaluations had seen.
        reference: draw the reference results that come with seqeval-rl behind runs on the same data with the same settings.
        seeds_shown: draw each run too, as a hairline.
        x: the x-axis: transitions, share (of the dataset), gradient_steps or wall_time (seconds); the last two without block
            boundaries, which each run reaches at its own place.

    Raises:
        UsageError: no run, no run with that metric, an unknown width, statistic or axis, or published curves
            over anything but transitions; reference results of wall time.
    """
    label = "normalized score" if metric == "score" else metric or ""
    spec = CurveSpec(
        metric, label, x=x, statistic=statistic, seed=seed, paper_curves=paper_curves, reference=reference,
        seeds_shown=seeds_shown,
    )  # fmt: skip
    return draw_curves(results, spec, width, caption)


def paper_figure(experiment: Experiment, *, width: str | float = "page", caption: bool = True, seed: int = 0) -> Figure:
    """Published scores over transitions, mean over seeds with a 95 % bootstrap interval: results of others.

    `offline` (Figure 1) and `finetune` (Figure 2) are grids of three tasks by four levels, the latter with the switch to
    online at the end of the dataset; `mixed` (Figure 3) has a panel per task with its two block boundaries.

    Args:
        experiment: "offline", "finetune" or "mixed".
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows and whose results they are.
        seed: of the bootstrap.

    Raises:
        UsageError: unknown experiment or width.
    """
    note = f"Published results of {CITATION}. The paper counts gradient steps, one per transition, in bins of 50 000."
    spec = CurveSpec(note=note, statistic="mean", seed=seed)
    return draw_curves(published_results(experiment), spec, width, caption)


def draw_curves(results: Sequence[RunResult], spec: CurveSpec, width: str | float, caption: bool) -> Figure:
    """The figure of any metric; arguments and errors as those of `curves`."""
    inches = layout.figure_width(width)
    content = curve_set(results, spec)
    styles = style.line_styles(group.style for panel in content.panels for group in panel.groups)
    entries = _legend_entries(content, styles)
    grid = layout.grid(content.panels, inches)
    cell = inches / len(grid[0])
    inner = cell - 0.45  # of the axes: less ticks, their labels and gaps
    tops = [layout.above(panel, inner, named=content.axis.of_data) for panel in content.panels]
    lines = [max(tops[index].lines for index in row if index is not None) for row in grid]
    heights = [min(max(0.6 * cell, 1.2), 2.9) + 0.5 + layout.LINE_HEIGHT * most for most in lines]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(grid), len(grid[0]), squeeze=False, height_ratios=heights)
        for place, row in enumerate(grid):
            below = grid[place + 1] if place + 1 < len(grid) else [None] * len(row)
            for index, under, ax in zip(row, below, axes[place], strict=True):
                if index is None:
                    ax.set_axis_off()
                    continue
                _draw_panel(ax, content, index, styles, tops[index], inner)
                if under is None:
                    ax.set_xlabel(content.axis.label)
                label = spec.label or metric_label([content.panels[index].metric])
                if ax is axes[place, 0] or label != axes[place, 0].get_ylabel():
                    ax.set_ylabel(label)
        layout.legend(figure, entries, inches)

    height = sum(heights) + layout.entries_height(entries, inches) + 0.05
    return layout.framed(inches, height, curve_caption(results, content) if caption else "", draw)


def _legend_entries(content: CurveSet, styles: dict[str, LineStyle]) -> list[tuple[str, dict[str, Any]]]:
    """Label and line of each algorithm, of the dataset's mean, of failed runs and of published curves, if they are drawn."""
    labels = {group.style: group.label for panel in content.panels for group in panel.groups}
    entries = [(labels[name], look.properties) for name, look in styles.items()]
    if any(_dataset_means(panel, content.axis) for panel in content.panels if panel.metric == _metric(panel, content)):
        entries.append(("dataset mean", _DATASET_MEAN))
    groups = [group for panel in content.panels for group in panel.groups]
    if any(run.evaluations for group in groups for run in group.having("failed")):
        entries.append(("run failed", {"color": "black", "linestyle": "", "marker": "x", "markersize": 5}))
    references = {group.label: group.style for panel in content.reference for group, parts in panel if parts}
    entries += [(label, _reference_look(key, styles)) for label, key in references.items()]
    published = legend_order({name for curves in content.published for name in curves})
    return entries + [(f"{display_name(name)}, published", _published_look(name)) for name in published]


def _draw_panel(
    ax: Axes, content: CurveSet, index: int, styles: dict[str, LineStyle], top: layout.Top, width: float
) -> None:
    """The panel at `index`, on axes about `width` inches wide."""
    spec, axis, panel, drawn = content.spec, content.axis, content.panels[index], content.segments[index]
    segments = [segment for _, parts in drawn for segment in parts]
    for group, parts in content.reference[index]:
        for part in parts:
            ax.plot(part.transitions, part.centre, **_reference_look(group.style, styles))
    for name, curve in content.published[index].items():
        inside = curve.transitions <= panel.extent
        ax.plot(curve.transitions[inside], curve.mean[inside], **_published_look(name))
    last = max((segment.transitions[-1] for segment in segments), default=0)
    end = axis.place(panel, panel.extent) if axis.of_data else 0
    ax.set_xlim(0, (end or last or 1) * _ROOM)
    layout.round_ticks(ax.xaxis, min(int(width / 0.5) + 1, 7))
    ax.xaxis.set_major_formatter(layout.format_count)
    most = 6 if width > 2.5 else 4
    logarithmic = spec.logarithmic and bool(segments) and min(segment.centre.min() for segment in segments) > 0
    if logarithmic:
        ax.set_yscale("log")
    else:
        layout.round_ticks(ax.yaxis, most)
    if panel.metric == _metric(panel, content):
        for start, stop, score in _dataset_means(panel, axis):
            ax.plot([start, min(stop, ax.get_xlim()[1])], [score, score], **_DATASET_MEAN, zorder=2)
    for place, (name, look) in enumerate(styles.items()):
        for group, parts in drawn:
            if group.style == name:
                _draw_group(ax, group, parts, look, place / len(styles), spec)
    _draw_boundaries(ax, panel, axis, top)
    ax.margins(y=0.06)
    if logarithmic:
        _logarithmic_y(ax, most)


def _metric(panel: Panel, content: CurveSet) -> str:
    """What the y-axis of a panel shows."""
    return content.spec.metric or panel.metric


def _draw_boundaries(ax: Axes, panel: Panel, axis: Axis, top: layout.Top) -> None:
    """Block boundaries and the switch to online, with the names above them, and the title."""
    lines = [(block.start, style.LIGHT_GREY) for block in panel.blocks[1:]]
    lines += [(panel.transitions, style.GREY)] if panel.transitions and panel.online else []
    for transitions, colour in lines if axis.of_data else ():
        ax.axvline(axis.place(panel, transitions), color=colour, linewidth=0.8, zorder=1)
    for label, middle, row in top.names:
        ax.annotate(
            label, (middle / _ROOM, 1), xycoords="axes fraction", xytext=(0, 2 + row * layout.LINE_HEIGHT * 72),
            textcoords="offset points", ha="center", va="bottom", color=style.GREY,
        )  # fmt: skip
    ax.set_title(top.title, pad=5 + top.rows * layout.LINE_HEIGHT * 72)


def _draw_group(ax: Axes, group: Group, parts: list[Segment], look: LineStyle, place: float, spec: CurveSpec) -> None:
    """One algorithm: line, markers and interval; failed runs each with its end; with `seeds_shown` every run."""
    draw_segments(ax, parts, look, place)
    for run in group.having("failed"):
        places, values = placed(run, spec.metric, spec.x)
        if len(places):
            ax.plot(places, values, color=look.colour, linewidth=0.6, alpha=_FADED, zorder=3)
            ax.plot(places[-1], values[-1], color=look.colour, marker="x", markersize=5, zorder=5, linestyle="")
    for run in group.runs if spec.seeds_shown else ():
        if run.status != "failed":
            ax.plot(*placed(run, spec.metric, spec.x), color=look.colour, linewidth=0.5, alpha=_FADED, zorder=3)


def draw_segments(ax: Axes, segments: Sequence[Segment], look: LineStyle, place: float) -> None:
    """A line with its interval, with a marker at each of a few points, else at equal distances.

    `place`, 0 to 1, differs from curve to curve and keeps their markers apart.
    """
    for part in segments:
        strength = 1.0 if part.complete else _FADED
        markers = None if len(part.transitions) <= _FEW else (0.02 + 0.14 * place, 0.14)
        # Not clipped: in a narrow panel a marker on the last transition is wider than the room after it.
        ax.plot(
            part.transitions, part.centre, **look.properties, alpha=strength, markevery=markers, zorder=4, clip_on=False
        )
        if part.interval is not None:
            alpha = 0.17 * strength
            ax.fill_between(part.transitions, *part.interval, color=look.colour, alpha=alpha, linewidth=0, zorder=3)


def _published_look(algorithm: str) -> dict[str, Any]:
    """Thin and pale, without markers, in the algorithm's colour."""
    colour = style.line_styles([algorithm])[algorithm].colour
    return {"color": colour, "linewidth": 0.9, "alpha": 0.55, "zorder": 2}


def _reference_look(key: str, styles: dict[str, LineStyle]) -> dict[str, Any]:
    """Broad and pale, without markers, in the colour of the curve with that style; also seen behind one that is the same."""
    colour = (styles if key in styles else style.line_styles([key]))[key].colour
    return {"color": colour, "linewidth": 3.2, "alpha": 0.25, "zorder": 2, "solid_capstyle": "butt"}


def _dataset_means(panel: Panel, axis: Axis) -> list[tuple[float, float, float]]:
    """The dataset's mean score as (begin, end, score) for each block; over all of an axis that is not of data."""
    spans = [(block.start, block.stop, block.mean_score) for block in panel.blocks]
    spans = spans or [(0, panel.transitions, panel.mean_score)]
    if not axis.of_data:
        score = spans[0][2]
        return [(0.0, float("inf"), score)] if len(spans) == 1 and score is not None else []
    return [
        (axis.place(panel, start), axis.place(panel, stop), score) for start, stop, score in spans if score is not None
    ]


def _logarithmic_y(ax: Axes, most: int) -> None:
    """About `most` ticks on a logarithmic y-axis, with numbers as on any other axis."""
    low, high = ax.dataLim.intervaly
    if high / low < 1 + 1e-6:  # matplotlib gives a constant no room, and warns
        ax.set_autoscaley_on(False)
        ax.set_ylim(low / 1.5, high * 1.5)
    decades = np.log10(high / low)
    multiples = (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)
    layout.logarithmic_ticks(ax.yaxis, multiples, most, layout.format_count)
