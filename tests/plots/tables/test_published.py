"""The published curves: the file, the paper's figures drawn from it, and comparisons with our results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from layouts import assert_nothing_overlaps, vertical_lines
from matplotlib.backends.backend_agg import FigureCanvasAgg

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import CITATION, curves, paper_figure, published, published_results, published_table
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.published import BIN, EXPERIMENTS, ONLINE, counterpart, placed
from seqeval_rl.plots.figures.style import GREY, line_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from tests.plots.conftest import Results


TASKS = ("halfcheetah", "hopper", "walker2d")
LEVELS = ("random", "medium-replay", "medium", "medium-expert")
ALGORITHMS = ("td3_bc", "iql", "cql", "awac", "bc")


def log(name: str = "d4rl:hopper-medium-v2", size: int = 999_998) -> dict:
    return {"dataset": name, "task": "d4rl/hopper", "blocks": (("medium", 0, size, 44.28, name),)}


def mixed(levels: tuple[str, ...] = ("random", "medium", "expert"), each: int = 333_000) -> dict:
    blocks = tuple(
        (level, place * each, (place + 1) * each, 1.0, f"d4rl:hopper-{level}-v2:333000")
        for place, level in enumerate(levels)
    )
    return {"dataset": "hopper mixed", "task": "d4rl/hopper", "blocks": blocks}


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def ends(ax: Axes) -> dict[str, Line2D]:
    """The last segment of each algorithm's curve."""
    looks = {(look.colour, look.marker): name for name, look in line_styles(ALGORITHMS).items()}
    found: dict[str, Line2D] = {}
    for line in ax.lines:
        name = looks.get((line.get_color(), line.get_marker()))
        if name and (name not in found or line.get_xdata()[-1] > found[name].get_xdata()[-1]):
            found[name] = line
    return found


def thin(ax: Axes) -> list[Line2D]:
    """Published curves drawn with ours."""
    return [line for line in ax.lines if line.get_linewidth() == 0.9 and line.get_color() != GREY]


def test_the_file_has_618_runs_in_three_experiments() -> None:
    all_curves = [curve for curves_of in published().values() for curve in curves_of.values()]
    assert sum(len(curve.seeds) for curve in all_curves) == 618
    assert sum(int(np.isfinite(curve.scores).sum()) for curve in all_curves) == 15_464
    assert {experiment for experiment, _ in published()} == set(EXPERIMENTS)
    assert all(set(of) == set(ALGORITHMS) for of in published().values())
    # The 0 at the start of every curve is not an evaluation.
    assert all((curve.scores[:, 0] == 0).all() for curve in all_curves)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_datasets_are_as_long_as_the_longest_published_runs(experiment: str) -> None:
    for panel in collect(published_results(experiment)):  # type: ignore[arg-type]
        longest = max(curve.transitions[-1] for curve in published()[experiment, panel.dataset].values())
        assert longest == panel.extent // BIN * BIN
        if experiment == "finetune":
            # The dataset ends in the same bin as that of `offline`, and 500 000 online transitions come after it.
            offline = max(curve.transitions[-1] for curve in published()["offline", panel.dataset].values())
            assert (panel.online, panel.transitions // BIN * BIN) == (ONLINE, offline)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_papers_figures_have_its_panels_boundaries_and_final_values(experiment: str) -> None:
    figure = paper_figure(experiment)  # type: ignore[arg-type]
    titles = [ax.get_title().replace("\n", "") for ax in figure.axes]
    if experiment == "mixed":
        assert titles == [f"{task}-mixed-v2" for task in TASKS]
    else:
        assert titles == [f"{task}-{level}-v2" for task in TASKS for level in LEVELS]
        assert figure.axes[0].get_gridspec().get_geometry() == (3, 4)
    sizes = {panel.dataset: panel.transitions for panel in collect(published_results(experiment))}  # type: ignore[arg-type]
    for title, ax in zip(titles, figure.axes, strict=True):
        boundaries = {"offline": [], "finetune": [sizes[title]], "mixed": [333_000, 666_000]}[experiment]
        assert vertical_lines(ax) == boundaries
        drawn = ends(ax)
        assert set(drawn) == set(ALGORITHMS)
        for algorithm, line in drawn.items():
            curve = published()[experiment, title][algorithm]
            last = curve.scores[:, -1]
            assert line.get_xdata()[-1] == curve.transitions[-1]
            assert line.get_ydata()[-1] == pytest.approx(np.mean(last[np.isfinite(last)]))
    text = caption(figure)
    assert text.startswith(f"Published results of {CITATION}")
    assert all(label.get_text().endswith("(uses future data)") for label in figure.legends[0].get_texts()[:-1])


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_papers_figures_can_be_read(experiment: str, width: str) -> None:
    figure = paper_figure(experiment, width=width)  # type: ignore[arg-type]
    FigureCanvasAgg(figure).draw()
    assert_nothing_overlaps(figure)


def test_some_final_values_of_the_file() -> None:
    offline, mixed_curves = published()["offline", "hopper-medium-replay-v2"], published()["mixed", "hopper-mixed-v2"]
    cql = offline["cql"]
    assert (cql.transitions[-1], cql.seeds[:2]) == (400_000, (1, 2))
    assert cql.scores[:2, -1].tolist() == [97.8391, 94.6934]
    assert offline["td3_bc"].transitions[-1] == 350_000
    assert mixed_curves["iql"].scores[0, -2:].tolist() == [34.2485, 35.3254]


def test_unknown_figures_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown published experiment 'online'.*finetune"):
        paper_figure("online")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "online", "found"),
    [
        (log(), 0, ("offline", "hopper-medium-v2")),
        (log(size=1_000_000), 0, ("offline", "hopper-medium-v2")),  # read natively
        (log(), 500_000, ("finetune", "hopper-medium-v2")),
        (mixed(), 0, ("mixed", "hopper-mixed-v2")),
        (mixed(), 500_000, None),
        (mixed(("expert", "medium", "random")), 0, None),
        (mixed(each=1_000), 0, None),
        (log("d4rl:hopper-medium-v2:100000", 100_000), 0, None),
        (log("made:d4rl/hopper-medium-v2:600", 600), 0, None),
        (log("made:d4rl/hopper-medium-v2:999998"), 0, None),
        (log("bundled/hopper/medium"), 0, None),
        (log("minari:mujoco/hopper/medium-v0"), 0, None),
        (log("d4rl:hopper-expert-v2"), 0, None),
        (log("d4rl:antmaze-umaze-v2"), 0, None),
        ({"blocks": ()}, 500_000, None),
    ],
)
def test_only_the_same_data_are_counterparts(results: Results, made: dict, online: int, found: tuple | None) -> None:
    results.add("iql", 0, points=3, protocol={"online": online}, **made)
    (panel,) = collect(results.read())
    assert counterpart(panel, online > 0) == found


def test_published_curves_are_drawn_behind_ours_and_named(results: Results) -> None:
    for algorithm in ("iql", "bc", "mine"):
        results.add(algorithm, 0, points=20, **log())
        results.add(algorithm, 0, points=20, dataset="bundled/hopper/medium", blocks=(("medium", 0, 10_000, 40.0),))
    assert not thin(curves(results.read()).axes[1])
    figure = curves(results.read(), paper_curves=True)
    panels = {ax.get_title().replace("\n", ""): ax for ax in figure.axes if ax.axison}
    assert not thin(panels["bundled/hopper/medium"])
    iql, bc = sorted(thin(panels["d4rl:hopper-medium-v2"]), key=lambda line: line.get_color(), reverse=True)
    for line, name in ((iql, "iql"), (bc, "bc")):
        curve = published()["offline", "hopper-medium-v2"][name]
        # Evaluations after 5 000, 10 000, ..., 50 000 gradient steps had seen 5 000 transitions more.
        assert line.get_xdata()[:2].tolist() == [32_500, 82_500]
        np.testing.assert_allclose(line.get_xdata(), curve.transitions[1:] - 17_500)
        np.testing.assert_allclose(line.get_ydata(), np.nanmean(curve.scores[:, 1:], axis=0))
        assert line.get_color() == line_styles([name])[name].colour
        assert line.get_zorder() < ends(panels["d4rl:hopper-medium-v2"])[name].get_zorder()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["IQL", "BC", "mine", "dataset mean", "IQL, published", "BC, published"]
    assert f"({CITATION}), results of others. Not published: mine, bundled/hopper/medium." in caption(figure)


def test_a_short_online_phase_truncates_the_published_curve(results: Results) -> None:
    results.add("iql", 0, points=20, protocol={"online": 20_000}, **log())
    (line,) = thin(curves(results.read(), paper_curves=True).axes[0])
    curve = published()["finetune", "hopper-medium-v2"]["iql"]
    # The bin up to 1 000 000: nine evaluations of the dataset, and one after two transitions online.
    assert (
        line.get_xdata()[-1] == np.mean([*range(960_000, 1_000_000, 5_000), 999_998, 1_000_000]) < curve.transitions[-1]
    )


def test_in_the_online_phase_published_curves_have_seen_as_many_transitions_as_gradient_steps() -> None:
    curve = published()["finetune", "halfcheetah-medium-replay-v2"]["iql"]
    of_dataset, last_of_dataset, first_online, online = placed(curve, 201_798).transitions[[2, 3, 4, 5]]
    assert of_dataset == np.mean(range(110_000, 160_000, 5_000))
    assert last_of_dataset == np.mean([*range(160_000, 205_000, 5_000)[:-1], 200_000, 201_798])
    assert (first_online, online) == (np.mean(range(205_000, 255_000, 5_000)), np.mean(range(255_000, 305_000, 5_000)))


def test_results_without_a_counterpart_say_so(results: Results) -> None:
    results.add("iql", 0)
    assert "None of these datasets has a published curve." in caption(curves(results.read(), paper_curves=True))
    with pytest.raises(UsageError, match=r"full D4RL v2 datasets .* found IQL on hopper random, medium, expert"):
        published_table(results.read())
    for name in ("a", "b", "c", "d"):
        results.add("iql", 0, dataset=name)
    with pytest.raises(UsageError, match=r"found IQL on a, IQL on b, IQL on c and 2 more\."):
        published_table(results.read())


def test_differences_are_ours_minus_published(results: Results) -> None:
    places = [5_000, 250_000, 500_000, 750_000, 999_998]
    for seed in range(3):
        results.add("iql", seed, transitions=places, scores=[0.0, 10.0, 20.0, 30.0, 40.0 + seed], **log())
    results.add("iql", 0, transitions=places, scores=[1.0] * 5, protocol={"static": True}, **log())
    results.add("mine", 0, transitions=places, scores=[1.0] * 5, **log())
    table = published_table(results.read())
    assert table.quantities == ("25 %", "50 %", "75 %", "100 %")
    (row,) = table.rows
    assert (row.algorithm, row.finished, row.dataset_mean) == ("IQL", 3, 44.28)
    theirs = published()["offline", "hopper-medium-v2"]["iql"].scores
    # 25 % of 999 998 is 249 999.5: ours at 250 000, theirs the evaluations up to 250 000 gradient steps.
    means = [theirs[:, place // BIN].mean() for place in (250_000, 500_000, 750_000, 950_000)]
    assert [cell.value for cell in row.cells] == pytest.approx(np.array([10, 20, 30, 41]) - means)
    assert all(cell.low < cell.value < cell.high and cell.runs == 3 for cell in row.cells)
    assert "Without a published counterpart: IQL (static) on d4rl:hopper-medium-v2, mine on" in table.caption
    assert CITATION in table.caption
    assert "**" not in table.markdown()
    with pytest.raises(UsageError, match=r"found 1\.5"):
        published_table(results.read(), shares=[1.5])


@pytest.mark.parametrize(
    ("transitions", "bin"),
    [(5_000, None), (5_001, 1), (55_000, 1), (55_001, 2), (250_000, 5), (401_597, 8), (401_598, 8), (450_000, 9)],
)
def test_a_bin_holds_the_evaluations_of_the_gradient_steps_up_to_it(transitions: int, bin: int | None) -> None:
    """5 000 transitions more are visible than gradient steps have been taken, until all are."""
    curve = published()["finetune", "hopper-medium-replay-v2"]["iql"]
    expected = np.full(3, np.nan) if bin is None else curve.scores[:, bin]
    np.testing.assert_array_equal(curve.at(transitions, 401_598), expected)


def test_there_is_no_difference_where_no_published_run_ends(results: Results) -> None:
    results.add(
        "td3_bc", 0, transitions=[100_000, 200_000, 300_000, 401_598], **log("d4rl:hopper-medium-replay-v2", 401_598)
    )
    (row,) = published_table(results.read()).rows
    assert np.isfinite([cell.value for cell in row.cells]).tolist() == [True, True, True, False]
    # One seed of ours has no interval.
    assert np.isnan([cell.low for cell in row.cells]).all()


def test_the_end_of_the_online_phase_is_compared_where_there_is_one(results: Results) -> None:
    results.add(
        "iql",
        0,
        transitions=[5_000, 999_998, 1_499_998],
        scores=[0.0, 50.0, 80.0],
        **log(),
        protocol={"online": ONLINE},
    )
    results.add("bc", 0, transitions=[5_000, 999_998], scores=[0.0, 50.0], **log())
    table = published_table(results.read())
    iql, bc = table.rows
    assert table.quantities[-1] == "end of online"
    theirs = published()["finetune", "hopper-medium-v2"]["iql"].scores
    assert [cell.value for cell in iql.cells[-2:]] == pytest.approx(
        [50 - theirs[:, 19].mean(), 80 - theirs[:, 29].mean()]
    )
    assert np.isnan(bc.cells[-1].value)
    assert bc.cells[-2].value == pytest.approx(
        50 - published()["offline", "hopper-medium-v2"]["bc"].scores[:, 19].mean()
    )
