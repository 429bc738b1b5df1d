"""Prequential scores: their sums, their rank correlation with true scores, and selection by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from scipy.stats import rankdata, spearmanr

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import prequential, ranking_table, regret_at_1, select, spearman
from seqeval_rl.plots.analysis.prequential import average_ranks
from seqeval_rl.results.export import long_rows

if TYPE_CHECKING:
    from tests.plots.conftest import Results


LOG = (("medium", 0, 10_000, 44.0),)
PLACES = [1000, 2500, 5000, 7500, 10_000]
# Few different values, so that many are equal.
PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12)


def add(
    results: Results, algorithm: str, cost: float | list[float], true: float, seed: int = 0, **more: object
) -> None:
    results.add(
        algorithm, seed, dataset="hopper", blocks=LOG, transitions=PLACES, scores=[true] * 5,
        prequential={"action_error": cost}, **more,
    )  # type: ignore[arg-type]  # fmt: skip


@given(PAIRS)
@settings(deadline=None)
def test_spearman_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = map(np.array, zip(*pairs, strict=True))
    assert np.array_equal(average_ranks(x), rankdata(x))
    if len(set(x.tolist())) == 1 or len(set(y.tolist())) == 1:
        assert np.isnan(spearman(x, y))
    else:
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


@given(PAIRS)
def test_regret_is_never_negative_and_zero_for_a_perfect_score(pairs: list[tuple[int, int]]) -> None:
    costs, true = map(np.array, zip(*pairs, strict=True))
    assert 0 <= regret_at_1(costs, true) <= true.max() - true.min()
    assert regret_at_1(-true, true) == 0
    assert regret_at_1(true, true) == true.max() - true.min()


@given(st.lists(st.floats(0, 100), min_size=4, max_size=4))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_are_means_times_counts(results: Results, means: list[float]) -> None:
    add(results, "bc", means, 40.0)
    run = results.read()[-1]  # each example adds a run after those before
    transitions, totals = run.prequential("action_error")
    assert transitions.tolist() == PLACES[1:]
    expected = np.cumsum(np.array(means) * np.diff(PLACES))
    assert np.allclose(totals, expected)
    rows = [row for row in long_rows([run]) if row[9] == "prequential_total/action_error"]
    assert [row[6] for row in rows] == PLACES[1:]
    assert np.allclose([row[10] for row in rows], expected)


def test_a_score_that_the_run_lacks_is_empty(results: Results) -> None:
    add(results, "bc", 1.0, 40.0)
    transitions, totals = results.read()[0].prequential("td_error")
    assert len(transitions) == len(totals) == 0


def test_the_figure_shows_the_mean_over_revealed_transitions(results: Results) -> None:
    means = [8.0, 4.0, 2.0, 1.0]
    add(results, "bc", means, 40.0)
    ax = prequential(results.read(), score="action_error").axes[0]
    (line,) = [line for line in ax.lines if len(np.asarray(line.get_xdata())) == 4]
    weights = np.diff(PLACES)
    assert np.allclose(line.get_ydata(), np.cumsum(np.array(means) * weights) / np.cumsum(weights))
    assert ax.get_yscale() == "log"


def test_a_figure_of_a_missing_score_lists_the_available_ones(results: Results) -> None:
    add(results, "bc", 1.0, 40.0)
    with pytest.raises(UsageError, match="action_error"):
        prequential(results.read(), score="nll")


def test_a_perfect_score_ranks_perfectly(results: Results) -> None:
    for algorithm, cost, true in (("bc", 3.0, 40.0), ("iql", 2.0, 60.0), ("td3_bc", 1.0, 80.0)):
        add(results, algorithm, cost, true)
    row, chance = (
        next(row for row in ranking_table(results.read()).rows if row.algorithm == name)
        for name in ("action_error", "picked at random")
    )
    assert [cell.value for cell in row.cells] == pytest.approx([1.0] * 4 + [0.0] * 4)
    assert [cell.value for cell in chance.cells[4:]] == pytest.approx([20.0] * 4)


def test_the_order_changes_with_the_size_of_the_data(results: Results) -> None:
    add(results, "bc", [1.0, 1.0, 9.0, 9.0], 40.0)
    add(results, "iql", [2.0, 2.0, 2.0, 2.0], 60.0)
    (row,) = (row for row in ranking_table(results.read()).rows if row.algorithm == "action_error")
    assert [cell.value for cell in row.cells] == pytest.approx([-1.0, -1.0, 1.0, 1.0, 20.0, 20.0, 0.0, 0.0])


def test_one_setting_cannot_be_ranked(results: Results) -> None:
    add(results, "bc", 1.0, 40.0)
    with pytest.raises(UsageError, match="at least two"):
        ranking_table(results.read())


def test_the_lowest_score_is_picked_and_its_cost_reported(results: Results) -> None:
    for algorithm, cost, true in (("bc", 1.0, 40.0), ("iql", 2.0, 70.0), ("td3_bc", 3.0, 60.0)):
        for seed in range(2):
            add(results, algorithm, cost, true, seed)
    (choice,) = select(results.read())
    assert choice.picked is not None
    assert choice.picked.label == "BC"
    assert choice.regret == pytest.approx(30.0)
    assert choice.random_regret == pytest.approx(70.0 - 170.0 / 3)
    assert "picked: BC" in choice.text()


@pytest.mark.parametrize("status", ["failed", "unfinished"])
def test_unfinished_settings_are_named_and_never_picked(results: Results, status: str) -> None:
    add(results, "bc", 1.0, 40.0, upto=3, failed=status == "failed")
    add(results, "iql", 2.0, 70.0)
    (choice,) = select(results.read())
    assert choice.picked is not None
    assert choice.picked.label == "IQL"
    assert [out.label for out in choice.left_out] == ["BC"]
    assert "left out: BC" in choice.text()


def test_settings_of_one_algorithm(results: Results) -> None:
    add(results, "bc", 0.5, 40.0)
    for alpha, cost in ((1.0, 2.0), (4.0, 1.0)):
        add(results, "td3_bc", cost, 60.0, config={"alpha": alpha})
    (choice,) = select(results.read(), algorithm="td3_bc")
    assert choice.picked is not None
    assert choice.picked.label == "TD3+BC (alpha=4)"
    assert len(choice.candidates) == 2
    with pytest.raises(UsageError, match="cql"):
        select(results.read(), algorithm="cql")


def test_true_scores_do_not_affect_the_choice_and_may_be_missing(results: Results) -> None:
    for algorithm, cost in (("bc", 1.0), ("iql", 2.0)):
        add(results, algorithm, cost, 40.0, evaluated=False)
    (choice,) = select(results.read())
    assert choice.picked is not None
    assert choice.picked.label == "BC"
    assert choice.best is None
    assert np.isnan(choice.regret)
    assert "cost" not in choice.text()
