"""Figure `improvement`: how probably a run of one algorithm scores higher than one of another, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.cross_task import improvements, scores_across
from seqeval_rl.plots.analysis.statistics import Cell
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from seqeval_rl.results.read import RunResult


# Blue for better and vermilion for worse, in RGB.
_BETTER, _WORSE = np.array([0, 114, 178]) / 255, np.array([213, 94, 0]) / 255


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

    The 95 % bootstrap interval is below the number, if there is room; where the interval contains 0.5 the number is grey.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, a single algorithm, too many for the width, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    cells = improvements(scores, seed)
    if len(cells) < 2:
        raise UsageError("results: expected at least two algorithms to compare, found one. Give results of several.")
    cell = _cell(inches, [entry.label for entry in scores.entries])

    def draw(figure: Figure) -> None:
        _draw(figure.subplots(), cells, cell)

    half = "50" if cell.percent else "0.5"
    grey = f"grey: the 95 % bootstrap interval{' (below the number)' if cell.interval else ''} contains {half}, or is missing."
    text = (
        f"Probability{' in per cent' if cell.percent else ''} that a run of the row's algorithm scores higher "
        f"than one of the column's at {100 * share:g} % of the data; "
        f"{grey} {scores.sentence()}{damage_sentence(results)}"
    ).rstrip()
    return layout.framed(inches, cell.height, text if caption else "", draw)


@dataclass(frozen=True)
class _CellLayout:
    """What has room in a cell of the matrix, and the names around it."""

    rows: list[str]  # names, wrapped
    columns: list[str]
    rotated: bool  # the columns' names
    number: bool  # whether a number has room
    percent: bool  # as a whole per cent, which is shorter
    interval: bool  # whether the interval has room below the number
    height: float  # of the matrix with its names, in inches


def _cell(inches: float, labels: list[str]) -> _CellLayout:
    rows, longest, lines = layout.names_of(labels, min(0.25 * inches, 1.2))
    side = (inches - longest - 0.35) / len(labels)
    if side < layout.LINE_HEIGHT:
        raise UsageError(
            f"improvement: expected a figure wide enough for {len(labels)} algorithms, found {inches:g} inches. "
            "Draw it wider, or give the results of fewer."
        )
    interval = side >= layout.text_width("0.00–0.00") + 0.06
    flat = all(layout.text_width(label) + 0.08 <= side for label in labels)
    columns, high, _ = layout.names_of(
        labels, side if flat else min(0.25 * inches, 1.2), int(side / layout.LINE_HEIGHT)
    )
    row = max(0.28, 0.42 if interval else 0.0, min(side, 0.5), layout.LINE_HEIGHT * lines + 0.06)
    return _CellLayout(
        rows,
        columns,
        rotated=not flat,
        number=side >= layout.text_width("100") + 0.02,
        percent=side < layout.text_width("0.00") + 0.06,
        interval=interval,
        height=row * len(labels) + (0.3 if flat else high + 0.15),
    )


def _draw(ax: Axes, cells: list[list[Cell]], cell: _CellLayout) -> None:
    ax.imshow(np.array([[_colour(each.value) for each in row] for row in cells]), aspect="auto")
    for down, row in enumerate(cells):
        for right, each in enumerate(row):
            if cell.number and not np.isnan(each.value):
                text = f"{100 * each.value:.0f}" if cell.percent else _written(each, cell.interval)
                ax.text(right, down, text, ha="center", va="center", color=_ink(each), linespacing=1.2)
    ax.set_xticks(range(len(cells)), cell.columns, rotation=90 if cell.rotated else 0)
    ax.set_yticks(range(len(cells)), cell.rows)
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


def _written(cell: Cell, interval: bool) -> str:
    if not interval or np.isnan(cell.low):
        return f"{cell.value:.2f}"
    return f"{cell.value:.2f}\n{cell.low:.2f}–{cell.high:.2f}"


def _ink(cell: Cell) -> str:
    """Black where the interval does not contain 0.5."""
    return "black" if cell.low > 0.5 or cell.high < 0.5 else style.GREY
