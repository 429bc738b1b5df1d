"""Text helpers: names that are safe as file names, values and exceptions in one line."""

from __future__ import annotations

import re
from typing import Any

_UNFIT = re.compile(r"[^A-Za-z0-9.+_-]+")  # in the name of a directory


def one_line(error: BaseException) -> str:
    """An exception's type and message on one line, without a full stop at its end."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")


def slug(text: str) -> str:
    """`text` with everything that does not suit a file name replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")


def first_line(error: Exception) -> str:
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


def directory_name(name: str) -> str:
    """A name as one directory."""
    return _UNFIT.sub("-", name).strip("-.") or "stream"
