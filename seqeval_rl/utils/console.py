"""Console output: progress bars, durations, and text that a terminal can show."""

from __future__ import annotations

import math
import sys
from typing import Any

from tqdm import tqdm


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
