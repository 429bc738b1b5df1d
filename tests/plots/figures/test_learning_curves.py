from __future__ import annotations

import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from layouts import assert_nothing_overlaps, legend_labels, ticks
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pictures import same_picture

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import curves, interquartile_mean
from seqeval_rl.plots.figures.style import GREY, line_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tests.plots.conftest import Results


LOOK = line_styles(["td3_bc", "iql", "cql", "bc"])


def lines(ax: Axes, algorithm: str) -> list[Line2D]:
    """The algorithm's curve, in stretches; not the thin lines of failed runs."""
    look = LOOK[algorithm]
    return [line for line in ax.lines if line.get_color() == look.colour and line.get_marker() == look.marker]


def bands(ax: Axes) -> list[PolyCollection]:
    return [artist for artist in ax.collections if isinstance(artist, PolyCollection)]


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def test_a_curve_is_the_mean_over_three_seeds_with_its_range(quickstart: Results) -> None:
    figure = curves(quickstart.read())
    (ax,) = figure.axes
    runs = [run for run in quickstart.read() if run.algorithm == "iql"]
    values = np.array([run.curve()[1] for run in runs])
    (line,) = lines(ax, "iql")
    np.testing.assert_array_equal(line.get_xdata(), runs[0].curve()[0])
    np.testing.assert_allclose(line.get_ydata(), values.mean(0))
    assert line.get_alpha() == 1
    assert not line.get_clip_on()  # a marker on the last transition is whole
    # The interval of three seeds is nearly their range.
    band = next(band for band in bands(ax) if np.allclose(band.get_datalim(ax.transData).ymax, values.max()))
    vertices = band.get_paths()[0].vertices
    assert {vertices[:, 1].min(), vertices[:, 1].max()} == {values.min(), values.max()}
    assert len(bands(ax)) == 4
    assert legend_labels(figure) == ["TD3+BC", "IQL", "CQL", "BC", "dataset mean"]
    assert caption(figure) == (
        "Mean over 3 seeds, shaded: 95 % bootstrap interval over seeds. Vertical lines: block boundaries."
    )
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("transitions", "normalized score")


def test_five_seeds_are_summed_up_by_the_interquartile_mean_or_on_request_the_mean(results: Results) -> None:
    for seed in range(5):
        results.add("iql", seed)
    values = np.array([run.curve()[1] for run in results.read()])
    figure = curves(results.read())
    (line,) = lines(figure.axes[0], "iql")
    np.testing.assert_allclose(line.get_ydata(), interquartile_mean(values[:, None, :]))
    assert "Interquartile mean over 5 seeds" in caption(figure)
    figure = curves(results.read(), statistic="mean")
    np.testing.assert_allclose(lines(figure.axes[0], "iql")[0].get_ydata(), values.mean(0))
    assert caption(figure).startswith("Mean over 5 seeds")


def test_blocks_have_boundaries_names_and_their_logs_mean(quickstart: Results) -> None:
    (ax,) = curves(quickstart.read()).axes
    logs = [line for line in ax.lines if line.get_color() == GREY]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in logs] == [
        ([0, 10_000], [1.2, 1.2]), ([10_000, 20_000], [44.3, 44.3]), ([20_000, 30_000], [108.2, 108.2])
    ]  # fmt: skip
    assert all(line.get_linestyle() == "--" for line in logs)
    boundaries = [
        line.get_xdata() for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
    ]
    assert [list(x) for x in boundaries] == [[10_000, 10_000], [20_000, 20_000]]
    assert [text.get_text() for text in ax.texts] == ["random", "medium", "expert"]


def test_one_dataset_has_one_dashed_line_and_no_block_name(results: Results) -> None:
    results.add("iql", 0, dataset="bundled/hopper/medium", blocks=(("medium", 0, 1_000_000, 44.3),))
    figure = drawn(curves(results.read()))
    (ax,) = figure.axes
    (log,) = (line for line in ax.lines if line.get_color() == GREY)
    assert list(log.get_ydata()) == [44.3, 44.3]
    assert not ax.texts
    shown = [text.get_text() for text in ticks(ax, True) if text in ax.get_xticklabels()]
    assert shown == ["0", "200k", "400k", "600k", "800k", "1M"]
    assert "block" not in caption(figure)


def test_a_dataset_without_a_complete_episode_has_no_dashed_line(results: Results) -> None:
    results.add("iql", 0, blocks=(("medium", 0, 1_000, None),))
    figure = curves(results.read())
    assert legend_labels(figure) == ["IQL"]


def test_other_metrics_have_their_own_axis_and_no_dataset_mean(quickstart: Results) -> None:
    figure = curves(quickstart.read(), metric="return")
    assert figure.axes[0].get_ylabel() == "return"
    assert "dataset mean" not in legend_labels(figure)
    assert not [line for line in figure.axes[0].lines if line.get_color() == GREY]


def test_one_seed_has_no_interval_and_says_so(results: Results) -> None:
    results.add("iql", 0)
    figure = curves(results.read())
    assert not bands(figure.axes[0])
    assert "One seed per curve, so no interval." in caption(figure)
    results.add("td3_bc", 0)
    results.add("td3_bc", 1)
    figure = curves(results.read())
    assert len(bands(figure.axes[0])) == 1
    assert "Mean over 1 to 2 seeds" in caption(figure)
    assert "none where there is one seed" in caption(figure)


def test_where_a_run_is_missing_the_curve_is_faded_and_of_the_others(results: Results) -> None:
    for seed in range(3):
        results.add("iql", seed, upto=12 if seed == 1 else None, failed=seed == 1)
        results.add("td3_bc", seed, upto=20 if seed == 1 else None)
    figure = curves(results.read())
    (ax,) = figure.axes
    values = np.array([run.curve()[1] for run in results.read() if run.algorithm == "iql" and run.seed != 1])
    whole, rest = lines(ax, "iql")
    assert (len(whole.get_xdata()), whole.get_alpha()) == (12, 1)
    # It goes on from where the third run ended, as the mean of two.
    assert rest.get_alpha() < 0.5
    assert rest.get_xdata()[0] == whole.get_xdata()[-1]
    np.testing.assert_allclose(rest.get_ydata(), values.mean(0)[11:])
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [whole.get_xdata()[-1]]
    assert "run failed" in legend_labels(figure)
    assert "Mean over 2 to 3 seeds" in caption(figure)
    assert "Faded: not every run has got that far" in caption(figure)
    assert "Failed runs: IQL 1 of 3. Unfinished runs: TD3+BC 1 of 3." in caption(figure)


def test_an_algorithm_of_which_no_run_has_finished_is_faded(results: Results) -> None:
    for seed in range(3):
        results.add("iql", seed, upto=9)
    figure = curves(results.read())
    (line,) = lines(figure.axes[0], "iql")
    assert line.get_alpha() < 0.5
    assert "Unfinished runs: IQL 3 of 3." in caption(figure)
    # The axis shows how much is to come.
    assert figure.axes[0].get_xlim()[1] >= 30_000


def test_runs_evaluated_at_other_places_meet_on_the_lines_between(results: Results) -> None:
    results.add("iql", 0, transitions=[1_000, 2_000, 30_000], scores=[0.0, 10.0, 10.0])
    results.add("iql", 1, transitions=[1_000, 3_000, 30_000], scores=[0.0, 20.0, 20.0])
    (line,) = lines(curves(results.read()).axes[0], "iql")
    np.testing.assert_array_equal(line.get_xdata(), [1_000, 2_000, 3_000, 30_000])
    np.testing.assert_allclose(line.get_ydata(), [0, 10, 15, 15])


def test_a_score_that_is_no_number_is_left_out_and_counted(results: Results) -> None:
    scores = [float(i) for i in range(31)]
    results.add("iql", 0, scores=scores)
    results.add("iql", 1, scores=[*scores[:10], float("nan"), *scores[11:]])
    figure = curves(results.read())
    assert [len(line.get_xdata()) for line in lines(figure.axes[0], "iql")] == [10, 3, 20]
    assert all(np.isfinite(line.get_ydata()).all() for line in lines(figure.axes[0], "iql"))
    assert "Left out: 1 evaluation whose score is not a finite number." in caption(figure)


def test_future_data_is_named_in_the_legend(results: Results) -> None:
    results.add("iql", 0, uses_future_data=True)
    assert legend_labels(curves(results.read()))[0] == "IQL (uses future data)"


@pytest.mark.parametrize("width", ["page", "column"])
def test_tasks_and_levels_make_a_grid(results: Results, width: str) -> None:
    tasks, levels = ("hopper", "walker2d"), ("random", "replay", "medium", "expert")
    for task, level in itertools.product(tasks, levels):
        dataset = f"bundled/{task}/{level}"
        results.add("iql", 0, dataset=dataset, task=task, blocks=((level, 0, 1_000_000, 50.0),), points=5)
    figure = curves(results.read(), width=width)
    titles = [ax.get_title().replace("\n", "") for ax in figure.axes]
    assert titles == [f"bundled/{task}/{level}" for task in tasks for level in levels]
    columns = 4 if width == "page" else 2
    assert figure.axes[0].get_gridspec().ncols == columns
    # Tasks × levels: everything is said once, at the left and below.
    assert [bool(ax.get_ylabel()) for ax in figure.axes] == [place % columns == 0 for place in range(8)]
    assert sum(ax.get_xlabel() == "transitions" for ax in figure.axes) == columns


def many(results: Results, case: str) -> None:
    long = "a_very_long_algorithm_name_of_somebody_else_with_$dollars$_<b>_100%_" + "x" * 12
    if case == "quickstart":
        for algorithm, seed in itertools.product(("td3_bc", "iql", "cql", "bc"), range(3)):
            results.add(algorithm, seed)
    elif case == "eight algorithms":
        for algorithm in ("td3_bc", "iql", "cql", "bc", "awac", "mine", "yours", "theirs"):
            results.add(algorithm, 0, failed=algorithm == "mine", upto=9 if algorithm == "mine" else None)
    elif case == "forty algorithms":
        for number in range(40):
            results.add(f"algorithm {number}", 0)
    elif case == "long names":
        blocks = (("a-long-block-name", 0, 2_000, 5.0), ("medium-replay-mixed", 2_000, 30_000, 50.0))
        for algorithm, dataset in itertools.product((long, "_private", "iql"), ("short", "some/" + "long-name-" * 9)):
            results.add(algorithm, 0, dataset=dataset, blocks=blocks)
    elif case == "twelve blocks":
        names = itertools.cycle(("random", "medium-replay", "medium", "expert"))
        blocks = tuple((next(names), i * 2_500, (i + 1) * 2_500, 10.0 * i) for i in range(12))
        results.add("iql", 0, blocks=blocks)
    elif case == "a hundred blocks":
        blocks = tuple((f"block {i}", i * 300, (i + 1) * 300, 10.0) for i in range(100))
        results.add("iql", 0, blocks=blocks)
    elif case == "online":
        for algorithm, online in itertools.product(("td3_bc", "iql"), (300, 10_000)):
            results.add(algorithm, 0, dataset=f"hopper {online}", protocol={"online": online})
        results.add("td3_bc", 0, dataset="d4rl:walker2d-medium-v2", blocks=(), protocol={"online": 10_000})
    elif case == "static controls":
        for algorithm, static in itertools.product(("td3_bc", "iql", "cql", "bc"), (False, True)):
            results.add(algorithm, 0, protocol={"static": static})
    elif case == "published":
        for algorithm, level in itertools.product(("td3_bc", "iql", "cql", "awac", "bc"), ("medium", "random")):
            name = f"d4rl:hopper-{level}-v2"
            results.add(algorithm, 0, dataset=name, task="d4rl/hopper", blocks=((level, 0, 999_998, 44.3, name),))
    elif case == "five datasets":
        for number in range(5):
            results.add("iql", 0, dataset=f"bundled/halfcheetah/medium-{number}", task="halfcheetah")


CASES = [
    "quickstart",
    "eight algorithms",
    "forty algorithms",
    "long names",
    "twelve blocks",
    "a hundred blocks",
    "five datasets",
    "online",
    "static controls",
    "published",
]


@pytest.mark.parametrize("width", ["column", "page", "slide"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_overlaps_and_nothing_is_cut_off(results: Results, case: str, width: str) -> None:
    many(results, case)
    figure = drawn(curves(results.read(), width=width, paper_curves=case == "published"))
    assert_nothing_overlaps(figure)


def test_names_are_drawn_as_they_are(results: Results) -> None:
    for algorithm in ("_private", "$x^2$", r"\frac", "a & b <c> 100 %"):
        results.add(algorithm, 0)
    figure = drawn(curves(results.read()))
    assert sorted(legend_labels(figure)[:-1]) == sorted(["_private", "$x^2$", r"\frac", "a & b <c> 100 %"])
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())


def test_the_figure_is_as_wide_as_asked_and_can_go_without_caption(quickstart: Results) -> None:
    runs = quickstart.read()
    assert [curves(runs, width=width).get_figwidth() for width in ("column", "page", "slide", 5)] == [3.25, 6.75, 10, 5]
    bare = curves(runs, caption=False)
    assert bare.get_supxlabel() == ""
    assert bare.get_figheight() < curves(runs).get_figheight()


def test_what_cannot_be_drawn_is_refused(results: Results, quickstart: Results) -> None:
    runs = quickstart.read()
    with pytest.raises(UsageError, match=r"unknown metric 'scores'.*did you mean score"):
        curves(runs, metric="scores")
    with pytest.raises(UsageError, match="unknown figure width 'wide'"):
        curves(runs, width="wide")
    with pytest.raises(UsageError, match="expected 1 to 100 inches"):
        curves(runs, width=0.1)
    with pytest.raises(UsageError, match="unknown statistic 'median'"):
        curves(runs, statistic="median")  # type: ignore[arg-type]


def test_results_without_any_evaluation_are_refused(results: Results) -> None:
    results.add("iql", 0, upto=0)
    with pytest.raises(UsageError, match=r"expected evaluations, found none in 1 run\."):
        curves(results.read())


def test_a_run_without_evaluation_yet_is_counted(results: Results) -> None:
    results.add("iql", 0)
    results.add("iql", 1, upto=0)
    figure = curves(results.read())
    assert [line.get_alpha() < 0.5 for line in lines(figure.axes[0], "iql")] == [True]
    assert "Unfinished runs: IQL 1 of 2." in caption(figure)


def test_plots_import_neither_torch_nor_a_window_system() -> None:
    code = (
        "import sys, seqeval_rl.plots, seqeval_rl.results.read; "
        "bad = {'torch', 'gymnasium', 'matplotlib.pyplot'} & set(sys.modules); sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_seeds_are_shown_on_request_each_as_it_was_measured(quickstart: Results) -> None:
    quickstart.add("iql", 3, upto=12, failed=True)
    runs = quickstart.read()
    hairlines = [line for line in curves(runs, seeds_shown=True).axes[0].lines if line.get_linewidth() == 0.5]
    whole = [run.curve() for run in runs if run.status != "failed"]
    assert len(hairlines) == len(whole) == 12
    found = sorted(tuple(line.get_ydata()) for line in hairlines)
    assert found == sorted(tuple(values) for _, values in whole)
    assert "Hairlines: single seeds." in caption(curves(runs, seeds_shown=True))
    assert "Hairlines" not in caption(curves(runs))
    same_picture(curves(runs, seeds_shown=True, width="column"), "seeds-shown")
