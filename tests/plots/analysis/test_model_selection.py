"""How well prequential scores rank settings, and the setting that is picked by one."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import ranking_table, regret_at_1, select, spearman
from seqeval_rl.plots.analysis.prequential import average_ranks

if TYPE_CHECKING:
    from seqeval_rl.plots import Row, Table
    from tests.plots.conftest import Results


PLACES = [1_000, 5_000, 10_000, 15_000, 20_000]
LOG = (("medium", 0, 20_000, 45.0),)
numbers = st.lists(st.integers(-5, 5) | st.floats(-100, 100), min_size=2, max_size=12)


def add(
    results: Results,
    algorithm: str,
    error: float,
    true: float,
    seeds: int = 2,
    score: str = "action_error",
    **settings: object,
) -> None:
    """Runs with that mean of the score over all transitions, and that true score from the second evaluation on."""
    for seed in range(seeds):
        results.add(
            algorithm, seed, blocks=LOG, transitions=PLACES, scores=[0.0, *[true] * 4],
            prequential={score: error}, **settings,
        )  # type: ignore[arg-type]  # fmt: skip


def of(table: Table, score: str, dataset: str = "hopper random, medium, expert") -> Row:
    (row,) = (row for row in table.rows if (row.dataset, row.algorithm) == (dataset, score))
    return row


def values(row: Row) -> list[float]:
    return [cell.value for cell in row.cells]


@given(st.data(), numbers)
def test_rank_correlation_is_scipys(data: st.DataObject, x: list[float]) -> None:
    y = data.draw(st.lists(st.integers(-3, 3) | st.floats(-10, 10), min_size=len(x), max_size=len(x)))
    np.testing.assert_array_equal(average_ranks(x), stats.rankdata(x))
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert spearman(x, x) == pytest.approx(1)
        assert spearman(x, [-value for value in x]) == pytest.approx(-1)
    else:
        assert np.isnan(spearman(x, y))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-50, 100)), min_size=1, max_size=10))
def test_regret_is_between_0_and_the_range_of_true_scores(pairs: list[tuple[int, int]]) -> None:
    costs, true = zip(*pairs, strict=True)
    assert 0 <= regret_at_1(costs, true) <= max(true) - min(true)
    assert regret_at_1([-value for value in true], true) == 0
    assert regret_at_1([0] * len(true), true) == pytest.approx(max(true) - np.mean(true))


def test_correlation_and_regret_at_each_size_of_the_data(results: Results) -> None:
    # The order by action error is iql, bc, td3_bc; that by true score is td3_bc, iql, bc.
    for algorithm, error, true in (("td3_bc", 0.3, 80.0), ("iql", 0.1, 60.0), ("bc", 0.2, 50.0)):
        add(results, algorithm, error, true)
    add(results, "td3_bc", 0.0, 0.0, protocol={"static": True})
    table = ranking_table(results.read())
    row = of(table, "action_error")
    assert table.quantities == (
        "ρ 25 %", "ρ 50 %", "ρ 75 %", "ρ 100 %", "regret 25 %", "regret 50 %", "regret 75 %", "regret 100 %"
    )  # fmt: skip
    assert values(row) == pytest.approx([-0.5] * 4 + [20] * 4)
    assert [cell.runs for cell in row.cells] == [3] * 8
    assert row.runs == 3
    chance = of(table, "picked at random")
    assert np.isnan(values(chance)[:4]).all()
    assert values(chance)[4:] == pytest.approx([80 - 190 / 3] * 4)
    assert "Left out" not in table.caption
    assert "prequential score  settings" in table.text()
    assert "| -0.50 |" in table.markdown()
    assert r"\label{tab:seqeval-ranking}" in table.latex()
    lines = list(csv.DictReader(io.StringIO(table.csv())))
    assert {line["prequential score"] for line in lines} == {"action_error", "picked at random"}
    assert len(lines) == 16


def test_a_gap_counts_by_its_distance_from_0(results: Results) -> None:
    for algorithm, gap, true in (("td3_bc", -1.0, 80.0), ("iql", 3.0, 60.0), ("cql", -50.0, 50.0)):
        add(results, algorithm, gap, true, score="value_gap")
    assert values(of(ranking_table(results.read()), "value_gap")) == pytest.approx([1.0] * 4 + [0.0] * 4)


def test_the_last_rows_are_means_over_datasets(results: Results) -> None:
    for dataset, sign in (("a", 1), ("b", -1), ("c", 1)):
        for algorithm, error, true in (("td3_bc", 0.1, 80.0), ("iql", 0.2, 60.0)):
            add(results, algorithm, sign * error + 1, true, dataset=dataset)
    add(results, "bc", 0.1, 10.0, dataset="d")
    table = ranking_table(results.read(), shares=[1.0])
    assert values(of(table, "action_error", "b")) == pytest.approx([-1, 20])
    pooled = of(table, "action_error", "mean over 4 datasets")
    # Of one setting nothing can be said.
    assert np.isnan(values(of(table, "action_error", "d"))).all()
    assert values(pooled) == pytest.approx([1 / 3, 20 / 3])
    assert values(of(table, "picked at random", "mean over 4 datasets"))[1] == pytest.approx(10)


def test_a_setting_counts_only_with_all_its_runs(results: Results) -> None:
    add(results, "td3_bc", 0.1, 80.0)
    add(results, "iql", 0.2, 60.0)
    for seed in range(3):
        results.add(
            "cql", seed, blocks=LOG, transitions=PLACES, scores=[0.0, *[99.0] * 4], upto=3 if seed == 1 else None,
            failed=seed == 1, prequential={"action_error": 0.01},
        )  # fmt: skip
    table = ranking_table(results.read())
    row = of(table, "action_error")
    assert [cell.runs for cell in row.cells[:4]] == [3, 3, 2, 2]
    assert values(row) == pytest.approx([1, 1, 1, 1, 0, 0, 0, 0])
    assert "Left out: CQL on hopper random, medium, expert (1 of 3 runs without a number at 100 %" in table.caption
    assert "(2 of 3)" in table.markdown()
    (choice,) = select(results.read())
    assert choice.picked is not None
    assert choice.picked.label == "TD3+BC"
    assert "left out: CQL: 1 of 3 runs without a number at 100 % of the data, 1 failed" in choice.text()
    (early,) = select(results.read(), share=0.5)
    assert early.picked is not None
    assert early.picked.label == "CQL"


def test_a_ranking_needs_two_settings_and_true_scores(results: Results) -> None:
    add(results, "td3_bc", 0.1, 80.0)
    with pytest.raises(UsageError, match="at least two algorithms or settings that have prequential and true scores"):
        ranking_table(results.read())
    add(results, "iql", 0.1, 80.0, evaluated=False)
    with pytest.raises(UsageError, match="at least two algorithms"):
        ranking_table(results.read())
    with pytest.raises(UsageError, match=r"found 0\."):
        ranking_table(results.read(), shares=[0])


def test_the_setting_of_lowest_score_is_picked_and_its_cost_reported(results: Results) -> None:
    for alpha, error, true in ((1.0, 0.1, 50.0), (2.5, 0.2, 70.0), (10.0, 0.4, 30.0)):
        add(results, "td3_bc", error, true, config={"alpha": alpha})
    add(results, "iql", 0.05, 65.0)
    (choice,) = select(results.read())
    assert [each.label for each in choice.candidates] == [
        "IQL", "TD3+BC (alpha=1)", "TD3+BC (alpha=2.5)", "TD3+BC (alpha=10)"
    ]  # fmt: skip
    assert choice.regret == pytest.approx(5)
    assert choice.random_regret == pytest.approx(70 - (50 + 70 + 30 + 65) / 4)
    assert "picked: IQL, by action_error at 100 % of the data, out of 4" in choice.text()
    assert (
        "cost: 5.0 points of the score, against TD3+BC (alpha=2.5); picking at random would have cost 16.2"
        in choice.text()
    )
    (own,) = select(results.read(), algorithm="td3_bc")
    assert [each.label for each in own.candidates] == ["TD3+BC (alpha=1)", "TD3+BC (alpha=2.5)", "TD3+BC (alpha=10)"]
    assert own.regret == pytest.approx(20)


def test_true_scores_play_no_part_in_the_choice(results: Results) -> None:
    add(results, "td3_bc", 0.1, 80.0, evaluated=False)
    add(results, "iql", 0.2, 60.0, evaluated=False)
    (choice,) = select(results.read())
    assert choice.picked is not None
    assert choice.picked.label == "TD3+BC"
    assert choice.best is None
    assert np.isnan([choice.regret, choice.random_regret]).all()
    assert "cost" not in choice.text()
    assert "true" not in choice.text()


def test_where_nothing_can_be_judged_nothing_is_picked(results: Results) -> None:
    add(results, "bc", 0.1, 80.0)
    add(results, "td3_bc", 0.1, 80.0, protocol={"static": True})
    results.add("iql", 0, blocks=LOG, upto=1)
    (choice,) = select(results.read(), score="td_error")
    assert choice.picked is None
    assert np.isnan([choice.regret, choice.random_regret]).all()
    text = choice.text()
    assert "nothing picked: no setting has td_error at 100 % of the data in all of its runs" in text
    assert "left out: TD3+BC (static): a static control, to which nothing is new" in text
    assert "left out: BC: no td_error" in text
    assert "left out: IQL: 1 of 1 runs without a number at 100 % of the data" in text


def test_online_runs_are_judged_on_their_dataset_and_runs_without_one_not_at_all(results: Results) -> None:
    places = [*PLACES, 25_000, 30_000]
    for algorithm, error, after in (("td3_bc", 0.2, 90.0), ("iql", 0.1, 10.0)):
        results.add(
            algorithm, 0, blocks=LOG, transitions=places, scores=[0.0, *[50.0] * 4, after, after],
            prequential={"action_error": error}, protocol={"online": 10_000},
        )  # fmt: skip
    results.add("sac", 0, dataset="online", blocks=(), protocol={"online": 10_000})
    on_log, plain = select(results.read())
    # Equally good where the dataset ends, whatever comes after.
    assert (on_log.picked.label, on_log.regret) == ("IQL", 0)
    assert plain.picked is None
    assert "left out: SAC: no dataset" in plain.text()
    assert "sac" not in ranking_table(results.read()).caption


def test_what_cannot_be_chosen_by_is_refused(results: Results) -> None:
    add(results, "bc", 0.1, 80.0)
    with pytest.raises(UsageError, match="unknown prequential score 'error'"):
        select(results.read(), score="error")
    with pytest.raises(UsageError, match=r"unknown algorithm 'bcc' in the results: did you mean bc\?"):
        select(results.read(), algorithm="bcc")
    with pytest.raises(UsageError, match=r"found 2\."):
        select(results.read(), share=2)
