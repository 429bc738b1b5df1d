from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from layouts import assert_apart, ticks
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import DatasetBlock, dataset_figure
from seqeval_rl.plots.figures.dataset import CUT, TERMINAL, TIME_LIMIT, running_mean


def block(
    label: str = "medium", episodes: int = 60, dimensions: int = 3, seed: int = 0, level: float = 100.0
) -> DatasetBlock:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(20, 200, episodes)
    ends = np.where(rng.random(episodes) < 0.7, TERMINAL, TIME_LIMIT)
    ends[-1] = CUT
    actions = np.tanh(rng.standard_normal((int(lengths.sum()), dimensions)))
    return DatasetBlock(label, level + 10 * rng.standard_normal(episodes), lengths, ends, actions)


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def dots(ax: Axes, kind: int) -> np.ndarray:
    """Where dots of that kind stand, of all blocks."""
    return np.concatenate([collection.get_offsets() for collection in ax.collections[kind::3]])


def test_every_episode_is_a_dot_where_it_ends() -> None:
    blocks = [block("random", 30, seed=1), block("expert", 40, seed=2, level=3000.0)]
    figure = dataset_figure("a + b", blocks, (0.0, 1000.0))
    returns, lengths = figure.axes[:2]
    for kind in (TERMINAL, TIME_LIMIT, CUT):
        start, expected = 0, []
        for one in blocks:
            stops = start + np.cumsum(one.lengths)
            expected += [
                (stop, value, length)
                for stop, value, length, end in zip(stops, one.returns, one.lengths, one.ends, strict=True)
                if end == kind
            ]
            start = stops[-1]
        wanted = np.array(expected)
        np.testing.assert_allclose(dots(returns, kind), wanted[:, :2])
        np.testing.assert_allclose(dots(lengths, kind), wanted[:, [0, 2]])
    boundary = blocks[0].lengths.sum()
    assert any(np.all(line.get_xdata() == boundary) for line in returns.lines)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    count = sum(int((one.ends == TERMINAL).sum()) for one in blocks)
    assert f"ended by terminal state ({count})" in names
    assert {"actions of random", "actions of expert"} <= set(names)


def test_the_axis_on_the_right_shows_scores() -> None:
    figure = drawn(dataset_figure("a", [block(level=50.0)], (-20.0, 180.0)))
    ax = figure.axes[0]
    (scores,) = ax.child_axes
    assert scores.get_ylabel() == "normalized score"
    np.testing.assert_allclose(scores.get_ylim(), [(limit + 20) / 2 for limit in ax.get_ylim()])
    assert not dataset_figure("a", [block()], None).axes[0].child_axes


def test_histograms_hold_every_action_once() -> None:
    one = block(dimensions=5)
    figure = dataset_figure("a", [one], None)
    panels = figure.axes[2:]
    assert [ax.get_title() for ax in panels] == [f"action {i}" for i in range(5)]
    for dimension, ax in enumerate(panels):
        shares, edges, _ = ax.patches[0].get_data()
        assert shares.sum() == pytest.approx(1.0)
        middle = (edges[:-1] + edges[1:]) / 2
        assert (shares * middle).sum() == pytest.approx(one.actions[:, dimension].mean(), abs=0.01)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.integers(1, 80))
def test_the_running_mean_is_the_mean_of_the_values_around(values: list[float], window: int) -> None:
    found = running_mean(np.array(values), window)
    expected = [np.mean(values[max(0, i - (window - 1) // 2) : i + window // 2 + 1]) for i in range(len(values))]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("width", ["column", "page", "slide"])
@pytest.mark.parametrize("case", ["one", "three", "many dimensions", "many episodes", "one episode", "long name"])
def test_nothing_overlaps_and_nothing_is_cut_off(case: str, width: str) -> None:
    blocks = {
        "one": [block()],
        "three": [
            block(name, seed=i, level=1000.0 * i) for i, name in enumerate(("random", "medium-replay", "expert"))
        ],
        "many dimensions": [block(dimensions=40)],
        "many episodes": [block(episodes=3000)],
        "one episode": [block(episodes=1)],
        "long name": [block()],
    }[case]
    title = "bundled/walker2d/medium-replay:1000000" * (3 if case == "long name" else 1)
    figure = drawn(dataset_figure(title, blocks, (0.0, 4592.3), width=width))
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    undrawn = {text for ax in figure.axes for text in ticks(ax, False)}
    undrawn |= {text for ax in figure.axes for child in ax.child_axes for text in ticks(child, False)}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text not in undrawn]
    boxes += [("axes", ax.get_window_extent(renderer)) for ax in figure.axes]
    assert_apart(figure, boxes)
    if case == "many dimensions":
        assert "the first 32 of 40" in figure.axes[0].get_title().replace("\n", " ")


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="expected one block or more"):
        dataset_figure("a", [], None)
    with pytest.raises(UsageError, match=r"same action dimensions, found \[2, 3\]"):
        dataset_figure("a", [block(), block(dimensions=2)], None)
    with pytest.raises(UsageError, match="unknown figure width"):
        dataset_figure("a", [block()], None, width="wide")


@pytest.mark.parametrize("count", [1, 2, 12])
def test_no_color_means_two_things(count: int) -> None:
    figure = dataset_figure("a", [block(f"block {i}", 30, seed=i) for i in range(count)], None)
    handles = figure.legends[0].legend_handles
    looks = {
        text.get_text(): (to_hex(handle.get_color()), handle.get_linestyle(), handle.get_marker())
        for text, handle in zip(figure.legends[0].get_texts(), handles, strict=True)
    }
    assert len({*looks.values()}) == len(looks) >= 4
    actions = {color for name, (color, *_) in looks.items() if name.startswith("actions of")}
    others = {color for name, (color, *_) in looks.items() if not name.startswith("actions of")}
    assert not actions & others
    assert len(others) == len(looks) - (count if count > 1 else 0)
    patches = figure.axes[2].patches
    drawn_colors = {to_hex(patch.get_facecolor() if patch.get_fill() else patch.get_edgecolor()) for patch in patches}
    assert not drawn_colors & others
    assert drawn_colors == (actions or {"#7f7f7f"})
