"""Figure `curves`: score over the data seen, one panel per dataset, one curve per algorithm.

A curve at a place is over the runs that have got that far. Where that is not every run (one failed, or has not finished), or
where no run has finished yet, the curve is faded, and the caption counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqeval_rl.plots.analysis.captions import curve_caption, damage_sentence
from seqeval_rl.plots.analysis.curves import CurveSet, CurveSpec, curve_set, notes
from seqeval_rl.plots.analysis.published import CITATION, Experiment, published_results
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.curve_panels import draw_panel, legend_entries
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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

    Dashed is the mean score of the dataset (of each block of a mixed stream); vertical lines are block boundaries and the
    switch to online. In the legend `(uses future data)` marks runs that used data before they were visible, and `(static)`
    those that saw the full dataset from the start: they are drawn where the sequential run had taken as many gradient
    steps. Tasks × levels make a grid.

    Args:
        results: from `seqeval_rl.read_results`.
        metric: the y-axis: score, return, or another metric of the evaluations such as critic/loss.
        statistic: over seeds: iqm, the interquartile mean (below four runs it is the mean), or mean.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows, with numbers of seeds, failed and unfinished runs.
        seed: of the bootstrap.
        paper_curves: draw the published mean curves behind those of the same dataset and algorithm.
        seeds_shown: draw each run too, as a hairline.
        x: the x-axis: transitions, share (of the dataset), gradient_steps or wall_time (seconds); the last two without block
            boundaries, which each run reaches at its own place.

    Raises:
        UsageError: no run, no run with that metric, an unknown width, statistic or axis, or published curves
            over anything but transitions.
    """
    label = "normalised score" if metric == "score" else metric
    spec = CurveSpec(
        metric, label, x=x, statistic=statistic, seed=seed, paper_curves=paper_curves, seeds_shown=seeds_shown
    )
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
    note = f"Published results of {CITATION}, drawn from their run logs."
    spec = CurveSpec(note=note, statistic="mean", seed=seed)
    return draw_curves(published_results(experiment), spec, width, caption)


def draw_curves(results: Sequence[RunResult], spec: CurveSpec, width: str | float, caption: bool) -> Figure:
    """The figure of any metric; arguments and errors as those of `curves`."""
    inches = layout.figure_width(width)
    content = curve_set(results, spec)
    styles = style.line_styles(group.style for panel in content.panels for group in panel.groups)
    entries = legend_entries(content, styles)
    grid = layout.grid(content.panels, inches)
    cell = inches / len(grid[0])
    inner = cell - 0.45  # of the axes: less ticks, their labels and gaps
    tops = [layout.above(panel, inner, named=content.axis.of_data) for panel in content.panels]
    heights = [
        min(max(0.6 * cell, 1.2), 2.9)
        + 0.5
        + layout.LINE_HEIGHT * max(tops[index].lines for index in row if index is not None)
        for row in grid
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(grid), len(grid[0]), squeeze=False, height_ratios=heights)
        for place, row in enumerate(grid):
            below = grid[place + 1] if place + 1 < len(grid) else [None] * len(row)
            for index, under, ax in zip(row, below, axes[place], strict=True):
                if index is None:
                    ax.set_axis_off()
                    continue
                draw_panel(ax, content, index, styles, tops[index], inner)
                if under is None:
                    ax.set_xlabel(content.axis.label)
            axes[place, 0].set_ylabel(spec.label)
        layout.legend(figure, entries, inches)

    height = sum(heights) + layout.entries_height(entries, inches) + 0.05
    return layout.framed(inches, height, _text(results, content) if caption else "", draw)


def _text(results: Sequence[RunResult], content: CurveSet) -> str:
    parts = (
        content.spec.note,
        curve_caption(content),
        notes(content.axis, content.panels),
        damage_sentence(results),
    )
    return " ".join(part for part in parts if part)
