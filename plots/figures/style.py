"""How figures look: sizes, fonts, one colour per algorithm, a line, marker and shade per variant; and writing them to files.

Colours are those of Okabe and Ito (Color Universal Design, 2008), with a brown for the yellow, which white paper
swallows. Line style and marker differ too, so that a grey print can be read. A style file in TOML changes them:

    [td3_bc]
    name = "ours"
    colour = "#AA3377"
    line = "dashdot"
    marker = "*"
    hollow = true

The table's name is that of an algorithm, which holds for its variants too, or of a variant as the legend shows it. Every
entry may be left out.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqeval_rl.errors import FileError, Place, UsageError, at, unknown, writing
from seqeval_rl.plots.analysis import naming
from seqeval_rl.plots.analysis.naming import LINES, LineStyle, legend_order
from seqeval_rl.utils import toml
from seqeval_rl.utils.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Figure widths in inches: one column of a two-column page, the page, a slide.
WIDTHS = {"column": 3.25, "page": 6.75, "slide": 10.0}
FORMATS = ("png", "pdf", "svg")

GREY = "#555555"  # of the dataset's mean score and its labels
LIGHT_GREY = "#AAAAAA"  # of block boundaries
# Others take the free colours first, then every colour again with another line and marker.
_FREE = [
    LineStyle("#E69F00", LINES["short"], "P"),
    LineStyle("#56B4E9", LINES["solid"], "X"),
    LineStyle("#7A5C2E", LINES["long"], "*"),
]
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7A5C2E")
_MARKERS = {"short": "<", "dotted": ">", "solid": "p", "dashdot": "h", "long": "8", "dashdotdot": "d"}
# An algorithm's variants: lines (the sparse one is of controls), markers, and how much white or black the last one is mixed with.
_VARIANT_LINES = [line for name, line in LINES.items() if name != "sparse"]
_VARIANT_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "8", "d")
_SHADE = 0.45
_DARK = 0.2  # luminance up to which a colour becomes lighter, so that it stands out from white paper
_AGAIN = [LineStyle(colour, LINES[line], marker) for line, marker in _MARKERS.items() for colour in _COLOURS]

_ENTRIES: dict[str, type] = {"name": str, "colour": str, "line": str, "marker": str, "hollow": bool}


@cache
def rc() -> Any:
    """Matplotlib's settings for figures, of the style sheet `paper.mplstyle`."""
    from matplotlib import rc_params_from_file

    return rc_params_from_file(Path(__file__).with_name("paper.mplstyle"), use_default_template=False)


def line_styles(names: Iterable[str]) -> dict[str, LineStyle]:
    """A style for each name, the same wherever the same names are drawn.

    The colour is that of the algorithm. The reference algorithms have fixed styles. Any other starts at a place given by the
    hash of its name and takes the next that is free, so that it keeps its style when others come or go, unless their places
    meet. Beyond 51 others styles repeat. The variants of an algorithm, `td3_bc (alpha=1)`, have shades of its colour in the
    legend's order, each with a line and a marker that no other has; the first looks as the algorithm does alone. A control
    (`control`) has the colour and marker of its own, hollow on a line of sparse dots (static) or short dashes (interleaved).
    A style file (`styled`) overrides all this, and changes no other algorithm's style.
    """
    order = legend_order(names)
    variants: dict[str, list[str]] = defaultdict(list)
    for name in legend_order(map(naming.without_control, order)):
        variants[naming.algorithm_of(name)].append(name)
    wanted = naming.overrides.get()
    looks = _algorithm_styles(variants)
    looks = {name: wanted[name].applied(look) if name in wanted else look for name, look in looks.items()}
    taken = {(str(look.line), look.marker) for look in looks.values()}
    styles: dict[str, LineStyle] = {}
    for algorithm, keys in variants.items():
        for name, look in zip(keys, _variants(looks[algorithm], len(keys), taken), strict=True):
            override = wanted.get(naming.legend_name(name)) if name != algorithm else None
            styles[name] = override.applied(look) if override else look
    for name in order:
        own = naming.without_control(name)
        if name not in styles:
            styles[name] = replace(styles[own], line=naming.CONTROL_LINES[name.removeprefix(own)], hollow=True)
    return {name: styles[name] for name in order}


def _algorithm_styles(algorithms: Iterable[str]) -> dict[str, LineStyle]:
    """A style for each algorithm, in the legend's order."""
    styles: dict[str, LineStyle] = {}
    for name in algorithms:
        if name in naming.KNOWN_ALGORITHMS:
            styles[name] = naming.KNOWN_ALGORITHMS[name][1]
            continue
        place = int.from_bytes(sha256(name.encode()).digest()[:8], "big")
        candidates = [tier[(place + i) % len(tier)] for tier in (_FREE, _AGAIN) for i in range(len(tier))]
        free = [style for style in candidates if style not in styles.values()] or candidates
        drawn = [
            (style.colour, style.line) for style in styles.values()
        ]  # two such curves differ in their markers alone
        styles[name] = next((style for style in free if (style.colour, style.line) not in drawn), free[0])
    return styles


def _variants(look: LineStyle, number: int, taken: set[tuple[str, str]]) -> Iterator[LineStyle]:
    """The algorithm's look, and as many others of its colour as it takes; their lines and markers are added to `taken`."""
    yield look
    lines, markers = [str(look.line)], [look.marker]  # of this algorithm so far
    # Each line with each marker, so that neighbors differ in both.
    pairs = [
        (_VARIANT_LINES[place % len(_VARIANT_LINES)], _VARIANT_MARKERS[(place + turn) % len(_VARIANT_MARKERS)])
        for turn in range(len(_VARIANT_MARKERS))
        for place in range(len(_VARIANT_LINES))
    ]
    for place in range(1, number):
        # First those that no other curve has, then those whose marker and line this algorithm has least often.
        line, marker = min(
            pairs,
            key=lambda pair: ((str(pair[0]), pair[1]) in taken, markers.count(pair[1]), lines.count(str(pair[0]))),
        )
        taken.add((str(line), marker))
        lines.append(str(line))
        markers.append(marker)
        yield replace(look, colour=shade(look.colour, _SHADE * place / (number - 1)), line=line, marker=marker)


def shade(colour: str, strength: float) -> str:
    """`#rrggbb` mixed with white if it is dark, else with black, of which there is `strength` (0 to 1); its hue stays."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    end = 255 if luminance(parts) <= _DARK else 0
    return "#" + "".join(f"{round(part + strength * (end - part)):02x}" for part in parts)


def luminance(colour: Sequence[int]) -> float:
    """Relative luminance of red, green and blue of 0 to 255, as WCAG 2.2 defines it."""
    linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def save(
    figure: Figure,
    directory: str | os.PathLike[str],
    name: str,
    formats: Sequence[str] = ("png", "pdf"),
    dpi: int = 300,
) -> list[Path]:
    """Write `directory/name.FORMAT` for each format and return the paths.

    Writes are atomic. The same figure gives the same bytes: no dates are written.

    Args:
        figure: of this package, or any.
        directory: created if missing.
        name: file name without ending.
        formats: of png, pdf, svg.
        dpi: dots per inch of png.

    Raises:
        UsageError: unknown format.
        FileError: the directory cannot be made or written.
    """
    import matplotlib as mpl

    for ending in formats:
        if ending not in FORMATS:
            raise unknown("figure format", ending, FORMATS, "--format")
    folder = Path(directory)
    metadata: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    paths = [folder / f"{name}.{ending}" for ending in formats]
    with writing(f"figure {name!r} in {folder}", "Free space there or choose another directory with --out."):
        for path, ending in zip(paths, formats, strict=True):
            with atomic_path(path) as temporary, mpl.rc_context(rc()):
                figure.savefig(temporary, format=ending, dpi=dpi, metadata=metadata[ending])
    return paths


@contextmanager
def styled(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Figures and tables that are made in this context have the names and looks of a style file.

        with styled("style.toml"):
            save(curves(results), "figures", "curves")

    Args:
        path: of the file; None: no change.

    Raises:
        FileError: it cannot be read.
        UsageError: not TOML, an unknown entry, or a value that is not a colour, line or marker.
    """
    if path is None:
        yield
        return
    before = naming.overrides.set(_read(Path(path)))
    try:
        yield
    finally:
        naming.overrides.reset(before)


def _read(path: Path) -> dict[str, naming.Override]:
    try:
        tables, text = toml.parse(path.read_bytes())
    except OSError as error:
        raise FileError(f"style file {path}: cannot be read ({error.strerror or error}). Check the path.") from error
    except ValueError as error:
        raise UsageError(f"style file {path}, {error}") from None

    def place(name: str) -> Place:
        where = f"[{name}] of style file {path}"
        return Place(where, lambda entry: f"{where}, line {toml.line_of(text, f'{name}.{entry}')}")

    return {name: _override(place(name), table) for name, table in tables.items()}


def _override(where: Place, table: Any) -> naming.Override:
    if not isinstance(table, dict):
        raise UsageError(
            f"{at(where, '')}: expected a table with {', '.join(_ENTRIES)}, found {table!r}. Correct the file."
        )
    for name, value in table.items():
        if name not in _ENTRIES:
            raise unknown("entry", name, _ENTRIES, at(where, name))
        if not isinstance(value, _ENTRIES[name]):
            raise UsageError(
                f"{name} in {at(where, name)}: expected {_ENTRIES[name].__name__}, found {value!r}. Correct the file."
            )
    from matplotlib.colors import is_color_like, to_hex
    from matplotlib.lines import Line2D

    given = dict(table)
    if "name" in given and not given["name"].strip():
        raise UsageError(
            f"name in {at(where, 'name')}: expected text, found none. Leave the entry out to keep the name."
        )
    if "colour" in given:
        if not is_color_like(given["colour"]):
            raise UsageError(
                f"colour in {at(where, 'colour')}: expected a colour, found {given['colour']!r}. Give #AA3377 or a name as navy."
            )
        given["colour"] = to_hex(given["colour"])
    if "line" in given:
        if given["line"] not in LINES:
            raise unknown("line", given["line"], LINES, at(where, "line"))
        given["line"] = LINES[given["line"]]
    markers = [each for each in Line2D.markers if isinstance(each, str) and each.strip() not in ("", "none", "None")]
    if "marker" in given and given["marker"] not in markers:
        raise unknown("marker", given["marker"], markers, at(where, "marker"))
    return naming.Override(**given)
