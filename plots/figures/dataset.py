"""The figure of `seqeval datasets show`: returns and lengths of a dataset's episodes in their order, and its actions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.figures import layout, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec
    from numpy.typing import NDArray


TERMINAL, TIME_LIMIT, CUT = 0, 1, 2
"""How an episode ended: in a terminal state, by a time limit or another truncation, or with the dataset."""

_ENDS = (
    ("terminal state", "#D55E00", "o"),
    ("time limit", "#0072B2", "s"),
    ("end of the dataset", "#555555", "x"),
)
_BLOCKS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C2E")  # none of `_ENDS`
_LINES = ("solid", "dashed", "dotted")  # of more blocks than there are colours
_BINS = 41
_MOST_DIMENSIONS = 32  # of actions; more are not drawn
_ACROSS = 8  # panels of actions in a row
_ROOM = 1.015  # of the x-axis, so that the last dot is not cut off
_MANY = 5_000  # dots above which they are drawn as pixels, since a vector file would be too large


@dataclass(frozen=True)
class DatasetBlock:
    """One of the datasets that are concatenated; E episodes, N transitions."""

    label: str
    returns: NDArray[np.floating]  # [E], of every episode in order, cut ones too
    lengths: NDArray[np.integer]  # [E], transitions; they add up to N
    ends: NDArray[np.integer]  # [E], of TERMINAL, TIME_LIMIT and CUT
    actions: NDArray[Any]  # [N, A] in [-1, 1]; discrete ones [N], from 0 on
    action_classes: int | None = None  # how many discrete actions there are; None: actions are continuous


def dataset_figure(
    title: str, blocks: Sequence[DatasetBlock], reference: tuple[float, float] | None, *, width: str | float = "page"
) -> Figure:
    """Returns (and scores) and lengths of the episodes over transitions, and a histogram of each action dimension.

    A dot is drawn where its episode ended. The line is the running mean over episodes that the dataset's end did not cut,
    within a block; vertical lines are block boundaries.

    Args:
        title: name of the dataset.
        blocks: at least one; several are concatenated and have equal action dimensions.
        reference: returns whose scores are 0 and 100, for the axis on the right; None: no such axis.
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.

    Raises:
        UsageError: no block, blocks of different action dimensions, or an unknown width.
    """
    inches = layout.figure_width(width)
    dimensions = {1 if block.action_classes else block.actions.shape[1] for block in blocks}
    classes = {block.action_classes for block in blocks}
    if len(dimensions) != 1 or len(classes) != 1:
        kinds = sorted(dimensions) if len(classes) <= 1 else "discrete actions in different numbers"
        raise UsageError(
            f"dataset {title!r}: expected one block or more with the same action dimensions, found {kinds}."
        )
    every = dimensions.pop()
    shown = min(every, _MOST_DIMENSIONS)
    across = min(shown, max(1, min(_ACROSS, int(inches / 0.8))))
    window = max(5, sum(len(block.returns) for block in blocks) // 40)
    entries = _entries(blocks, window)
    above = layout.wrap(title if shown == every else f"{title} (actions: the first {shown} of {every})", inches - 0.3)
    heights = [1.7, 1.2, 0.95 * -(-shown // across)]

    def draw(figure: Figure) -> None:
        parts = figure.add_gridspec(3, 1, height_ratios=heights)
        returns = figure.add_subplot(parts[0])
        lengths = figure.add_subplot(parts[1], sharex=returns)
        _over_transitions(returns, blocks, "returns", window)
        _over_transitions(lengths, blocks, "lengths", window)
        named = _name_blocks(returns, blocks, inches - 1.3)
        returns.set_title(above, pad=5 + named * layout.LINE_HEIGHT * 72)
        returns.set_ylabel("return")
        returns.tick_params(labelbottom=False)
        lengths.set_ylabel("length")
        lengths.set_xlabel("transitions")
        lengths.set_ylim(bottom=0)
        if reference is not None:
            _score_axis(returns, reference)
        _histograms(figure, parts[2], blocks, shown, across)
        layout.legend(figure, entries, inches)

    top = layout.entries_height(entries, inches) + layout.LINE_HEIGHT * (above.count("\n") + 2)
    return layout.framed(inches, sum(heights) + top + 0.75, "", draw)


def _over_transitions(ax: Axes, blocks: Sequence[DatasetBlock], what: str, window: int) -> None:
    """A dot for each episode where it ends, and the running mean."""
    total = sum(int(block.lengths.sum()) for block in blocks)
    count = sum(len(block.lengths) for block in blocks)
    size, strength = float(np.clip(2_000 / count, 1.0, 12.0)), float(np.clip(500 / count, 0.15, 0.8))
    start = 0
    for number, block in enumerate(blocks):
        values = getattr(block, what)
        ends = start + np.cumsum(block.lengths)
        for kind, (_, colour, marker) in enumerate(_ENDS):
            chosen = block.ends == kind
            ax.scatter(
                ends[chosen], values[chosen], s=size if marker != "x" else 3 * size, c=colour, marker=marker,
                alpha=strength, linewidths=0.8 if marker == "x" else 0, rasterized=count > _MANY, zorder=2,
            )  # fmt: skip
        complete = block.ends != CUT
        if np.count_nonzero(complete) >= window:
            ax.plot(ends[complete], running_mean(values[complete], window), color="black", linewidth=1.1, zorder=3)
        if number:
            ax.axvline(start, color=style.LIGHT_GREY, linewidth=0.8, zorder=1)
        start += int(block.lengths.sum())
    ax.set_xlim(0, _ROOM * total)
    layout.round_ticks(ax.xaxis, 7)
    layout.round_ticks(ax.yaxis, 5)
    ax.xaxis.set_major_formatter(layout.format_count)


def _name_blocks(ax: Axes, blocks: Sequence[DatasetBlock], width: float) -> int:
    """Each block's name above it, on axes about `width` inches wide, as far as there is room; returns lines of text taken."""
    if len(blocks) == 1:
        return 0
    stops = np.cumsum([block.lengths.sum() for block in blocks])
    for block, stop in zip(blocks, stops, strict=True):
        own = int(block.lengths.sum())
        label = layout.shorten(block.label, own / stops[-1] * width - 0.05)
        if label != "…":
            ax.annotate(
                label, ((stop - own / 2) / stops[-1] / _ROOM, 1), xycoords="axes fraction", xytext=(0, 2),
                textcoords="offset points", ha="center", va="bottom", color=style.GREY,
            )  # fmt: skip
    return 1


def running_mean(values: NDArray[Any], window: int) -> NDArray[np.float64]:
    """The mean over the `window` values around each of `values` [E], over fewer at both ends: [E]."""
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    places = np.arange(len(values))
    low = np.maximum(places - (window - 1) // 2, 0)
    high = np.minimum(places + window // 2 + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def _score_axis(ax: Axes, reference: tuple[float, float]) -> None:
    """Normalized scores of the returns on the right."""
    low, span = reference[0], reference[1] - reference[0]

    both_ways = (lambda returns: 100 * (returns - low) / span, lambda scores: low + scores * span / 100)
    scores = ax.secondary_yaxis("right", functions=both_ways)
    scores.spines["right"].set_visible(True)
    layout.round_ticks(scores.yaxis, 5)
    scores.set_ylabel("normalized score")


def _histograms(figure: Figure, place: SubplotSpec, blocks: Sequence[DatasetBlock], shown: int, across: int) -> None:
    """Shares of the actions in bins over [-1, 1], a line per block: the first `shown` dimensions, `across` in a row. Of discrete
    actions the share of each."""
    cells = place.subgridspec(-(-shown // across), across)
    classes = blocks[0].action_classes
    edges = np.linspace(-1, 1, _BINS + 1) if classes is None else np.arange(classes + 1) - 0.5
    several = len(blocks) > 1
    for dimension in range(shown):
        ax = figure.add_subplot(cells[dimension // across, dimension % across])
        for block, look in zip(blocks, _block_looks(len(blocks)), strict=True):
            counts = np.histogram(block.actions.reshape(len(block.actions), -1)[:, dimension], edges)[0]
            ax.stairs(counts / len(block.actions), edges, fill=not several, linewidth=0.9, **look)
        if classes is None:
            ax.set_xlim(-1.02, 1.02)
            ax.set_xticks([-1, 0, 1])
        else:
            ax.set_xticks(np.unique(np.linspace(0, classes - 1, 5).round()))
        ax.set_ylim(bottom=0)
        ax.set_yticks([])  # each dimension has its own scale: a spike at a bound would flatten the others
        if dimension % across == 0:
            ax.set_ylabel("share")
        ax.set_title(f"action {dimension}" if classes is None else f"{classes} discrete actions", pad=2)


def _entries(blocks: Sequence[DatasetBlock], window: int) -> list[tuple[str, dict[str, Any]]]:
    """The legend: how many episodes ended how, the running mean, and the blocks."""
    entries: list[tuple[str, dict[str, Any]]] = []
    for kind, (label, colour, marker) in enumerate(_ENDS):
        count = sum(int(np.count_nonzero(block.ends == kind)) for block in blocks)
        if count:
            entries.append((f"ended by {label} ({count:,})", {"color": colour, "marker": marker, "linestyle": ""}))
    if any(np.count_nonzero(block.ends != CUT) >= window for block in blocks):
        entries.append((f"mean of {window} complete episodes around", {"color": "black"}))
    if len(blocks) > 1:
        looks = _block_looks(len(blocks))
        entries += [(f"actions of {block.label}", look) for block, look in zip(blocks, looks, strict=True)]
    return entries


def _block_looks(count: int) -> list[dict[str, Any]]:
    """Color and line of each block's actions."""
    if count == 1:
        return [{"color": "#7F7F7F"}]
    looks = itertools.cycle({"color": color, "linestyle": line} for line in _LINES for color in _BLOCKS)
    return list(itertools.islice(looks, count))
