"""What stands in the legend of curves, and the published curves behind them."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from seqeval_rl.plots import layout, style
from seqeval_rl.plots.groups import Group, Panel
from seqeval_rl.plots.published import PublishedCurve
from seqeval_rl.plots.segments import Segment


def handles(
    panels: list[Panel],
    drawn: list[list[tuple[Group, list[Segment]]]],
    styles: dict[str, style.LineStyle],
    inches: float,
    log_mean: bool,
) -> list[Line2D]:
    """One for each style, the mean of the log where `log_mean` says that it is drawn, and the mark of a failed run."""
    labels = {group.style: group.label for panel in panels for group in panel.groups}
    found = [
        Line2D(
            [], [], **look.drawn,
            label=style.wrap(labels[name], inches - layout.LEGEND_ROOM - 0.2, 3),
        )
        for name, look in styles.items()
    ]  # fmt: skip
    if log_mean:
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
    names = style.legend_order({name for curves in others for name in curves})
    return [Line2D([], [], label=f"{style.display_name(name)}, published", **_published_look(name)) for name in names]


def _published_look(algorithm: str) -> dict[str, Any]:
    """Thin and pale, without markers, in the algorithm's colour."""
    return {
        "color": style.line_styles([algorithm])[algorithm].colour,
        "linewidth": 0.9,
        "alpha": 0.55,
        "zorder": 2,
    }
