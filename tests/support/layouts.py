"""Whether a drawn figure is legible: all text is inside, nothing overlaps, axes have their height."""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def assert_nothing_overlaps(figure: Figure) -> None:
    """Texts and axes of a drawn figure do not overlap; all texts have one size."""
    renderer = figure.canvas.get_renderer()
    undrawn = {text for ax in figure.axes for text in (ticks(ax, False) if ax.axison else ax.findobj(Text))}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    texts = [text for text in texts if text not in undrawn]
    assert {text.get_fontsize() for text in texts} == {8.0}
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    boxes += [("axes", ax.get_window_extent(renderer)) for ax in figure.axes if ax.axison]
    for name, box in boxes:
        assert box.x0 >= -0.5 and box.y0 >= -0.5, name  # noqa: PT018
        assert box.x1 <= figure.bbox.width + 0.5 and box.y1 <= figure.bbox.height + 0.5, name  # noqa: PT018
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not _overlap(a, b), f"{one!r} and {other!r}"
    # Labels and legends leave the axes their height.
    for ax in figure.axes:
        assert not ax.axison or ax.get_window_extent(renderer).height / figure.dpi > 0.9


def ticks(ax: Axes, inside: bool) -> list[Text]:
    """Labels of ticks inside or outside the limits; those outside exist, but are not drawn."""
    return [
        label
        for axis in (ax.xaxis, ax.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if (min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())) == inside
    ]


def _overlap(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
