from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import (
    across_table,
    across_tables,
    bootstrap_interval,
    improvement_interval,
    improvement_table,
    interquartile_mean,
    median,
    optimality_gap,
    probability_of_improvement,
    scores_across,
)

if TYPE_CHECKING:
    from tests.plots.conftest import Results


DATASETS = ("hopper medium", "walker2d medium", "hopper expert")


def log(mean: float) -> tuple[tuple[str, int, int, float], ...]:
    return (("log", 0, 10_000, mean),)


def add(results: Results, algorithm: str, dataset: str, ends: list[float], **settings: object) -> None:
    """One run per end, which is the score at 10 000 transitions; half of it at 5 000."""
    for seed, end in enumerate(ends):
        results.add(
            algorithm, seed, dataset=dataset, blocks=log(40.0 + len(dataset)), transitions=[1_000, 5_000, 10_000],
            scores=[0.0, end / 2, end], **settings,
        )  # fmt: skip  # type: ignore[arg-type]


def three(results: Results) -> dict[str, np.ndarray]:
    scores = {}
    for place, algorithm in enumerate(("iql", "td3_bc", "mine")):
        ends = np.random.default_rng(place).normal(60 + 10 * place, 15, (4, 3))
        scores[algorithm] = ends
        for task, dataset in enumerate(DATASETS):
            add(results, algorithm, dataset, ends[:, task].tolist())
    return scores


def test_the_table_is_the_statistics_of_the_final_scores(results: Results) -> None:
    scores = three(results)
    table = across_table(results.read())
    assert table.quantities == ("IQM", "median", "mean", "optimality gap", "rank")
    assert [row.algorithm for row in table.rows] == ["TD3+BC", "IQL", "mine"]
    for row, name in zip(table.rows, ("td3_bc", "iql", "mine"), strict=True):
        # Datasets are in alphabetical order, runs in order of seeds.
        points = scores[name][:, [2, 0, 1], None]
        for cell, aggregate in zip(row.cells, (interquartile_mean, median, None, optimality_gap), strict=False):
            if aggregate is not None:
                assert cell.value == pytest.approx(aggregate(points)[0])
                low, high = bootstrap_interval(points, aggregate)
                assert (cell.low, cell.high) == pytest.approx((low[0], high[0]))
        assert row.cells[2].value == pytest.approx(points.mean())
        assert (row.dataset, row.runs, row.finished, row.cells[0].runs) == (
            "3 datasets, at 100 % of the data",
            12,
            12,
            12,
        )
        assert row.dataset_mean == pytest.approx(40 + np.mean([len(name) for name in DATASETS]))
    assert sum(row.cells[4].value for row in table.rows) == pytest.approx(1 + 2 + 3)
    half = across_table(results.read(), share=0.5)
    assert half.rows[0].cells[2].value == pytest.approx(table.rows[0].cells[2].value / 2)
    assert "at 50 % of the data" in half.caption


def test_runs_with_an_online_phase_are_compared_at_both_of_its_ends(results: Results) -> None:
    def add_online(algorithm: str, before: float, after: float, online: int = 5_000) -> None:
        places = [1_000, 5_000, 10_000, 15_000] if online else [1_000, 5_000, 10_000]
        for seed in range(2):
            scores = [0.0, 0.0, before + seed, after + seed][: len(places)]
            for dataset in DATASETS[:2]:
                results.add(
                    algorithm, seed, dataset=dataset, blocks=log(1.0), transitions=places, scores=scores,
                    protocol={"online": online},
                )  # fmt: skip

    add_online("iql", 50.0, 90.0)
    add_online("td3_bc", 60.0, 70.0)
    tables = across_tables(results.read())
    assert [table.name for table in tables] == ["across", "improvement", "across-online", "improvement-online"]
    means = [[row.cells[2].value for row in table.rows] for table in tables[::2]]
    assert means == [[60.5, 50.5], [70.5, 90.5]]
    assert [table.rows[0].cells[1].value for table in tables[1::2]] == [1, 0]
    for table, end in zip(tables, ["offline part"] * 2 + ["online phase"] * 2, strict=True):
        assert f"at the end of the {end}" in table.caption
        assert table.rows[0].dataset == f"2 datasets, at the end of the {end}"
        assert f"at the end of the {end}" in table.text()
        assert "100 %" not in table.caption
    assert len(across_tables(results.read(), share=0.5)) == 2
    assert "at 50 % of the offline part" in across_table(results.read(), share=0.5).caption
    # An algorithm without the phase is compared at the end of its dataset, and named.
    add_online("bc", 30.0, 0.0, online=0)
    scores = scores_across(results.read(), phase="online")
    assert "at the end of the dataset where runs have no online phase: BC" in scores.sentence()
    with pytest.raises(UsageError, match=r"with phase online, found 0\.5"):
        scores_across(results.read(), 0.5, "online")
    with pytest.raises(UsageError, match="unknown phase 'onlin'"):
        scores_across(results.read(), phase="onlin")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="an online phase after their dataset, found none"):
        scores_across([run for run in results.read() if not run.online], phase="online")


def test_the_matrix_has_the_probabilities_of_improvement(results: Results) -> None:
    scores = three(results)
    table = improvement_table(results.read())
    assert table.quantities == ("P(> TD3+BC)", "P(> IQL)", "P(> mine)")
    values = np.array([[cell.value for cell in row.cells] for row in table.rows])
    assert np.isnan(np.diag(values)).all()
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose((values + values.T)[off], 1)
    assert values[2, 1] == pytest.approx(probability_of_improvement(scores["mine"], scores["iql"]))
    cell = table.rows[2].cells[1]
    mine, iql = (scores[name][:, [2, 0, 1]] for name in ("mine", "iql"))
    assert (cell.low, cell.high) == pytest.approx(improvement_interval(mine, iql))
    assert "**" not in table.markdown()


def test_only_datasets_that_every_algorithm_has_are_compared(results: Results) -> None:
    for dataset in DATASETS:
        add(results, "iql", dataset, [50.0, 60.0, 70.0])
    for dataset in DATASETS[:2]:
        add(results, "bc", dataset, [10.0, 20.0])
    add(results, "bc", DATASETS[2], [10.0], upto=2)
    found = scores_across(results.read())
    assert found.datasets == DATASETS[:2]
    assert found.left_out == (DATASETS[2],)
    iql, bc = found.entries
    # Nothing is padded: BC has two runs of each, IQL three.
    assert (iql.scores.shape, bc.scores.shape) == ((3, 2), (2, 2))
    assert np.isfinite(iql.scores).all()
    table = across_table(results.read())
    assert "left out, since not every algorithm has a score there: hopper expert." in table.caption
    assert table.rows[1].cells[2].value == 15


def test_a_dataset_with_missing_seeds_keeps_its_weight(results: Results) -> None:
    add(results, "iql", DATASETS[0], [0.0, 0.0, 0.0, 0.0])
    add(results, "iql", DATASETS[1], [90.0, 90.0])
    add(results, "iql", DATASETS[2], [30.0, 30.0, 99.0], upto=None)
    run = max((run for run in results.read() if run.dataset == DATASETS[2]), key=lambda run: run.seed)
    (run.path / "metrics.jsonl").write_text("")
    table = across_table(results.read())
    (row,) = table.rows
    assert row.cells[2].value == pytest.approx(40)
    assert row.cells[0].runs == 8
    assert "Runs that have not got there: IQL 1." in table.caption
    assert "(8 of 9)" in table.markdown()
    assert "9 (1 unfinished)" in table.markdown()


def test_a_dataset_with_one_run_leaves_the_algorithm_without_an_interval(results: Results) -> None:
    for algorithm in ("iql", "bc"):
        add(results, algorithm, DATASETS[0], [50.0, 60.0])
        add(results, algorithm, DATASETS[1], [50.0, 60.0] if algorithm == "iql" else [50.0])
    iql, bc = across_table(results.read()).rows
    assert [np.isnan(cell.low) for cell in iql.cells] == [False] * 4 + [True]
    assert all(np.isnan(cell.low) and np.isfinite(cell.value) for cell in bc.cells)
    assert all(np.isnan(cell.low) for row in improvement_table(results.read()).rows for cell in row.cells)


def test_results_that_cannot_be_compared_are_refused(results: Results) -> None:
    add(results, "iql", DATASETS[0], [50.0])
    add(results, "bc", DATASETS[1], [50.0])
    with pytest.raises(UsageError, match=r"each of IQL, BC|each of BC, IQL"):
        across_table(results.read())
    with pytest.raises(UsageError, match=r"above 0 and at most 1, found 50"):
        scores_across(results.read(), 50)
