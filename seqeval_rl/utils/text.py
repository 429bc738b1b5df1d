"""Text: names that are safe as file names, values, exceptions and durations in one line, and progress bars."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

from tqdm import tqdm

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


def progress_bar(description: str, total: int, shown: bool) -> Any:
    """A bar over transitions on standard error; where that is no terminal, a line every ten seconds at most."""
    interval = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(
        desc=description, total=total, unit=" transitions", unit_scale=True, disable=not shown, mininterval=interval
    )


def clean(text: str) -> str:
    """In one line and without control characters: a name or a message may hold anything."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def duration(seconds: float) -> str:
    """`0:42`, `5:07`, `1:05:07` or `2d 03h`."""
    if not math.isfinite(seconds):
        return "?"
    whole = max(0, round(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d {hours % 24:02}h"
    return f"{hours}:{minutes % 60:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
