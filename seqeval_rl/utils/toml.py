"""TOML files: reading them, and the lines that their keys are on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def parse(contents: bytes) -> tuple[dict[str, Any], str]:
    """The tables of a file, and its text. Raises `ValueError` with the line, what was expected and what is there."""
    try:
        text = contents.decode("utf-8-sig").replace("\r\n", "\n")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line}: expected text in UTF-8, found the byte 0x{contents[error.start]:02x}. Save the file as UTF-8."
        ) from None
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError("line 1: expected lists and tables a few levels deep, found hundreds. Correct it.") from None
    except tomllib.TOMLDecodeError as error:
        found = _AT.fullmatch(str(error))
        line = int(found[2]) if found and found[2] else text.rstrip().count("\n") + 1
        column = f"column {found[3]}" if found and found[3] else "the end"
        shown = " ".join(text.split("\n")[line - 1].split())
        raise ValueError(
            f"line {line}, {column}: expected TOML (text is in quotation marks), found {shown[:60]!r}: "
            f"{found[1] if found else error}. Correct the line."
        ) from None
    wrong = next(
        (path for path, value in _values(tables, "") if "\0" in path or (isinstance(value, str) and "\0" in value)),
        None,
    )
    if wrong is not None:
        raise ValueError(
            f"line {line_of(text, wrong)}: expected names and texts without the character NUL, found it in {wrong!r}. Correct it."
        )
    return tables, text


def lines(text: str) -> dict[str, int]:
    """The line on which each key of a TOML text begins, by its path, for example `streams.0.blocks`."""
    rows = text.split("\n")
    found: dict[str, int] = {}
    begin = 1
    for end in range(1, len(rows) + 1):
        try:
            tables = tomllib.loads("\n".join(rows[:end]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a list or text of several lines
        for path, _ in _values(tables, ""):
            found.setdefault(path, begin)
        begin = end + 1
    return found


def line_of(text: str, path: str) -> int | None:
    """The line on which a key begins, or the nearest table or list around it; None where there is none."""
    found, parts = lines(text), path.split(".")
    return next((found[key] for n in range(len(parts), 0, -1) if (key := ".".join(parts[:n])) in found), None)


def _values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All keys and items below a value, by their paths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        own = f"{path}.{name}" if path else str(name)
        yield own, item
        yield from _values(item, own)
