"""A user's own names, colours, lines and markers, for every figure, table and report that is made under them.

A style file is TOML, a table for each algorithm, or for a variant under the name that the legend shows:

[my_algorithm]
name = "Ours"
colour = "#AA3377"
line = "solid"          # long, dashdot, dashdotdot, dotted, short, sparse
marker = "o"            # as matplotlib calls it
hollow = false          # whether the marker is an outline

["TD3+BC (alpha=1)"]
colour = "navy"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.colors import is_color_like, to_hex
from matplotlib.lines import Line2D

from seqeval_rl.errors import FileError, UsageError, unknown
from seqeval_rl.plots.style import LINES, Override, overrides

_MARKERS = [
    marker for marker in Line2D.markers if isinstance(marker, str) and marker.strip() not in ("", "none", "None")
]
_ENTRIES: dict[str, type] = {"name": str, "colour": str, "line": str, "marker": str, "hollow": bool}


@contextmanager
def styled(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Draws and writes what is made inside with the looks of a style file; with None as ever.

    with styled("style.toml"):
        save(curves(results), "figures", "curves")

    Args:
        path: of the file; this module's docstring shows one.

    Raises:
        FileError: it cannot be read.
        UsageError: not TOML, an unknown entry, or a value that is no colour, line or marker.
    """
    if path is None:
        yield
        return
    before = overrides.set(_read(Path(path)))
    try:
        yield
    finally:
        overrides.reset(before)


def _read(path: Path) -> dict[str, Override]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"style file {path}: cannot be read ({error.strerror or error}). Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"style file {path}: not TOML: {error}. Correct the file.") from None
    return {name: _override(f"[{name}] of style file {path}", table) for name, table in tables.items()}


def _override(where: str, table: Any) -> Override:
    if not isinstance(table, dict):
        raise UsageError(f"{where}: expected a table with {', '.join(_ENTRIES)}, found {table!r}. Correct the file.")
    for name, value in table.items():
        if name not in _ENTRIES:
            raise unknown("entry", name, _ENTRIES, where)
        if not isinstance(value, _ENTRIES[name]):
            raise UsageError(
                f"{name} in {where}: expected {_ENTRIES[name].__name__}, found {value!r}. Correct the file."
            )
    given = dict(table)
    if "name" in given and not given["name"].strip():
        raise UsageError(f"name in {where}: expected text, found none. Leave the entry out to keep the name.")
    if "colour" in given:
        if not is_color_like(given["colour"]):
            raise UsageError(
                f"colour in {where}: expected a colour, found {given['colour']!r}. Give #AA3377 or a name as navy."
            )
        given["colour"] = to_hex(given["colour"])
    if "line" in given:
        if given["line"] not in LINES:
            raise unknown("line", given["line"], LINES, where)
        given["line"] = LINES[given["line"]]
    if "marker" in given and given["marker"] not in _MARKERS:
        raise unknown("marker", given["marker"], _MARKERS, where)
    return Override(**given)
