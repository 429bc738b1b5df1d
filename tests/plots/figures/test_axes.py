"""Curves over the share of the dataset, gradient steps and wall time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from layouts import assert_nothing_overlaps
from matplotlib.backends.backend_agg import FigureCanvasAgg

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import curves
from seqeval_rl.plots.figures.style import GREY, LIGHT_GREY, line_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tests.plots.conftest import Results


LOG = (("medium", 0, 10_000, 44.3),)


def curve(ax: Axes, algorithm: str):
    look = line_styles([algorithm])[algorithm]
    return [line for line in ax.lines if line.get_color() == look.colour and line.get_marker() == look.marker]


def upright(ax: Axes, colour: str) -> list[float]:
    found = [line for line in ax.lines if line.get_color() == colour and len(set(line.get_xdata())) == 1]
    return [line.get_xdata()[0] for line in found]


def test_over_the_share_of_the_dataset_all_places_are_shares(results: Results) -> None:
    for seed in range(2):
        results.add("iql", seed)
    (ax,) = curves(results.read(), x="share").axes
    (line,) = curve(ax, "iql")
    np.testing.assert_allclose(line.get_xdata(), results.read()[0].curve()[0] / 300)
    np.testing.assert_allclose(upright(ax, LIGHT_GREY), [100 / 3, 200 / 3])
    assert ax.get_xlabel() == "share of the dataset (%)"
    assert 100 < ax.get_xlim()[1] < 103


def test_the_share_of_the_online_phase_is_above_100_percent_and_in_the_caption(results: Results) -> None:
    results.add("iql", blocks=LOG, protocol={"online": 5_000})
    figure = curves(results.read(), x="share")
    (ax,) = figure.axes
    assert curve(ax, "iql")[0].get_xdata()[-1] == pytest.approx(150)
    assert upright(ax, GREY) == [100]
    assert "Past 100 %: the online phase." in figure.get_supxlabel().replace("\n", " ")


def test_over_gradient_steps_each_run_is_at_its_own(results: Results) -> None:
    steps = [0, 100, 900]
    results.add("iql", transitions=[1_000, 15_000, 30_000], scores=[1.0, 2.0, 3.0], gradient_steps=steps)
    results.add("bc", transitions=[1_000, 15_000, 30_000], scores=[1.0, 2.0, 3.0], gradient_steps=[0, 50, 400])
    figure = curves(results.read(), x="gradient_steps")
    (ax,) = figure.axes
    assert curve(ax, "iql")[0].get_xdata().tolist() == steps
    assert curve(ax, "bc")[0].get_xdata().tolist() == [0, 50, 400]
    # Three blocks, which every run meets at a place of its own.
    assert upright(ax, LIGHT_GREY) == []
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["IQL", "BC"]
    assert "Boundaries are not drawn" in figure.get_supxlabel().replace("\n", " ")


def test_wall_time_is_cumulative_and_the_mean_of_a_single_dataset_spans_the_axis(results: Results) -> None:
    results.add("iql", blocks=LOG, transitions=[1_000, 5_000, 10_000], scores=[1.0, 2.0, 3.0], seconds=2.5)
    figure = curves(results.read(), x="wall_time")
    (ax,) = figure.axes
    assert curve(ax, "iql")[0].get_xdata().tolist() == [2.5, 5.0, 7.5]
    (mean,) = [line for line in ax.lines if line.get_color() == GREY]
    assert list(mean.get_ydata()) == [44.3, 44.3]
    assert mean.get_xdata()[1] == pytest.approx(ax.get_xlim()[1])


def test_runs_of_unequal_wall_time_fade_where_fewer_have_a_value(results: Results) -> None:
    for seed in range(2):
        results.add("iql", seed, blocks=LOG, points=5, seconds=2.0 + seed)
    figure = curves(results.read(), x="wall_time")
    strengths = [line.get_alpha() for line in curve(figure.axes[0], "iql")]
    assert strengths[0] < 1  # the slower one starts later
    assert 1 in strengths
    assert strengths[-1] < 1
    assert "Faded" in figure.get_supxlabel()


@pytest.mark.parametrize("x", ["share", "gradient_steps", "wall_time"])
def test_nothing_overlaps_in_a_column(results: Results, x: str) -> None:
    for algorithm in ("iql", "bc"):
        results.add(algorithm, seconds=1_000.0, protocol={"online": 5_000})
    figure = curves(results.read(), x=x, width="column")
    FigureCanvasAgg(figure).draw()
    assert_nothing_overlaps(figure)


def test_what_cannot_be_drawn_is_said(results: Results) -> None:
    results.add("iql")
    with pytest.raises(UsageError, match=r"place on the x-axis wall_time, found none that were timed"):
        curves(results.read(), x="wall_time")
    with pytest.raises(UsageError, match=r"x-axis 'stare'.*did you mean share"):
        curves(results.read(), x="stare")
    with pytest.raises(UsageError, match="published curves: expected the x-axis transitions, found share"):
        curves(results.read(), x="share", paper_curves=True)
