"""Style files: a user's own names, colours, lines and markers of algorithms, in TOML.

    [td3_bc]
    name = "ours"
    colour = "#AA3377"
    line = "dashdot"
    marker = "*"
    hollow = true

The table's name is that of an algorithm, or of a variant as the legend shows it. Every entry may be left out.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqeval_rl.errors import FileError, UsageError, unknown
from seqeval_rl.plots.analysis.naming import LINES, Override, overrides

_ENTRIES: dict[str, type] = {"name": str, "colour": str, "line": str, "marker": str, "hollow": bool}


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
    from matplotlib.colors import is_color_like, to_hex
    from matplotlib.lines import Line2D

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
    markers = [each for each in Line2D.markers if isinstance(each, str) and each.strip() not in ("", "none", "None")]
    if "marker" in given and given["marker"] not in markers:
        raise unknown("marker", given["marker"], markers, where)
    return Override(**given)
