from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from layouts import assert_nothing_overlaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import (
    FIGURES,
    aggregate_intervals,
    improvement,
    improvement_table,
    interquartile_mean,
    performance_profile,
    profile,
    scores_across,
)
from seqeval_rl.plots.figures.style import line_styles

if TYPE_CHECKING:
    from tests.plots.conftest import Results


FIVE = ("td3_bc", "iql", "cql", "awac", "bc")
EIGHT = (*FIVE, "sac", "filtered_bc", "an_algorithm_with_a_long_name")
TASKS = ("hopper medium", "walker2d medium", "hopper expert")


def suite(results: Results, algorithms: tuple[str, ...] = FIVE, seeds: int = 3) -> Results:
    for task in TASKS:
        for algorithm in algorithms:
            for seed in range(seeds):
                results.add(algorithm, seed, dataset=task, points=4)
    return results


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def test_a_profile_is_the_share_of_runs_above_each_score(results: Results) -> None:
    read = suite(results).read()
    figure = profile(read)
    (ax,) = figure.axes
    looks = line_styles(FIVE)
    for entry in scores_across(read).entries:
        (line,) = (line for line in ax.lines if line.get_color() == looks[entry.style].colour)
        thresholds = np.asarray(line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), performance_profile(entry.scores, thresholds))
        assert (line.get_ydata()[0], thresholds[0]) == (1, 0)
    assert len(ax.collections) == 5
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["TD3+BC", "IQL", "CQL", "AWAC", "BC"]
    assert caption(figure) == (
        "Scores at 100 % of the data. Over 3 datasets. Shaded: 95 % stratified bootstrap interval."
    )


def test_aggregates_are_drawn_at_their_values_with_their_intervals(results: Results) -> None:
    read = suite(results).read()
    figure = aggregate_intervals(read)
    assert [ax.get_title() for ax in figure.axes] == ["IQM →", "median →", "mean →", "optimality gap ←"]
    ax = figure.axes[0]
    for place, entry in enumerate(scores_across(read).entries):
        value = interquartile_mean(entry.scores[:, :, None])[0]
        (line,) = (line for line in ax.lines if line.get_marker() != "None" and line.get_ydata()[0] == place)
        assert line.get_xdata()[0] == pytest.approx(value)
        bar = ax.patches[place]
        assert bar.get_x() < value < bar.get_x() + bar.get_width()
        assert to_rgb(bar.get_facecolor()) == to_rgb(line.get_color())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["TD3+BC", "IQL", "CQL", "AWAC", "BC"]


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("kind", ["profile", "aggregates", "improvement", "rank"])
def test_with_an_online_phase_labels_and_captions_say_at_which_end(results: Results, kind: str, width: str) -> None:
    for algorithm in FIVE:
        for seed in range(2):
            results.add(
                algorithm,
                seed,
                dataset="hopper medium",
                blocks=(("medium", 0, 20_000, 44.3),),
                protocol={"online": 10_000},
            )
    for phase, end in (("offline", "at the end of the offline part"), ("online", "at the end of the online phase")):
        figure = FIGURES[kind](results.read(), phase=phase, width=width)
        assert end in caption(figure)
        assert "100 %" not in caption(figure)
        assert all(end in " ".join(ax.get_xlabel().split()) for ax in figure.axes if ax.get_xlabel())
        assert any(ax.get_xlabel() for ax in figure.axes)
        FigureCanvasAgg(figure).draw()
        if kind != "improvement":  # whose numbers are inside the axes
            assert_nothing_overlaps(figure)


def test_the_matrix_holds_the_tables_numbers(results: Results) -> None:
    read = suite(results, ("td3_bc", "iql", "bc")).read()
    (ax,) = improvement(read).axes
    found = {text.get_position(): text for text in ax.texts}
    rows = improvement_table(read).rows
    assert len(found) == 6
    for down, row in enumerate(rows):
        for right, cell in enumerate(row.cells):
            if down != right:
                text = found[right, down]
                assert text.get_text() == f"{cell.value:.2f}\n{cell.low:.2f}–{cell.high:.2f}"
                assert (text.get_color() == "black") == (not cell.low <= 0.5 <= cell.high)


def test_one_seed_has_no_interval_and_says_so(results: Results) -> None:
    read = suite(results, ("td3_bc", "iql"), seeds=1).read()
    for draw in (profile, aggregate_intervals):
        assert "one run, so no interval" in caption(draw(read))
    assert not profile(read).axes[0].collections
    assert not aggregate_intervals(read).axes[0].patches
    texts = [text.get_text() for text in improvement(read).axes[0].texts]
    assert len(texts) == 2
    assert all("–" not in text for text in texts)


@pytest.mark.parametrize("width", [3.25, 6.75])
@pytest.mark.parametrize("algorithms", [FIVE, EIGHT], ids=["five", "eight"])
@pytest.mark.parametrize("kind", ["profile", "aggregates", "improvement"])
def test_nothing_overlaps_and_nothing_is_cut_off(
    results: Results, kind: str, algorithms: tuple[str, ...], width: float
) -> None:
    figure = FIGURES[kind](suite(results, algorithms).read(), width=width)  # type: ignore[call-arg]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert figure.get_size_inches()[0] == width
    renderer = canvas.get_renderer()
    texts = [text for ax in figure.axes for text in (*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label)]
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]  # others are not drawn
            texts += [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible()]
    texts += [text for item in figure.legends for text in item.get_texts()] + [figure._supxlabel]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    inside = Bbox.from_extents(-1, -1, figure.bbox.x1 + 1, figure.bbox.y1 + 1)
    shown = [(text, box) for text, box in boxes if box.width]
    for place, (text, box) in enumerate(shown):
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1, text
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1, text
        for other, second in shown[place + 1 :]:
            shared = Bbox.intersection(box, second)
            assert shared is None or min(shared.width, shared.height) < 1, (text, other)
    for ax in figure.axes if kind == "improvement" else ():
        side = ax.get_window_extent(renderer).width / len(algorithms)
        assert all(text.get_window_extent(renderer).width <= side for text in ax.texts)


@pytest.mark.parametrize("width", [3.25, 6.75])
def test_variants_have_different_names(results: Results, width: float) -> None:
    for task in TASKS[:2]:
        for alpha in (1.0, 2.5):
            for seed in range(2):
                results.add(
                    "td3_bc",
                    seed,
                    dataset=task,
                    points=3,
                    config={"alpha": alpha, "critic_learning_rate": 1e-3 * alpha},
                )
    read = results.read()
    names = ["TD3+BC (alpha=1, critic_learning_rate=0.001)", "TD3+BC (alpha=2.5, critic_learning_rate=0.0025)"]
    for draw in (aggregate_intervals, improvement):
        (ax, *_) = draw(read, width=width).axes
        for labels in (ax.get_yticklabels(), ax.get_xticklabels() if draw is improvement else ax.get_yticklabels()):
            shown = ["".join(text.get_text().split()) for text in labels]
            assert [text.partition(",")[0] for text in shown] == ["TD3+BC(alpha=1", "TD3+BC(alpha=2.5"]
            assert width < 5 or shown == ["".join(name.split()) for name in names]


def test_what_cannot_be_drawn_is_refused(results: Results) -> None:
    for place in range(30):
        results.add(f"algorithm_{place}", 0, points=2)
    with pytest.raises(UsageError, match=r"30 algorithms, found 3\.25 inches"):
        improvement(results.read(), width="column")
    results = type(results)(results.root / "other")
    results.add("iql", 0)
    with pytest.raises(UsageError, match="at least two algorithms"):
        improvement(results.read())
    for kind in ("profile", "aggregates", "improvement"):
        with pytest.raises(UsageError, match="unknown figure width 'columm'"):
            FIGURES[kind](results.read(), width="columm")  # type: ignore[call-arg]
