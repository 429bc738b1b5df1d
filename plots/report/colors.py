"""Colors and dashes of the report's curves, on its light and on its dark page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqeval_rl.plots.analysis.naming import LineStyle

DARK_PAGE = (0x15, 0x18, 0x1D)  # background of the dark page in `page.css`
_CONTRAST = 4.5  # least contrast ratio of a line on it; WCAG 2.2 asks 3 of graphics


def line_look(look: LineStyle) -> dict[str, Any]:
    """A line's color on the light and on the dark page, and its dashes in pixels."""
    dash = [] if isinstance(look.line, str) else [2 * length for length in look.line[1]]
    return {"light": look.colour, "dark": on_dark(look.colour), "dash": dash}


def on_dark(color: str) -> str:
    """`#rrggbb` mixed with white until its contrast ratio to the dark page (WCAG 2.2) is high enough.

    Black becomes the color of the page's text.
    """
    if color == "#000000":
        return "#e8eaee"
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    for white in np.linspace(0, 1, 41):
        mixed = [round(part + white * (255 - part)) for part in (red, green, blue)]
        if (luminance(mixed) + 0.05) / (luminance(DARK_PAGE) + 0.05) >= _CONTRAST:
            break
    return "#" + "".join(f"{part:02x}" for part in mixed)


def luminance(color: Sequence[int]) -> float:
    """Relative luminance of red, green and blue of 0 to 255, as WCAG 2.2 defines it."""
    linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in (part / 255 for part in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
