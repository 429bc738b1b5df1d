"""How a stack of runs stands, in one line for people: the same on a screen, in a log and from a results folder."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.cells import cell_len, set_cell_size

from seqeval_rl.utils.console import clean, duration

BLOCKS = "▁▂▃▄▅▆▇█"
_GAP = "  "


@dataclass(frozen=True)
class GroupStatus:
    """A stack of runs on its way, or runs of one dataset and algorithm."""

    dataset: str
    algorithm: str
    seeds: tuple[int, ...]
    transitions: int | None  # t of Algorithm 1, the visible ones; None before the runs have begun
    total: int  # t at the end
    scores: tuple[float, ...] = ()  # by evaluation, each the mean over the runs; NaN where there is none
    latest: float | None = None  # mean over the runs of each one's latest score
    rate: float | None = (
        None  # updates/s: gradient steps of all runs together, per second of wall time, evaluations included
    )
    left: float | None = None  # seconds
    state: str = ""  # what the runs do, as "2 running, 1 finished"
    age: float | None = None  # seconds since the latest evaluation
    end: str = ""  # how it has ended, shown in place of the time left

    def plain(self) -> str:
        """All of it in one line of a log, without control characters."""
        at = "starting" if self.transitions is None else f"{self.transitions:,} of {self.total:,} transitions"
        parts = [f"{self.title()}: {at}", f"score {score_text(self.latest)}"]
        if self.rate is not None:
            parts.append(f"{rate_text(self.rate)} updates/s")
        if self.left is not None:
            parts.append(f"{duration(self.left)} left")
        return ", ".join(parts)

    def title(self) -> str:
        """Dataset, algorithm and seeds."""
        word = "seed" if len(self.seeds) == 1 else "seeds"
        return f"{clean(self.dataset)}, {clean(self.algorithm)}, {word} {ranges(self.seeds)}"


class _Shape(NamedTuple):
    """What a table shows: less and less until it fits."""

    spark: int  # most cells of the sparkline
    dataset: int  # cells that its name is shortened to at most
    algorithm: int
    seeds: bool = True
    exact: bool = True  # counts in full
    rate: bool = True
    age: bool = True


_SHAPES = (
    _Shape(16, 28, 20),
    _Shape(8, 24, 16),
    _Shape(0, 20, 14),
    _Shape(0, 16, 12, exact=False),
    _Shape(0, 12, 10, exact=False, seeds=False),
    _Shape(0, 10, 8, exact=False, seeds=False, age=False),
    _Shape(0, 8, 7, exact=False, seeds=False, age=False, rate=False),
    _Shape(0, 4, 4, exact=False, seeds=False, age=False, rate=False),
)


def table(standings: Sequence[GroupStatus], width: int, sparks: bool = True) -> list[str]:
    """A head and one line for each, none wider than `width` cells.

    Where room is short the sparkline goes first, then names lose their middle, then counts their last digits, then seeds,
    ages and updates/s go.

    Args:
        standings: what to show; columns that all of them lack are left out.
        width: cells, of which wide letters take two.
        sparks: whether the terminal has the letters of a sparkline.
    """
    for shape in _SHAPES:
        lines = _fitted(standings, width, shape if sparks else shape._replace(spark=0))
        if max(map(cell_len, lines)) <= width:
            return lines
    return [set_cell_size(line, width).rstrip() for line in lines]


def _fitted(standings: Sequence[GroupStatus], width: int, shape: _Shape) -> list[str]:
    """The table in one shape, its names as long as the width allows, and no shorter than the shape asks for."""
    count = (lambda number: f"{number:,}") if shape.exact else short_count
    spark = shape.spark if any(len(one.scores) > 1 for one in standings) else 0
    # (head, cells, whether right-aligned)
    columns: list[tuple[str, list[str], bool]] = []

    def add(head: str, cell: Callable[[GroupStatus], str], right: bool = True, when: bool = True) -> None:
        if when:
            columns.append((head, [cell(one) for one in standings], right))

    add("seeds", lambda one: middle(ranges(one.seeds), 9), False, shape.seeds)
    add("transitions" if shape.exact else "t", lambda one: _counts(one, count))
    add("score", lambda one: score_text(one.latest))
    add("", lambda one: f"{sparkline(one.scores, spark):<{spark}}", False, spark > 0)
    add("updates/s", lambda one: rate_text(one.rate), when=shape.rate)
    add("left", lambda one: one.end or ("-" if one.left is None else duration(one.left)))
    aged = shape.age and any(one.age is not None for one in standings)
    add("ago", lambda one: "-" if one.age is None else duration(one.age), when=aged)
    stated = any(one.state for one in standings)
    add("state", lambda one: one.state if shape.exact else brief(one.state), False, stated)
    rest = [_aligned(*column) for column in columns]
    room = width - sum(cell_len(column[0]) for column in rest) - len(_GAP) * (len(rest) + 1)
    heads = ("dataset", "algorithm")
    names = [clean(one.dataset) for one in standings], [clean(one.algorithm) for one in standings]
    datasets, algorithms = (max(map(cell_len, (head, *each))) for head, each in zip(heads, names, strict=True))
    algorithms = min(algorithms, max(shape.algorithm, room - datasets))
    datasets = min(datasets, max(shape.dataset, room - algorithms))
    first = [
        _aligned(middle(head, size), [middle(name, size) for name in each], False)
        for head, each, size in zip(heads, names, (datasets, algorithms), strict=True)
    ]
    return [_GAP.join(cells).rstrip() for cells in zip(*first, *rest, strict=True)]


def _aligned(head: str, cells: Sequence[str], right: bool) -> list[str]:
    """A column's cells under its head, all as wide as the widest."""
    width = max(cell_len(cell) for cell in (head, *cells))
    padding = [" " * (width - cell_len(cell)) for cell in (head, *cells)]
    return [pad + cell if right else cell + pad for pad, cell in zip(padding, (head, *cells), strict=True)]


def _counts(one: GroupStatus, count: Callable[[int], str]) -> str:
    return f"{'-' if one.transitions is None else count(one.transitions)}/{count(one.total)}"


def sparkline(scores: Sequence[float], width: int) -> str:
    """Scores as blocks of eight heights from the least to the greatest of them, a blank for NaN; at most `width` cells.

    More scores than cells are averaged, neighbours together.
    """
    values = np.asarray(scores, np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    if len(values) > width > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # neighbours that are all NaN
            values = np.array([np.nanmean(part) for part in np.array_split(values, width)])
    if not width or not np.isfinite(values).any():
        return ""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    top = len(BLOCKS) - 1
    # Halves first: the difference of two huge scores overflows.
    span = high / 2 - low / 2
    heights = [top / 2 if span == 0 else top * ((value / 2 - low / 2) / span) for value in values.tolist()]
    return "".join(" " if math.isnan(height) else BLOCKS[round(height)] for height in heights)


def middle(text: str, width: int) -> str:
    """At most `width` cells of a text, its middle left out where it is longer: names differ at their ends."""
    if cell_len(text) <= width:
        return text
    if width < 3:
        return set_cell_size(text, width)
    head = set_cell_size(text, width // 2).rstrip()
    tail = text
    while cell_len(head) + 1 + cell_len(tail) > width:
        tail = tail[1:]
    return f"{head}…{tail}"


def ranges(numbers: Iterable[int]) -> str:
    """`0-4,7` for 0, 1, 2, 3, 4 and 7."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def short_count(number: int) -> str:
    """Three digits at most: `950`, `4.5k`, `45k`, `1M`, `1.25M`."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            digits = 2 if number < 10 * size else 1 if number < 100 * size else 0
            # Cut, not rounded: nothing is complete before it is.
            text = f"{number * 10**digits // size / 10**digits:.{digits}f}"
            return (text.rstrip("0").rstrip(".") if digits else text) + letter
    return str(number)


def rate_text(rate: float | None) -> str:
    """Updates per second."""
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def score_text(score: float | None) -> str:
    """A score with one digit after the point."""
    return "-" if score is None else f"{score:.1f}"


_BRIEF = {"running": "run", "finished": "fin", "interrupted": "int", "failed": "fail", "crashed": "crash"}


def brief(state: str) -> str:
    """`2 run, 1 fin` for `2 running, 1 finished`; a word by itself stays."""
    return (
        state
        if "," not in state
        else " ".join(_BRIEF.get(word.rstrip(","), word.rstrip(",")) for word in state.split())
    )
