"""Figures of all datasets together: `aggregates`, `profile`, `rank` and `improvement`, each with 95 % bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis import cross_task
from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.cross_task import Phase, Scores, check_common_unit, interval_sentence, scores_across
from seqeval_rl.plots.analysis.curves import Segment
from seqeval_rl.plots.analysis.naming import metric_label
from seqeval_rl.plots.analysis.statistics import ACROSS, GAP, Cell, performance_profile, profile_interval
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.learning_curves import draw_segments
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_THRESHOLDS = 241  # at which a profile is drawn
# Blue for better and vermilion for worse, in RGB.
_BETTER, _WORSE = np.array([0, 114, 178]) / 255, np.array([213, 94, 0]) / 255


@figure("aggregates", help="means and medians over all datasets with intervals")
def aggregate_intervals(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    phase: Phase = "offline",
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Interquartile mean, median, mean and optimality gap across datasets, each with its 95 % bootstrap interval.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        phase: offline, or online: the scores at the end of the online phase.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share, phase)
    of = cross_task.aggregates(scores, seed)
    across = len(ACROSS) if inches >= 5 else 2 if inches >= 2.5 else 1
    down = len(ACROSS) // across
    names, longest, lines = layout.names_of([entry.label for entry in scores.entries], 0.3 * inches)
    cell = (inches - longest - 0.3) / across
    row = max(0.2, layout.LINE_HEIGHT * lines + 0.06)
    label = _label(metric_label([scores.metric]), scores, cell)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for ax, name in zip(axes.flat, ACROSS, strict=True):
            _draw_rows(ax, scores, of[name], names, 0.12 / row)
            ax.set_title(f"{name} {'←' if name == GAP else '→'}")
            layout.round_ticks(ax.xaxis, max(2, int(cell / 0.4)))
        for ax in axes[-1]:
            ax.set_xlabel(label)

    text = aggregates_caption(results, scores) if caption else ""
    return layout.framed(inches, down * (row * len(names) + 0.45) + 0.3 + _more(label), text, draw)


def aggregates_caption(results: Sequence[RunResult], scores: Scores) -> str:
    """What `aggregates` shows of these scores, and what is left out."""
    return (
        f"Scores {scores.place}. Arrows point to what is better. {scores.sentence()}"
        f"{interval_sentence(scores, 'Bars')} {damage_sentence(results)}"
    )


@figure("profile", help="share of the runs above each score, all datasets together")
def profile(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    phase: Phase = "offline",
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Performance profile: share of runs with a score above each threshold, with its 95 % bootstrap band.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        phase: offline, or online: the scores at the end of the online phase.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share, phase)
    every = np.concatenate([entry.scores[np.isfinite(entry.scores)] for entry in scores.entries])
    check_common_unit(scores.panels)
    low, high = (0.0, 100.0) if scores.metric == "score" else (np.inf, -np.inf)
    thresholds = np.linspace(min(low, float(every.min())), max(high, float(every.max())), _THRESHOLDS)
    looks = style.line_styles(entry.style for entry in scores.entries)
    label = _label(f"{metric_label([scores.metric])} τ", scores, inches - 0.6)
    entries = [(entry.label, looks[entry.style].properties) for entry in scores.entries]

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for place, entry in enumerate(scores.entries):
            interval = profile_interval(entry.scores, thresholds, seed=seed) if entry.has_interval else None
            part = Segment(
                thresholds, performance_profile(entry.scores, thresholds), interval, entry.runs, complete=True
            )
            draw_segments(ax, [part], looks[entry.style], place / len(looks))
        ax.set_xlim(thresholds[0], thresholds[-1])
        ax.set_ylim(0, 1.02)
        layout.round_ticks(ax.xaxis, max(3, int(inches / 0.6)))
        ax.set_xlabel(label)
        ax.set_ylabel("share of runs with score > τ")
        layout.legend(figure, entries, inches)

    text = f"Scores {scores.place}. {scores.sentence()}{interval_sentence(scores, 'Shaded')} {damage_sentence(results)}"
    return layout.framed(inches, layout.panel_height(inches, entries) + _more(label), text if caption else "", draw)


@figure("rank", help="mean rank of each algorithm over the datasets")
def rank(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    phase: Phase = "offline",
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Mean rank of each algorithm over the datasets, 1 the best, with its 95 % bootstrap interval.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        phase: offline, or online: the scores at the end of the online phase.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, a single algorithm, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share, phase)
    if len(scores.entries) < 2:
        raise UsageError("results: expected at least two algorithms to rank, found one. Give results of several.")
    names, longest, lines = layout.names_of([entry.label for entry in scores.entries], 0.35 * inches)
    row = max(0.22, layout.LINE_HEIGHT * lines + 0.06)
    label = _label("mean rank ←", scores, inches - longest)

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        _draw_rows(ax, scores, cross_task.ranks(scores, seed), names, 0.12 / row)
        ax.set_xlim(0.9, len(names) + 0.1)
        layout.round_ticks(ax.xaxis, max(2, int((inches - longest) / 0.3)), integer=True)
        ax.set_xlabel(label)

    intervals = "Not every algorithm has two runs of each dataset, so no interval."
    if all(entry.has_interval for entry in scores.entries):
        intervals = interval_sentence(scores, "Bars")
    text = (
        f"Rank by the mean over runs {scores.place}, mean over datasets; 1 is the best. {scores.sentence()}"
        f"{intervals} {damage_sentence(results)}"
    )
    return layout.framed(inches, row * len(names) + 0.75 + _more(label), text if caption else "", draw)


def _label(text: str, scores: Scores, width: float) -> str:
    """The text of an axis about `width` inches wide, with where the scores are taken if runs have two ends."""
    return (
        layout.wrap(f"{text}, {scores.place}" if text else f"scores {scores.place}", width) if scores.online else text
    )


def _more(label: str) -> float:
    """Inches that the label's lines take besides the first."""
    return layout.LINE_HEIGHT * label.count("\n")


def _draw_rows(ax: Axes, scores: Scores, cells: list[Cell], names: list[str], thick: float) -> None:
    """Each algorithm in a row of its own, from the top: its interval as a bar `thick` rows wide, its value as its marker."""
    looks = style.line_styles(entry.style for entry in scores.entries)
    for place, (cell, entry) in enumerate(zip(cells, scores.entries, strict=True)):
        look = looks[entry.style]
        if not np.isnan(cell.low):
            ax.barh(place, cell.high - cell.low, thick, cell.low, color=look.colour, alpha=0.35, linewidth=0, zorder=3)
        ax.plot([cell.value] * 2, [place - thick / 2, place + thick / 2], color=look.colour, linewidth=1.3, zorder=4)
        ax.plot(cell.value, place, **look.marker_properties, zorder=5)
    ax.use_sticky_edges = False  # a bar has room around it
    ax.margins(x=0.08)
    ax.grid(axis="x", color=style.LIGHT_GREY, linewidth=0.4, alpha=0.5)
    ax.set_axisbelow(True)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


@figure("improvement", help="how probably one algorithm scores higher than another")
def improvement(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    phase: Phase = "offline",
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Probability that a run of one algorithm scores higher than one of another, as a matrix.

    The 95 % bootstrap interval is below the number, if there is room; where the interval contains 0.5 the number is grey.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        phase: offline, or online: the scores at the end of the online phase.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, a single algorithm, too many for the width, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share, phase)
    labels = [entry.label for entry in scores.entries]
    if len(labels) < 2:
        raise UsageError("results: expected at least two algorithms to compare, found one. Give results of several.")
    rows, longest, lines = layout.names_of(labels, min(0.25 * inches, 1.2))
    side = (inches - longest - 0.35) / len(labels)
    if side < layout.LINE_HEIGHT:
        raise UsageError(
            f"improvement: expected a figure wide enough for {len(labels)} algorithms, found {inches:g} inches. "
            "Draw it wider, or give the results of fewer."
        )
    percent = side < layout.text_width("0.00") + 0.06  # a whole per cent is shorter
    interval = side >= layout.text_width("0.00–0.00") + 0.06
    flat = all(layout.text_width(label) + 0.08 <= side for label in labels)
    high_at_most = side if flat else min(0.25 * inches, 1.2)
    columns, high, _ = layout.names_of(labels, high_at_most, int(side / layout.LINE_HEIGHT))
    label = _label("", scores, inches - longest - 0.3)
    row = max(0.28, 0.42 if interval else 0.0, min(side, 0.5), layout.LINE_HEIGHT * lines + 0.06)

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        _draw_matrix(ax, cross_task.improvements(scores, seed), side, percent, interval)
        ax.set_xticks(range(len(labels)), columns, rotation=0 if flat else 90)
        ax.set_yticks(range(len(labels)), rows)
        ax.set_xlabel(label)

    text = (
        f"Probability{' in per cent' if percent else ''} that a run of the row's algorithm scores higher "
        f"than one of the column's {scores.place}; gray: the 95 % bootstrap interval"
        f"{' (below the number)' if interval else ''} contains {'50' if percent else '0.5'}, or is missing. "
        f"{scores.sentence()}{damage_sentence(results)}"
    )
    height = row * len(labels) + (0.3 if flat else high + 0.15) + (_more(label) + 0.2 if label else 0)
    return layout.framed(inches, height, text if caption else "", draw)


def _draw_matrix(ax: Axes, cells: list[list[Cell]], side: float, percent: bool, interval: bool) -> None:
    """Colours, and the numbers that have room in cells `side` inches wide."""
    ax.imshow(np.array([[_colour(each.value) for each in row] for row in cells]), aspect="auto")
    for down, row in enumerate(cells):
        for right, each in enumerate(row):
            if side < layout.text_width("100") + 0.02 or np.isnan(each.value):
                continue
            text = f"{100 * each.value:.0f}" if percent else f"{each.value:.2f}"
            if interval and not np.isnan(each.low):
                text += f"\n{each.low:.2f}–{each.high:.2f}"
            sure = each.low > 0.5 or each.high < 0.5
            ax.text(right, down, text, ha="center", va="center", color="black" if sure else style.GREY, linespacing=1.2)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.set_xticks(np.arange(1, len(cells)) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, len(cells)) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)


def _colour(probability: float) -> tuple[float, ...]:
    """White at 0.5, blue at 1, vermilion at 0; light grey where there is no number."""
    if np.isnan(probability):
        return (0.93, 0.93, 0.93)
    full = _BETTER if probability >= 0.5 else _WORSE
    strength = abs(2 * probability - 1) * 0.6  # so that black can be read on it
    return tuple(1 - strength * (1 - full))
