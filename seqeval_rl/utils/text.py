"""Text: names that are safe as file names, values, lists, exceptions and durations in one line."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

_CONTROLS = ("Cc", "Cf")  # categories of Unicode
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_UNFIT = re.compile(r"[^A-Za-z0-9.+_-]+")  # in the name of a file
_LONGEST = 150  # characters of a name, well within what file systems take; temporary files add some
# Windows reserves these, with any ending.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def one_line(error: BaseException) -> str:
    """An exception's type and message on one line, without a full stop at its end."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")


def file_name(text: str, otherwise: str = "stream") -> str:
    """Any text as the name of one file or directory, on every file system: at most 150 ASCII characters.

    A text that is such a name already stays as it is. Of any other text the parts that fit are kept, followed by a hash of the
    text, so that different texts have different names (Unicode's composed and decomposed forms of a text are one). `otherwise`
    takes the place of a text of which nothing fits.
    """
    text = unicodedata.normalize("NFC", text)
    shown = fitting(text).strip("-.")
    if shown == text != "" and not _RESERVED.fullmatch(text):
        return bounded_name(text)
    return hashed_name(shown or otherwise, text)


def fitting(text: str) -> str:
    """`text` with everything that does not suit a file name replaced; other texts may give the same."""
    return _UNFIT.sub("-", text)


def bounded_name(name: str) -> str:
    """A file name as it is, or, where it is too long, its beginning and a hash of it."""
    return name if len(name) <= _LONGEST else hashed_name(name, name)


def hashed_name(shown: str, text: str) -> str:
    """The beginning of a file name, followed by a hash of the text that it is for."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{shown[: _LONGEST - 9]}-{digest[:8]}"


def some(names: Sequence[Any]) -> str:
    """The first names of a list and how many others there are: `a, b, c and 4 more`; `none` for an empty list."""
    shown, more = ", ".join(map(str, names[:3])) or "none", len(names) - 3
    return f"{shown} and {more} more" if more > 0 else shown


def first_line(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def show(value: Any) -> str:
    """A setting's value as `--set` takes it: `2.5`, `1`, `true`, `none`, a word, or a list. No digit that counts is lost."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(show(item) for item in value)}]"
    return str(value)


def clean(text: str) -> str:
    """In one line and without control characters: a name or a message may hold anything."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def printable(text: str) -> str:
    """Any text for a terminal: without what controls it (escape sequences, backspaces, the direction of writing); lines and tabs
    stay."""
    return "".join(
        " " if unicodedata.category(letter) in _CONTROLS and letter not in "\n\t" else letter for letter in text
    )


@functools.lru_cache(maxsize=1024)
def csv_text(text: str) -> str:
    """Text for a cell of a CSV file, which spreadsheets do not take for a formula: such a one gets an apostrophe in front."""
    text = clean(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not _NUMBER.fullmatch(text) else text


def duration(seconds: float) -> str:
    """`0:42`, `5:07`, `1:05:07` or `2d 03h`."""
    if not math.isfinite(seconds):
        return "?"
    whole = max(0, round(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d {hours % 24:02}h"
    return f"{hours}:{minutes % 60:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
