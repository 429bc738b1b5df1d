"""Each figure against the picture of it that is kept: look at what `git diff` names after SEQEVAL_REDRAW=1."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from layouts import assert_nothing_overlaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pictures import same_picture

from seqeval_rl.plots import FIGURES, curves, paper_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from tests.plots.conftest import Results


INSIDE = {"improvement", "ratio"}
LEVELS = {"random": 1.2, "medium": 44.3}


def held(figure: Figure, name: str) -> None:
    FigureCanvasAgg(figure).draw()
    assert_nothing_overlaps(figure)
    same_picture(figure, name)


def test_a_single_task_with_blocks_and_failed_and_unfinished_runs(results: Results) -> None:
    for seed in range(3):
        results.add("td3_bc", seed)
        results.add("iql", seed, upto=20 if seed else None)
        results.add("bc", seed, upto=12, failed=True) if seed == 2 else results.add("bc", seed)
    held(curves(results.read()), "blocks")


def test_a_grid_of_tasks_and_levels(results: Results) -> None:
    for task in ("hopper", "walker2d"):
        for level, mean in LEVELS.items():
            for algorithm in ("td3_bc", "iql", "cql"):
                for seed in range(4):
                    results.add(
                        algorithm, seed, dataset=f"{task} {level}", task=task, blocks=((level, 0, 1_000_000, mean),)
                    )
    held(curves(results.read()), "grid")


def test_a_dataset_and_then_online(results: Results) -> None:
    for algorithm in ("td3_bc", "iql"):
        for seed in range(3):
            results.add(
                algorithm,
                seed,
                dataset="hopper medium",
                blocks=(("medium", 0, 20_000, 44.3),),
                protocol={"online": 10_000},
            )
    held(curves(results.read(), statistic="mean"), "online")


def test_eight_algorithms_in_a_column(results: Results) -> None:
    for algorithm in ("td3_bc", "iql", "cql", "awac", "bc", "sac", "my algorithm", "yours_<$%>"):
        for seed in range(2):
            results.add(algorithm, seed)
    held(curves(results.read(), width="column"), "eight")


@pytest.mark.parametrize("x", ["share", "gradient_steps", "wall_time"])
def test_other_axes(results: Results, x: str) -> None:
    for algorithm in ("td3_bc", "bc"):
        for seed in range(2):
            results.add(
                algorithm, seed, dataset="hopper medium", blocks=(("medium", 0, 20_000, 44.3),), seconds=1.0 + seed,
                protocol={"online": 5_000},
            )  # fmt: skip
    held(curves(results.read(), x=x, width="column"), f"over-{x.replace('_', '-')}")


@pytest.mark.parametrize("experiment", ["offline", "finetune", "mixed"])
def test_the_published_figures(experiment: str) -> None:
    held(paper_figure(experiment), f"paper-{experiment}")


@pytest.mark.parametrize("kind", sorted(set(FIGURES) - {"curves"}))
def test_every_other_kind(results: Results, kind: str) -> None:
    # The last pair of K and gamma is never run.
    pairs = ((1, 1), (1, 10), (4, 1)) if kind in ("ratio", "cost") else ((1, 1),)
    for level, mean in LEVELS.items():
        for algorithm, error in (("td3_bc", 0.1), ("iql", 0.2), ("cql", 0.4), ("bc", 0.8)):
            for seed, (updates, increment) in itertools.product(range(4), pairs):
                places = [30_000 * place // 8 for place in range(1, 9)]
                results.add(
                    algorithm, seed, dataset=f"hopper {level}", blocks=((level, 0, 30_000, mean),), transitions=places,
                    scores=[place / 400 * (1 - error) + seed - increment for place in places],
                    gradient_steps=[(place - places[0]) // increment * updates for place in places],
                    prequential={"action_error": error / (1 + seed), "td_error": 10 * error}, seconds=error * 100 * updates,
                    protocol={"increment": increment, "updates_per_increment": updates},
                )  # fmt: skip
    figure = FIGURES[kind](results.read())
    # Of these the numbers stand inside the axes.
    (same_picture if kind in INSIDE else held)(figure, kind)


def test_a_picture_that_differs_is_refused(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQEVAL_REDRAW", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the drawn picture and the difference stay
    for algorithm in ("td3_bc", "iql"):
        for seed in range(3):
            results.add(
                algorithm,
                seed,
                dataset="hopper medium",
                blocks=(("medium", 0, 20_000, 44.3),),
                protocol={"online": 10_000},
            )
    without = [run for run in results.read() if run.algorithm == "td3_bc" or run.seed]
    with pytest.raises(AssertionError, match="RMS"):
        same_picture(curves(without, statistic="mean", seeds_shown=True), "online")
