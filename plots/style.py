"""How figures look: sizes, fonts, one colour, line and marker per algorithm; text that fits; files written whole.

Colours are those of Okabe and Ito (Color Universal Design, 2008), with a brown for the yellow, which white paper
swallows. Line style and marker differ too, so that a grey print can be read.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from seqeval_rl.errors import FileError, unknown

FONT_SIZE = 8.0
# Figure widths in inches: one column of a two-column page, the page, a slide.
WIDTHS = {"column": 3.25, "page": 6.75, "slide": 10.0}
FORMATS = ("png", "pdf", "svg")

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the same on every machine
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": FONT_SIZE,
    "ytick.labelsize": FONT_SIZE,
    "legend.fontsize": FONT_SIZE,
    "figure.titlesize": FONT_SIZE,
    "figure.labelsize": FONT_SIZE,
    "text.usetex": False,
    "text.parse_math": False,  # names are names, dollars included
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # TrueType, which journals accept, not type 3
    "ps.fonttype": 42,
    "svg.hashsalt": "seqeval-rl",  # the same figure gives the same file
}

LOG_COLOUR = "#555555"
BLOCK_COLOUR = "#AAAAAA"


@dataclass(frozen=True)
class LineStyle:
    """How one algorithm is drawn."""

    colour: str
    line: Any  # matplotlib's line style
    marker: str
    hollow: bool = False  # whether the marker is an outline

    @property
    def drawn(self) -> dict[str, Any]:
        """Line and marker as matplotlib's properties of a line."""
        outline = {"markerfacecolor": "white", "markersize": 5.0, "markeredgewidth": 0.8} if self.hollow else {}
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker, **outline}


SOLID: Any = "-"
LONG: Any = (0, (6, 1.5))
DASHDOT: Any = (0, (5, 1.5, 1, 1.5))
DASHDOTDOT: Any = (0, (4, 1.2, 1, 1.2, 1, 1.2))
DOTTED: Any = (0, (1.2, 1.2))
SHORT: Any = (0, (2.5, 1.2))
SPARSE: Any = (0, (0.8, 2.4))

KNOWN_ALGORITHMS = {
    "td3_bc": ("TD3+BC", LineStyle("#0072B2", SOLID, "o")),
    "iql": ("IQL", LineStyle("#D55E00", LONG, "s")),
    "cql": ("CQL", LineStyle("#009E73", DASHDOT, "^")),
    "awac": ("AWAC", LineStyle("#CC79A7", DASHDOTDOT, "D")),
    "bc": ("BC", LineStyle("#000000", DOTTED, "v")),
    "sac": ("SAC", LineStyle("#7A5C2E", LONG, "*")),
}
# Others take the free colours first, then every colour again with another line and marker.
_FREE = [
    LineStyle("#E69F00", SHORT, "P"),
    LineStyle("#56B4E9", SOLID, "X"),
    LineStyle("#7A5C2E", LONG, "*"),
]
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7A5C2E")
_AGAIN = [
    LineStyle(colour, line, marker)
    for line, marker in (
        (SHORT, "<"),
        (DOTTED, ">"),
        (SOLID, "p"),
        (DASHDOT, "h"),
        (LONG, "8"),
        (DASHDOTDOT, "d"),
    )
    for colour in _COLOURS
]


@dataclass(frozen=True)
class Override:
    """What a user wants of an algorithm's look, see `style_file.styled`; None: as it is."""

    name: str | None = None
    colour: str | None = None
    line: Any = None
    marker: str | None = None
    hollow: bool | None = None

    def applied(self, look: LineStyle) -> LineStyle:
        """The look with what is given in its place."""
        given = {"colour": self.colour, "line": self.line, "marker": self.marker, "hollow": self.hollow}
        return replace(look, **{name: value for name, value in given.items() if value is not None})


# By algorithm, or by a variant's name in the legend. Of this thread or task: set by `style_file.styled` alone.
overrides: ContextVar[Mapping[str, Override]] = ContextVar("overrides", default=MappingProxyType({}))
LINES: dict[str, Any] = {
    "solid": SOLID,
    "long": LONG,
    "dashdot": DASHDOT,
    "dashdotdot": DASHDOTDOT,
    "dotted": DOTTED,
    "short": SHORT,
    "sparse": SPARSE,
}


def display_name(algorithm: str) -> str:
    """The user's name for it (`style_file.styled`), else that which papers use, for the reference algorithms, else its own."""
    override = overrides.get().get(algorithm)
    if override is not None and override.name is not None:
        return override.name
    return KNOWN_ALGORITHMS[algorithm][0] if algorithm in KNOWN_ALGORITHMS else algorithm


CONTROL_SUFFIX = " (static control)"


def control(name: str) -> str:
    """The style's key of the static control of the runs whose key is `name`: their colour, another line."""
    return name + CONTROL_SUFFIX


def legend_order(names: Iterable[str]) -> list[str]:
    """Each name once: the reference algorithms in a fixed order, then the others by alphabet; variants by value.

    A reference algorithm's variants, `TD3+BC (alpha=1)`, stand where it stands, a static control behind its own.
    """

    def place(name: str) -> int:
        shown = enumerate((key, f"{display_name(key)} (") for key in KNOWN_ALGORITHMS)
        return next((i for i, (key, start) in shown if name == key or name.startswith(start)), len(KNOWN_ALGORITHMS))

    def rank(name: str) -> tuple[int, list[str | float], bool]:
        own = name.removesuffix(CONTROL_SUFFIX)
        return place(own), by_value(display_name(own)), own != name

    return sorted(set(names), key=rank)


def by_value(name: str) -> list[str | float]:
    """Sorts names by alphabet, and those that differ in a setting's number by this: alpha=2.5 before alpha=10."""
    parts = re.split(r"(?<==)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=[,)]|$)", name)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]


def line_styles(names: Iterable[str]) -> dict[str, LineStyle]:
    """A style for each name, the same wherever the same names are drawn.

    The reference algorithms have fixed styles. Any other name starts at a place given by its hash and takes the next
    that is free, so that it keeps its style when others come or go, unless their places meet. Beyond 51 other names
    styles repeat. A static control (`control`) has the colour and marker of its own, hollow on a line of sparse dots.
    What a style file says (`style_file.styled`) stands above all this, and changes no other name's style.
    """
    order = legend_order(names)
    styles: dict[str, LineStyle] = {}
    taken: set[LineStyle] = set()
    for name in legend_order(name.removesuffix(CONTROL_SUFFIX) for name in order):
        if name in KNOWN_ALGORITHMS:
            styles[name] = KNOWN_ALGORITHMS[name][1]
            taken.add(styles[name])
            continue
        place = int.from_bytes(sha256(name.encode()).digest()[:8], "big")
        candidates = [tier[(place + i) % len(tier)] for tier in (_FREE, _AGAIN) for i in range(len(tier))]
        styles[name] = next((style for style in candidates if style not in taken), candidates[0])
        taken.add(styles[name])
    wanted = overrides.get()
    styles = {name: wanted[name].applied(look) if name in wanted else look for name, look in styles.items()}
    return {
        name: styles[name]
        if name in styles
        else replace(styles[name.removesuffix(CONTROL_SUFFIX)], line=SPARSE, hollow=True)
        for name in order
    }


@lru_cache(maxsize=4096)
def text_width(text: str) -> float:
    """Width of a line of text at the figures' font size, in inches."""
    font = FontProperties(family=RC["font.family"], size=FONT_SIZE)
    width: float = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    return width / 72


def shorten(text: str, width: float) -> str:
    """`text` with as much of its middle left out (…) as it takes to be at most `width` inches wide."""
    if text_width(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if text_width(short) <= width:
            return short
    return "…"


def wrap(text: str, width: float, lines: int | None = None) -> str:
    """`text` broken into lines of at most `width` inches, after a space or one of `/ - _ , →`.

    A word that is too wide, and with `lines` the last line, are shortened in the middle.
    """
    pieces = [piece for piece in re.split(r"(?<=[\s/\-_,→])", text) if piece]
    rows = [""]
    for index, piece in enumerate(pieces):
        if not rows[-1] or text_width((rows[-1] + piece).rstrip()) <= width:
            rows[-1] += piece
        elif lines is not None and len(rows) == lines:
            rows[-1] += "".join(pieces[index:])
            break
        else:
            rows.append(piece)
    return "\n".join(shorten(row.strip(), width) for row in rows)


def format_count(number: float) -> str:
    """A number of transitions as axes show it: 0, 250k, 1M."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:.6g}{suffix}"
    return f"{number:.6g}"


def save(
    figure: Figure,
    directory: str | os.PathLike[str],
    name: str,
    formats: Sequence[str] = ("png", "pdf"),
    dpi: int = 300,
) -> list[Path]:
    """Writes `directory/name.FORMAT` for each format and returns the paths.

    Each file is written under another name and renamed, so that a reader never meets half a figure. The same figure
    gives the same bytes: no dates are written.

    Args:
        figure: of this package, or any.
        directory: made if it is not there.
        name: file name without ending.
        formats: of png, pdf, svg.
        dpi: dots per inch of png.

    Raises:
        UsageError: unknown format.
        FileError: the directory cannot be made or written.
    """
    for ending in formats:
        if ending not in FORMATS:
            raise unknown("figure format", ending, FORMATS, "--format")
    folder = Path(directory)
    metadata: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending in formats:
            path = folder / f"{name}.{ending}"
            handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
            try:
                with os.fdopen(handle, "wb") as file, mpl.rc_context(RC):
                    figure.savefig(file, format=ending, dpi=dpi, metadata=metadata[ending])
                os.chmod(temporary, 0o644)
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            paths.append(path)
    except OSError as error:
        raise FileError(
            f"figure {name!r} in {folder}: cannot be written ({error.strerror or error}). "
            "Free space there or choose another directory with --out."
        ) from error
    return paths
