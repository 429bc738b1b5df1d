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
    assert_apart(figure, boxes)
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


def assert_apart(figure: Figure, boxes: list[tuple[str, Bbox]]) -> None:
    """Boxes with their names are inside of the figure, and none overlaps another."""
    for name, box in boxes:
        assert box.x0 >= -0.5 and box.y0 >= -0.5, name  # noqa: PT018
        assert box.x1 <= figure.bbox.width + 0.5 and box.y1 <= figure.bbox.height + 0.5, name  # noqa: PT018
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        apart = min(a.x1, b.x1) - max(a.x0, b.x0) <= 0.5 or min(a.y1, b.y1) - max(a.y0, b.y0) <= 0.5
        assert apart, f"{one!r} and {other!r}"


def legend_labels(figure: Figure) -> list[str]:
    """Texts of a figure's legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def vertical_lines(ax: Axes) -> list[float]:
    """Where lines are drawn from the bottom to the top."""
    return sorted(line.get_xdata()[0] for line in ax.lines if list(line.get_ydata()) == [0, 1])
