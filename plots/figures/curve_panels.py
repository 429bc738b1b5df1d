"""One panel of learning curves: lines, intervals, the dataset's mean score, boundaries; and the legend's entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.plots.analysis.curves import Axis, CurveSet, CurveSpec, Segment, placed
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.naming import LineStyle, display_name, legend_order
from seqeval_rl.plots.analysis.published import PublishedCurve
from seqeval_rl.plots.figures import layout, style, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_FADED = 0.4  # opacity
_ROOM = 1.015  # of the x-axis, so that a marker on the last transition is not cut off
_DATASET_MEAN: dict[str, Any] = {"color": style.GREY, "linestyle": (0, (4, 3)), "linewidth": 0.9}


def legend_entries(content: CurveSet, styles: dict[str, LineStyle]) -> list[tuple[str, dict[str, Any]]]:
    """Label and line of each algorithm, of the dataset's mean, of failed runs and of published curves, if they are drawn."""
    labels = {group.style: group.label for panel in content.panels for group in panel.groups}
    entries = [(labels[name], look.properties) for name, look in styles.items()]
    if content.spec.metric == "score" and any(_dataset_means(panel, content.axis) for panel in content.panels):
        entries.append(("dataset mean", _DATASET_MEAN))
    groups = [group for panel in content.panels for group in panel.groups]
    if any(run.evaluations for group in groups for run in group.having("failed")):
        entries.append(("run failed", {"color": "black", "linestyle": "", "marker": "x", "markersize": 5}))
    published = legend_order({name for curves in content.published for name in curves})
    return entries + [(f"{display_name(name)}, published", _published_look(name)) for name in published]


def draw_panel(
    ax: Axes, content: CurveSet, index: int, styles: dict[str, LineStyle], top: layout.Top, width: float
) -> None:
    """The panel at `index`, on axes about `width` inches wide."""
    spec, axis, panel, drawn = content.spec, content.axis, content.panels[index], content.segments[index]
    segments = [segment for _, parts in drawn for segment in parts]
    _draw_published(ax, content.published[index], panel.extent)
    ends = [segment.transitions[-1] for segment in segments]
    ax.set_xlim(0, (axis.extent(panel) or max(ends, default=0) or 1) * _ROOM)
    ticks.round_ticks(ax.xaxis, min(int(width / 0.5) + 1, 7))
    ticks.labelled(ax.xaxis, ticks.format_count)
    most = 6 if width > 2.5 else 4
    logarithmic = spec.logarithmic and bool(segments) and min(segment.centre.min() for segment in segments) > 0
    if logarithmic:
        ax.set_yscale("log")
    else:
        ticks.round_ticks(ax.yaxis, most)
    if spec.metric == "score":
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


def _draw_boundaries(ax: Axes, panel: Panel, axis: Axis, top: layout.Top) -> None:
    """Block boundaries and the switch to online, with the names above them, and the title."""
    for block in panel.blocks[1:] if axis.of_data else ():
        ax.axvline(axis.place(panel, block.start), color=style.LIGHT_GREY, linewidth=0.8, zorder=1)
    if panel.transitions and panel.online and axis.of_data:
        ax.axvline(axis.place(panel, panel.transitions), color=style.GREY, linewidth=0.8, zorder=1)
    for label, middle, row in top.names:
        ax.annotate(
            label, (middle / _ROOM, 1), xycoords="axes fraction", xytext=(0, 2 + row * layout.LINE_HEIGHT * 72),
            textcoords="offset points", ha="center", va="bottom", color=style.GREY,
        )  # fmt: skip
    ax.set_title(top.title, pad=5 + top.rows * layout.LINE_HEIGHT * 72)


def _draw_group(ax: Axes, group: Group, parts: list[Segment], look: LineStyle, place: float, spec: CurveSpec) -> None:
    """One algorithm: line, markers and interval; failed runs each with its end; with `seeds_shown` every run.

    `place`, 0 to 1, differs from curve to curve and keeps their markers apart.
    """
    for part in parts:
        strength = 1.0 if part.complete else _FADED
        few = len(part.transitions) < 4
        ax.plot(
            part.transitions, part.centre, **look.properties, alpha=strength,
            markevery=None if few else (0.02 + 0.14 * place, 0.14), zorder=4,
        )  # fmt: skip
        if part.interval is not None:
            low, high = part.interval
            ax.fill_between(
                part.transitions, low, high, color=look.colour, alpha=0.17 * strength, linewidth=0, zorder=3
            )
    for run in group.having("failed"):
        places, values = placed(run, spec.metric, spec.x)
        if len(places):
            ax.plot(places, values, color=look.colour, linewidth=0.6, alpha=_FADED, zorder=3)
            ax.plot(places[-1], values[-1], color=look.colour, marker="x", markersize=5, zorder=5, linestyle="")
    for run in group.runs if spec.seeds_shown else ():
        if run.status != "failed":
            ax.plot(*placed(run, spec.metric, spec.x), color=look.colour, linewidth=0.5, alpha=_FADED, zorder=3)


def _draw_published(ax: Axes, curves: dict[str, PublishedCurve], extent: int) -> None:
    """Means of the published runs, up to the panel's end."""
    for name, curve in curves.items():
        inside = curve.transitions <= extent
        ax.plot(curve.transitions[inside], curve.mean[inside], **_published_look(name))


def _published_look(algorithm: str) -> dict[str, Any]:
    """Thin and pale, without markers, in the algorithm's colour."""
    colour = style.line_styles([algorithm])[algorithm].colour
    return {"color": colour, "linewidth": 0.9, "alpha": 0.55, "zorder": 2}


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
    ticks.logarithmic_ticks(ax.yaxis, multiples, most, ticks.format_count)
