"""Figures of all datasets together: performance profile, aggregates with their intervals, probability of improvement.

They show what `across` computes, with the fonts, colours and lines that an algorithm has in every other figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.bootstrap import profile_interval
from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.cross_task import Scores, aggregates, improvements, ranks, scores_across
from seqeval_rl.plots.analysis.naming import LineStyle
from seqeval_rl.plots.analysis.statistics import ACROSS, Cell, performance_profile
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.layout import NICE, entries_height, framed, legend, names_of, text_width
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


_THRESHOLDS = 241  # at which a profile is drawn
_BETTER, _WORSE = np.array(to_rgb("#0072B2")), np.array(to_rgb("#D55E00"))


@figure("profile", help="share of the runs above each score, all datasets together")
def profile(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Performance profile: share of runs with a score above each threshold, with its 95 % bootstrap band.

    Args:
        results: of `seqeval_rl.read_results`.
        share: of the data at which the scores are taken.
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `across.scores_across`, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    every = np.concatenate([entry.scores[np.isfinite(entry.scores)] for entry in scores.entries])
    thresholds = np.linspace(min(0.0, float(every.min())), max(100.0, float(every.max())), _THRESHOLDS)
    looks = style.line_styles(entry.style for entry in scores.entries)
    entries = [(entry.label, looks[entry.style]) for entry in scores.entries]

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for place, entry in enumerate(scores.entries):
            look = looks[entry.style]
            ax.plot(
                thresholds, performance_profile(entry.scores, thresholds), **look.drawn,
                markevery=(0.02 + 0.14 * place / len(looks), 0.14), zorder=4,
            )  # fmt: skip
            if entry.has_interval:
                low, high = profile_interval(entry.scores, thresholds, seed=seed)
                ax.fill_between(thresholds, low, high, color=look.colour, alpha=0.17, linewidth=0, zorder=3)
        ax.set_xlim(thresholds[0], thresholds[-1])
        ax.set_ylim(0, 1.02)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=max(3, int(inches / 0.6)), steps=NICE))
        ax.set_xlabel("normalised score τ")
        ax.set_ylabel("share of runs with score > τ")
        legend(figure, entries, inches)

    text = f"Scores at {100 * share:g} % of the data. {scores.sentence()}{shaded(scores, 'Shaded')} {damage_sentence(results)}"
    height = min(max(0.55 * inches, 1.6), 3.2) + 0.4 + entries_height(entries, inches)
    return framed(inches, height, text.rstrip() if caption else "", draw)


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

    Arguments and errors as those of `profile`.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    of = aggregates(scores, seed)
    looks = style.line_styles(entry.style for entry in scores.entries)
    across = len(ACROSS) if inches >= 5 else 2 if inches >= 2.5 else 1
    down = len(ACROSS) // across
    names, longest, lines = names_of([entry.label for entry in scores.entries], 0.3 * inches)
    cell = (inches - longest - 0.3) / across
    row = max(0.2, layout.LINE_HEIGHT * lines + 0.06)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for ax, name in zip(axes.flat, ACROSS, strict=True):
            draw_intervals(ax, of[name], [looks[entry.style] for entry in scores.entries], 0.12 / row)
            ax.set_title(f"{name} {'←' if name == 'optimality gap' else '→'}")
            ax.set_yticks(range(len(names)), names)
            ax.set_ylim(len(names) - 0.4, -0.6)
            ax.tick_params(axis="y", length=0)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=max(2, int(cell / 0.4)), steps=NICE))
        for ax in axes[-1]:
            ax.set_xlabel("normalised score")

    text = (
        f"Scores at {100 * share:g} % of the data. Arrows point to what is better. {scores.sentence()}"
        f"{shaded(scores, 'Bars')} {damage_sentence(results)}"
    )
    return framed(inches, down * (row * len(names) + 0.45) + 0.3, text.rstrip() if caption else "", draw)


@figure("rank", help="mean rank of each algorithm over the datasets")
def rank(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Mean rank of each algorithm over the datasets, 1 the best, with its 95 % bootstrap interval.

    Arguments and errors as those of `profile`; one algorithm alone is a `UsageError` too.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    if len(scores.entries) < 2:
        raise UsageError("results: expected at least two algorithms to rank, found one. Give results of several.")
    looks = style.line_styles(entry.style for entry in scores.entries)
    names, longest, lines = names_of([entry.label for entry in scores.entries], 0.35 * inches)
    row = max(0.22, layout.LINE_HEIGHT * lines + 0.06)

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        draw_intervals(ax, ranks(scores, seed), [looks[entry.style] for entry in scores.entries], 0.12 / row)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(0.9, len(names) + 0.1)
        most = max(2, int((inches - longest) / 0.3))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 5, 10], integer=True))
        ax.set_xlabel("mean rank ←")

    several = all(entry.has_interval for entry in scores.entries)
    text = (
        f"Rank by the mean over runs at {100 * share:g} % of the data, mean over datasets; 1 is the best. {scores.sentence()}"
        f"{shaded(scores, 'Bars') if several else 'Not every algorithm has two runs of each dataset, so no interval.'} "
        f"{damage_sentence(results)}"
    )
    return framed(inches, row * len(names) + 0.75, text.rstrip() if caption else "", draw)


@figure("improvement", help="how probably one algorithm scores higher than another")
def improvement(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Probability that a run of one algorithm scores higher than one of another, as a matrix.

    Where there is room, the 95 % bootstrap interval stands below the number; where the interval holds 0.5 the number is grey.
    Arguments and errors as those of `profile`; one algorithm alone is a `UsageError` too.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    cells = improvements(scores, seed)
    if len(cells) < 2:
        raise UsageError("results: expected at least two algorithms to compare, found one. Give results of several.")
    names, longest, lines = names_of([entry.label for entry in scores.entries], min(0.25 * inches, 1.2))
    side = (inches - longest - 0.35) / len(names)
    if side < layout.LINE_HEIGHT:
        raise UsageError(
            f"improvement: expected a figure wide enough for {len(names)} algorithms, found {inches:g} inches. "
            "Draw it wider, or give the results of fewer."
        )
    room = side >= text_width("0.00–0.00") + 0.06
    narrow = side < text_width("0.00") + 0.06  # then in per cent, which takes less room
    numbers = side >= text_width("100") + 0.02
    flat = all(text_width(entry.label) + 0.08 <= side for entry in scores.entries)
    above, high, _ = names_of(
        [entry.label for entry in scores.entries],
        side if flat else min(0.25 * inches, 1.2),
        int(side / layout.LINE_HEIGHT),
    )

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        colours = np.array([[_colour(cell.value) for cell in row] for row in cells])
        ax.imshow(colours, aspect="auto")
        for down, row in enumerate(cells):
            for right, cell in enumerate(row):
                if numbers and not np.isnan(cell.value):
                    text = f"{100 * cell.value:.0f}" if narrow else _written(cell, room)
                    ax.text(right, down, text, ha="center", va="center", color=_ink(cell), linespacing=1.2)
        ax.set_xticks(range(len(names)), above, rotation=0 if flat else 90)
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        for edge in ax.spines.values():
            edge.set_visible(False)
        ax.set_xticks(np.arange(1, len(names)) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.5)
        ax.tick_params(which="minor", length=0)

    half = "50" if narrow else "0.5"
    grey = f"grey: the 95 % bootstrap interval{' (below the number)' if room else ''} holds {half}, or there is none."
    text = (
        f"Probability{' in per cent' if narrow else ''} that a run of the row's algorithm scores higher "
        f"than one of the column's at {100 * share:g} % of the data; "
        f"{grey} {scores.sentence()}{damage_sentence(results)}"
    ).rstrip()
    tall = max(0.28, 0.42 if room else 0.0, min(side, 0.5), layout.LINE_HEIGHT * lines + 0.06) * len(names)
    return framed(inches, tall + (0.3 if flat else high + 0.15), text.rstrip() if caption else "", draw)


def shaded(scores: Scores, what: str) -> str:
    """What the bands are, and who has none."""
    single = [entry.label for entry in scores.entries if not entry.has_interval]
    if len(single) == len(scores.entries):
        return "A dataset has one run, so no interval."
    none = f"; none for {', '.join(single)} (one run on a dataset)" if single else ""
    return f"{what}: 95 % stratified bootstrap interval{none}."


def draw_intervals(ax: Axes, cells: list[Cell], looks: list[LineStyle], thick: float) -> None:
    """Each algorithm in a row of its own, from the top: its interval as a bar `thick` rows wide, its value as its marker."""
    for place, (cell, look) in enumerate(zip(cells, looks, strict=True)):
        if not np.isnan(cell.low):
            ax.barh(place, cell.high - cell.low, thick, cell.low, color=look.colour, alpha=0.35, linewidth=0, zorder=3)
        ax.plot([cell.value] * 2, [place - thick / 2, place + thick / 2], color=look.colour, linewidth=1.3, zorder=4)
        ax.plot(cell.value, place, **look.drawn | {"linestyle": ""}, zorder=5)
    ax.use_sticky_edges = False  # a bar has room beside it
    ax.margins(x=0.08)
    ax.grid(axis="x", color=style.BLOCK_COLOUR, linewidth=0.4, alpha=0.5)
    ax.set_axisbelow(True)


def _colour(probability: float) -> tuple[float, ...]:
    """White at 0.5, blue at 1, vermilion at 0; light grey where there is no number."""
    if np.isnan(probability):
        return (0.93, 0.93, 0.93)
    full = _BETTER if probability >= 0.5 else _WORSE
    strength = abs(2 * probability - 1) * 0.6  # so that black can be read on it
    return tuple(1 - strength * (1 - full))


def _written(cell: Cell, room: bool) -> str:
    if not room or np.isnan(cell.low):
        return f"{cell.value:.2f}"
    return f"{cell.value:.2f}\n{cell.low:.2f}–{cell.high:.2f}"


def _ink(cell: Cell) -> str:
    """Black where the interval leaves 0.5 out."""
    return "black" if cell.low > 0.5 or cell.high < 0.5 else style.LOG_COLOUR
