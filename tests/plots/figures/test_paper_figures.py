"""The published curves: what is shipped is what figures, tables and captions show."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import CITATION, curves, paper_figure, published_table
from seqeval_rl.plots.analysis.naming import display_name
from seqeval_rl.plots.figures.style import line_styles

if TYPE_CHECKING:
    from tests.plots.conftest import Results


TASKS = ("halfcheetah", "hopper", "walker2d")
LEVELS = ("random", "medium-replay", "medium", "medium-expert")


@pytest.fixture(scope="module")
def means() -> dict[tuple[str, str, str], dict[int, float]]:
    """(experiment, dataset, algorithm) -> samples -> mean over seeds, read here from the file as it is."""
    packed = (files("seqeval_rl.plots") / "paper" / "curves.csv.gz").read_bytes()
    scores: dict[tuple[str, str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in csv.DictReader(gzip.decompress(packed).decode().splitlines()):
        scores[row["experiment"], row["dataset"], row["algorithm"]][int(row["samples"])].append(float(row["score"]))
    return {key: {at: float(np.mean(of)) for at, of in points.items()} for key, points in scores.items()}


def panels(figure: Figure) -> dict[str, Axes]:
    return {ax.get_title().replace("\n", ""): ax for ax in figure.axes if ax.axison}


def verticals(ax: Axes) -> list[float]:
    lines = (np.asarray(line.get_xdata(), float) for line in ax.lines)
    return sorted(float(x[0]) for x in lines if len(x) == 2 and x[0] == x[1])


def ends(ax: Axes) -> list[tuple[float, float]]:
    """Last point of every line; a curve whose seeds end in different bins has its end in a stretch of its own."""
    return [
        (float(np.asarray(line.get_xdata(), float)[-1]), float(np.asarray(line.get_ydata(), float)[-1]))
        for line in ax.lines
    ]


@pytest.mark.parametrize("experiment", ["offline", "finetune", "mixed"])
def test_a_figure_of_the_paper_ends_at_the_means_of_its_data(
    experiment: str, means: dict[tuple[str, str, str], dict[int, float]]
) -> None:
    drawn = panels(paper_figure(experiment))  # type: ignore[arg-type]
    assert set(drawn) == {dataset for name, dataset, _ in means if name == experiment}
    for (name, dataset, _), points in means.items():
        if name == experiment:
            last = max(points)
            assert any(x == last and y == pytest.approx(points[last], abs=1e-9) for x, y in ends(drawn[dataset])), (
                dataset
            )


@pytest.mark.parametrize("experiment", ["offline", "finetune"])
def test_tasks_by_levels_are_a_grid(experiment: str) -> None:
    titles = [ax.get_title().replace("\n", "") for ax in paper_figure(experiment).axes]  # type: ignore[arg-type]
    assert titles == [f"{task}-{level}-v2" for task in TASKS for level in LEVELS]


@pytest.mark.parametrize("experiment", ["offline", "finetune", "mixed"])
def test_the_legend_and_the_curves_are_in_the_papers_order(
    experiment: str, means: dict[tuple[str, str, str], dict[int, float]]
) -> None:
    figure = paper_figure(experiment)  # type: ignore[arg-type]
    order = [
        name
        for name in ("td3_bc", "iql", "cql", "awac", "bc")
        if any(e == experiment and a == name for e, _, a in means)
    ]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name.removesuffix(" (uses future data)") for name in shown[: len(order)]] == [
        display_name(name) for name in order
    ]
    for dataset, ax in panels(figure).items():
        # From the best to the worst at the place that all of them have reached.
        curves_of = {a: points for (e, d, a), points in means.items() if (e, d) == (experiment, dataset)}
        place = min(max(points) for points in curves_of.values())
        there = {}
        for name in curves_of:
            look = line_styles([name])[name]
            own = [line for line in ax.lines if (line.get_color(), line.get_marker()) == (look.colour, look.marker)]
            heights = [
                float(y) for line in own for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True) if x == place
            ]
            there[name] = heights[0]
        assert sorted(there, key=there.__getitem__) == sorted(curves_of, key=lambda name: curves_of[name][place]), (
            dataset
        )


def test_the_dataset_ends_where_the_switch_is_drawn() -> None:
    ended = {title: verticals(ax) for title, ax in panels(paper_figure("finetune")).items()}
    assert ended["hopper-medium-replay-v2"] == [401_598]
    assert ended["halfcheetah-medium-expert-v2"] == [1_998_000]
    assert all(len(lines) == 1 for lines in ended.values())


def test_mixed_has_two_boundaries() -> None:
    assert {tuple(verticals(ax)) for ax in panels(paper_figure("mixed")).values()} == {(333_000, 666_000)}


def test_whose_results_they_are_is_said() -> None:
    figure = paper_figure("mixed")
    assert CITATION in figure.get_supxlabel().replace("\n", " ")


def hopper_medium(results: Results, algorithms: tuple[str, ...] = ("td3_bc",)) -> None:
    name, total = "d4rl:hopper-medium-v2", 999_998
    for algorithm in algorithms:
        for seed in range(2):
            results.add(
                algorithm,
                seed,
                dataset=name,
                task="d4rl/hopper",
                blocks=(("medium", 0, total, 44.28, name),),  # type: ignore[arg-type]
                points=20,
                scores=[50.0] * 20,
            )


def test_published_means_are_drawn_behind_ours(
    results: Results, means: dict[tuple[str, str, str], dict[int, float]]
) -> None:
    hopper_medium(results)
    results.add("td3_bc", dataset="bundled/hopper/medium", blocks=(("medium", 0, 100_000, 30.0),))
    figure = curves(results.read(), paper_curves=True)
    points = means["offline", "hopper-medium-v2", "td3_bc"]
    bins = sorted(points)[1:]  # the first is no evaluation
    seen = [np.mean([step + 5_000 for step in range(at - 45_000, at + 1, 5_000)]) for at in bins]
    found = [
        line
        for line in panels(figure)["d4rl:hopper-medium-v2"].lines
        if np.array_equal(np.asarray(line.get_xdata(), float), seen)
    ]
    assert len(found) == 1
    assert np.allclose(np.asarray(found[0].get_ydata(), float), [points[at] for at in bins])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"{display_name('td3_bc')}, published" in labels
    caption = figure.get_supxlabel().replace("\n", " ")
    assert CITATION in caption
    assert caption.count("bundled/hopper/medium") == 1  # has no published counterpart


def test_without_asking_nothing_published_is_drawn(results: Results) -> None:
    hopper_medium(results)
    figure = curves(results.read())
    assert not any("published" in text.get_text() for text in figure.legends[0].get_texts())
    assert CITATION not in figure.get_supxlabel().replace("\n", " ")


def test_the_table_is_ours_less_published(
    results: Results, means: dict[tuple[str, str, str], dict[int, float]]
) -> None:
    hopper_medium(results, ("td3_bc", "mine"))
    table = published_table(results.read())
    points = means["offline", "hopper-medium-v2", "td3_bc"]
    (row,) = table.rows
    at = (250_000, 500_000, 750_000, 950_000)  # the last is the last full bin
    assert [cell.value for cell in row.cells[:4]] == pytest.approx([50.0 - points[place] for place in at], abs=1e-6)
    assert table.caption.count("mine") == 1


def test_a_prefix_of_a_dataset_is_not_compared(results: Results) -> None:
    name = "d4rl:hopper-medium-v2:600"
    results.add(dataset=name, task="d4rl/hopper", blocks=(("medium", 0, 600, 44.28, name),))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="published"):
        published_table(results.read())
