"""Figures of online phases, static controls, runs that use future data, other protocols, and runs that were never played."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from layouts import legend_labels, vertical_lines

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import curves, scores_across, without_scores
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.naming import control, legend_order
from seqeval_rl.plots.figures.style import GREY, line_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tests.plots.conftest import Results


LOG = (("medium", 0, 20_000, 45.0),)


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def names(results: Results) -> list[list[str]]:
    return [[group.label for group in panel.groups] for panel in collect(results.read())]


def test_the_axis_ends_with_the_online_phase_and_shows_the_switch(results: Results) -> None:
    for seed in range(3):
        results.add("iql", seed, blocks=LOG, protocol={"online": 10_000}, points=7)
    figure = curves(results.read())
    (ax,) = figure.axes
    assert 30_000 <= ax.get_xlim()[1] < 31_000
    assert vertical_lines(ax) == [20_000]
    assert [text.get_text() for text in ax.texts] == ["offline", "online"]
    # Over its stretch: the switch is at two thirds.
    assert [text.xy[0] for text in ax.texts] == pytest.approx([1 / 3, 5 / 6], abs=0.02)
    (log,) = (line for line in ax.lines if line.get_color() == GREY and line.get_linestyle() == "--")
    assert list(log.get_xdata()) == [0, 20_000]
    (curve,) = (line for line in ax.lines if line.get_marker() == "s")
    assert curve.get_xdata()[-1] == 30_000
    assert "Vertical line: the switch from the dataset to online interaction." in caption(figure)


def test_the_online_phase_follows_the_last_block(results: Results) -> None:
    results.add("iql", 0, protocol={"online": 10_000})
    figure = curves(results.read())
    assert [text.get_text() for text in figure.axes[0].texts] == ["random", "medium", "expert", "online"]
    assert vertical_lines(figure.axes[0]) == [10_000, 20_000, 30_000]
    assert "Vertical lines: block boundaries and the switch from the dataset to online interaction." in caption(figure)


def test_a_run_without_a_dataset_has_neither_its_mean_nor_a_switch(results: Results) -> None:
    results.add("sac", 0, dataset="hopper online", blocks=(), protocol={"online": 40_000})
    figure = curves(results.read())
    (ax,) = figure.axes
    assert 40_000 <= ax.get_xlim()[1] < 41_000
    assert [text.get_text() for text in ax.texts] == ["online"]
    assert (vertical_lines(ax), legend_labels(figure)) == ([], ["SAC"])
    assert "Vertical" not in caption(figure)


def test_runs_with_and_without_an_online_phase_share_a_panel_with_different_names(results: Results) -> None:
    results.add("iql", 0, blocks=LOG)
    results.add("iql", 0, blocks=LOG, protocol={"online": 10_000})
    assert names(results) == [["IQL (online=0)", "IQL (online=10000)"]]
    assert collect(results.read())[0].extent == 30_000


@pytest.mark.parametrize("initial", [1_000, 0.05])
def test_a_static_control_has_the_place_of_its_sequential_run(results: Results, initial: float) -> None:
    for static in (False, True):
        results.add("iql", 0, blocks=LOG, points=20, protocol={"initial": initial, "static": static})
    figure = curves(results.read())
    (ax,) = figure.axes
    assert legend_labels(figure)[:2] == ["IQL", "IQL (static)"]
    sequential, static_line = (line for line in ax.lines if line.get_marker() == "s")
    # T0 and then a transition for each gradient step, although it has seen all 20 000 from the start.
    np.testing.assert_array_equal(static_line.get_xdata(), sequential.get_xdata())
    assert static_line.get_color() == sequential.get_color()
    assert (
        static_line.get_linestyle() != sequential.get_linestyle()
        or static_line._dash_pattern != sequential._dash_pattern
    )
    assert static_line.get_markerfacecolor() == "white" != sequential.get_markerfacecolor()
    assert "Static: saw the full dataset from the start" in caption(figure)


def test_a_static_control_has_no_more_transitions_than_the_dataset(results: Results) -> None:
    results.add(
        "iql", 0, blocks=LOG, transitions=[1_000, 10_000, 20_000], gradient_steps=[0, 1_800, 3_802], scores=[1.0, 2, 3],
        protocol={"static": True, "increment": 10, "updates_per_increment": 2},
    )  # fmt: skip
    (line,) = (line for line in curves(results.read()).axes[0].lines if line.get_marker() == "s")
    np.testing.assert_array_equal(line.get_xdata(), [1_000, 10_000, 20_000])


def test_controls_belong_to_runs_of_other_suites_and_windows_but_not_of_other_settings(results: Results) -> None:
    results.add("iql", 0, suite="d4rl", protocol={"window": 500})
    results.add("iql", 0, suite="static", protocol={"window": None, "static": True})
    assert names(results) == [["IQL", "IQL (static)"]]
    assert [group.style for group in collect(results.read())[0].groups] == ["iql", control("iql")]
    results.add("iql", 0, suite="static", config={"alpha": 1.0}, protocol={"window": None, "static": True})
    assert names(results) == [["IQL (alpha=1, static)", "IQL (alpha=2.5)", "IQL (alpha=2.5, static)"]]
    results.add("iql", 0, suite="mine", protocol={"window": 500})
    assert {"IQL (alpha=2.5, suite=d4rl)", "IQL (alpha=2.5, suite=mine)"} <= set(names(results)[0])


def test_controls_look_like_theirs_wherever_they_are_drawn(results: Results) -> None:
    for algorithm in ("iql", "mine"):
        for static in (False, True):
            results.add(algorithm, 0, protocol={"static": static})
    entries = scores_across(results.read()).entries
    assert [entry.label for entry in entries] == ["IQL", "IQL (static)", "mine", "mine (static)"]
    looks = line_styles(entry.style for entry in entries)
    assert looks == {name: line_styles([name])[name] for name in looks}
    assert len(set(looks.values())) == 4
    assert looks["mine"].colour == looks[control("mine")].colour
    assert legend_order([control("zeta"), "zeta", control("iql"), "alpha", "iql"]) == [
        "iql", control("iql"), "alpha", "zeta", control("zeta")
    ]  # fmt: skip


def test_papers_own_settings_are_a_curve_of_their_own(results: Results) -> None:
    for seed in range(2):
        results.add("iql", seed)
        results.add("iql", seed, uses_future_data=True, protocol={"uses_future_data": True})
    figure = curves(results.read())
    assert legend_labels(figure)[:2] == ["IQL", "IQL (uses future data)"]
    looks = line_styles(group.style for group in collect(results.read())[0].groups)
    assert looks["iql"] == line_styles(["iql"])["iql"] != looks["iql (uses future data)"]


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("order", ("logged", "shuffled"), ["order=logged", "order=shuffled"]),
        ("increment", (10, 1, 100), ["increment=1", "increment=10", "increment=100"]),
        ("updates_per_increment", (4, 1), ["updates_per_increment=1", "updates_per_increment=4"]),
    ],
)
def test_other_protocols_are_curves_of_their_own(results: Results, name: str, values: tuple, shown: list[str]) -> None:
    for value in values:
        for seed in range(2):
            results.add("iql", seed, protocol={name: value})
    assert names(results) == [[f"IQL ({text})" for text in shown]]


def test_what_older_manifests_lack_is_as_it_was(results: Results) -> None:
    results.add("iql", 0)
    results.add("iql", 1, protocol={"online": 0, "static": False, "uses_future_data": False})
    assert names(results) == [["IQL"]]
    assert [(run.static, run.online) for run in results.read()] == [(False, 0)] * 2


def test_two_readings_of_a_file_are_panels_of_their_own(results: Results) -> None:
    results.add("iql", 0)
    path = results.add("iql", 1) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["dataset"]["mode"] = "d4rl"
    path.write_text(json.dumps(manifest))
    titles = [panel.title for panel in collect(results.read())]
    assert titles == [f"hopper random, medium, expert (mode={mode})" for mode in ("d4rl", "native")]


def test_runs_that_were_never_played_say_what_there_is_instead(results: Results) -> None:
    results.add("iql", 0, evaluated=False, prequential={"action_error": 0.1, "td_error": 2.0})
    runs = results.read()
    text = without_scores(runs)
    assert text is not None
    assert "protocol.episodes = 0" in text
    assert "prequential scores (action_error, td_error;" in text
    assert "critic/loss" in text
    with pytest.raises(UsageError, match="no scores, since no episode was played"):
        curves(runs)
    assert legend_labels(curves(runs, metric="critic/loss")) == ["IQL"]
    # Beside a dataset that was played it is an empty panel, and the caption says so.
    results.add("iql", 0, dataset="played")
    assert without_scores(results.read()) is None
    assert "No score in the runs on hopper random, medium, expert." in caption(curves(results.read()))


def test_nothing_is_said_of_runs_that_have_just_begun(results: Results) -> None:
    results.add("iql", 0, upto=0)
    assert without_scores(results.read()) is None
