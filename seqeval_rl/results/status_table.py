"""The status of run groups as a table or as lines, the same while they train, in `run.log` and in `seqeval status`."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from seqeval_rl.utils.text import clean, duration

BLOCKS = "▁▂▃▄▅▆▇█"
_GAP = 2  # cells between columns
_UNLIMITED = 10_000  # cells


@dataclass(frozen=True)
class GroupStatus:
    """Progress and scores of a run group, or of the runs of one dataset and algorithm."""

    dataset: str
    algorithm: str
    seeds: tuple[int, ...]
    transitions: int | None  # t of Algorithm 1, the visible ones; None before the runs have begun
    total: int  # t at the end
    scores: tuple[float, ...] = ()  # by evaluation, each the mean over the runs; NaN where there is none
    latest: float | None = None  # mean over the runs of each one's latest score
    # Updates/s: gradient steps of all runs together, per second of wall time with evaluations.
    rate: float | None = None
    left: float | None = None  # seconds
    state: str = ""  # states of the runs, as "2 running, 1 finished"
    age: float | None = None  # seconds since the latest evaluation
    end: str = ""  # how it has ended, shown in place of the time left
    metric: str = "score"  # what `scores` and `latest` are: `return` where the task has no reference returns

    def plain(self) -> str:
        """All of it in one line of `run.log`, without control characters."""
        at = "starting" if self.transitions is None else f"{self.transitions:,} of {self.total:,} transitions"
        parts = [f"{self.title()}: {at}", f"{self.metric} {score_text(self.latest)}"]
        if self.rate is not None:
            parts.append(f"{rate_text(self.rate)} updates/s")
        if self.left is not None:
            parts.append(f"{duration(self.left)} left")
        return ", ".join(parts)

    def title(self) -> str:
        """Dataset, algorithm and seeds."""
        seeds = f"seed{'s' * (len(self.seeds) != 1)} {ranges(self.seeds)}"
        return f"{clean(self.dataset)}, {clean(self.algorithm)}, {seeds}"


class _Shape(NamedTuple):
    """The contents of a table, reduced step by step until it fits."""

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


def table(rows: Sequence[GroupStatus], width: int, sparks: bool = True) -> list[str]:
    """A head and one line for each row, none wider than `width` cells.

    Where room is short the sparkline goes first, then names lose their middle, then counts their last digits, then seeds,
    ages and updates/s go. Columns that all rows lack are left out; `sparks`: whether the terminal can show sparklines.
    """
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    for shape in _SHAPES:
        fitted = _fitted(console, rows, shape if sparks else shape._replace(spark=0))
        if Measurement.get(console, console.options.update_width(_UNLIMITED), fitted).maximum <= width:
            break
    with console.capture() as capture:
        console.print(fitted)
    return [line.rstrip() for line in capture.get().splitlines()]


def _fitted(console: Console, rows: Sequence[GroupStatus], shape: _Shape) -> Table:
    """The table in one shape, its names as long as the console's width allows, and no shorter than the shape asks for."""
    rest = _columns(rows, shape)
    taken = Measurement.get(console, console.options.update_width(_UNLIMITED), _table(rest)).maximum
    room = console.width - taken - 2 * _GAP
    datasets, algorithms = [clean(row.dataset) for row in rows], [clean(row.algorithm) for row in rows]
    widest, second = (
        max(map(cell_len, (head, *names))) for head, names in (("dataset", datasets), ("algorithm", algorithms))
    )
    second = min(second, max(shape.algorithm, room - widest))
    widest = min(widest, max(shape.dataset, room - second))
    names = [
        _Column(middle("dataset", widest), [middle(name, widest) for name in datasets], False),
        _Column(middle("algorithm", second), [middle(name, second) for name in algorithms], False),
    ]
    return _table([*names, *rest])


class _Column(NamedTuple):
    head: str
    cells: list[str]
    right: bool = True  # aligned


def _columns(rows: Sequence[GroupStatus], shape: _Shape) -> list[_Column]:
    """What a shape shows next to the names."""
    count = "{:,}".format if shape.exact else short_count
    counts = [f"{'-' if row.transitions is None else count(row.transitions)}/{count(row.total)}" for row in rows]
    spark = shape.spark if any(len(row.scores) > 1 for row in rows) else 0
    columns: list[Any] = [
        shape.seeds and _Column("seeds", [middle(ranges(row.seeds), 9) for row in rows], False),
        _Column("transitions" if shape.exact else "t", counts),
        _score_column(rows),
        spark > 0 and _Column("", [sparkline(row.scores, spark) for row in rows], False),
        shape.rate and _Column("updates/s", [rate_text(row.rate) for row in rows]),
        _Column("left", [row.end or ("-" if row.left is None else duration(row.left)) for row in rows]),
        shape.age
        and any(row.age is not None for row in rows)
        and _Column("ago", ["-" if row.age is None else duration(row.age) for row in rows]),
        any(row.state for row in rows)
        and _Column("state", [row.state if shape.exact else brief(row.state) for row in rows], False),
    ]
    return [column for column in columns if column]


def _score_column(rows: Sequence[GroupStatus]) -> _Column:
    """The latest scores; returns are called so in the head, or where only some rows have them, in their rows."""
    head = rows[0].metric if rows and len({row.metric for row in rows}) == 1 else "score"
    named = [f"{row.metric} " if row.metric != head else "" for row in rows]
    return _Column(head, [name + score_text(row.latest) for name, row in zip(named, rows, strict=True)])


def _table(columns: Sequence[_Column]) -> Table:
    grid = Table(box=None, padding=(0, _GAP), collapse_padding=True, pad_edge=False, header_style="")
    for column in columns:
        grid.add_column(Text(column.head), justify="right" if column.right else "left", no_wrap=True, overflow="crop")
    for cells in zip(*(column.cells for column in columns), strict=True):
        grid.add_row(*map(Text, cells))
    return grid


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
    runs = groupby(enumerate(sorted(set(numbers))), lambda pair: pair[1] - pair[0])
    parts = [[number for _, number in run] for _, run in runs]
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def short_count(number: int) -> str:
    """Three digits at most: `950`, `4.5k`, `45k`, `1M`, `1.25M`."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            digits = 2 if number < 10 * size else 1 if number < 100 * size else 0
            # Truncated, not rounded, so that no count looks complete before it is.
            text = f"{number * 10**digits // size / 10**digits:.{digits}f}"
            return (text.rstrip("0").rstrip(".") if digits else text) + letter
    return str(number)


def rate_text(rate: float | None) -> str:
    """Updates per second."""
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def score_text(score: float | None) -> str:
    """A score with one digit after the point."""
    return "-" if score is None else f"{score:.1f}"


def brief(state: str) -> str:
    """`2 run, 1 fin` for `2 running, 1 finished`; a single word is kept."""
    short = {"running": "run", "finished": "fin", "interrupted": "int", "failed": "fail", "crashed": "crash"}
    return " ".join(short.get(word, word) for word in state.replace(",", "").split()) if "," in state else state
