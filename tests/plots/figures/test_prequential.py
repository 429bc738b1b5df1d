"""Prequential scores: sums over the stream, the long format, and their figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st
from layouts import assert_nothing_overlaps, legend_labels
from matplotlib.backends.backend_agg import FigureCanvasAgg

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import SCORES, prequential
from seqeval_rl.plots.analysis.prequential import running_mean
from seqeval_rl.results.evaluations import Evaluations
from seqeval_rl.results.export import long_rows
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from tests.plots.conftest import Results


LOG = (("medium", 0, 20_000, 45.0),)
PLACES = [1_000, 5_000, 10_000, 20_000]


def judged(blocks: list[list[float]], observed: list[int] | None = None) -> RunResult:
    """A run whose evaluations hold the means over these blocks of arriving transitions, from 100 transitions on."""
    entries, seen = [{"transitions": 100, "metrics": {"score": 0.0}}], 100
    for place, block in enumerate(blocks):
        seen += len(block)
        metrics = {"prequential/count": float(len(block)), "prequential/td_error": float(np.mean(block))}
        if observed is not None and observed[place]:
            few = block[: observed[place]]
            metrics |= {"prequential/value_count": float(len(few)), "prequential/value_gap": float(np.mean(few))}
        entries.append({"transitions": seen, "metrics": metrics})
    shared = {"phase": "offline", "block": "", "gradient_steps": 0, "env_steps": 0}
    manifest = {"dataset": {"name": "log"}, "algorithm": {"name": "iql", "config": {}}, "seed": 0}
    return RunResult("run", Path("run"), manifest, "finished", None, Evaluations([shared | entry for entry in entries]))


blocks_of_scores = st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=5), min_size=1, max_size=6)


@given(blocks_of_scores)
def test_the_sum_is_over_every_transition_wherever_evaluations_are(blocks: list[list[float]]) -> None:
    run, every = judged(blocks), [value for block in blocks for value in block]
    transitions, totals = run.prequential("td_error")
    ends = np.cumsum([len(block) for block in blocks])
    np.testing.assert_array_equal(transitions, 100 + ends)
    np.testing.assert_allclose(totals, np.cumsum(every)[ends - 1], atol=1e-9)
    np.testing.assert_array_equal(run.prequential("count")[1], ends)
    np.testing.assert_allclose(run.prequential_mean("td_error")[1][-1], np.mean(every), atol=1e-9)
    # One evaluation at the end or one after each transition: the same description length.
    other = judged([[value] for value in every])
    assert other.prequential("td_error")[1][-1] == pytest.approx(totals[-1], abs=1e-9)


@given(blocks_of_scores, st.data())
def test_value_scores_are_over_the_transitions_with_an_observed_return(
    blocks: list[list[float]], data: st.DataObject
) -> None:
    observed = [data.draw(st.integers(0, len(block))) for block in blocks]
    run = judged(blocks, observed)
    every = [value for block, few in zip(blocks, observed, strict=True) for value in block[:few]]
    transitions, totals = run.prequential("value_gap")
    assert len(transitions) == np.count_nonzero(observed)
    if every:
        assert totals[-1] == pytest.approx(sum(every), abs=1e-9)
        assert run.prequential_mean("value_gap")[1][-1] == pytest.approx(np.mean(every), abs=1e-9)
        # A mean at each evaluation since the first that has one; where nothing counted it is as before.
        places, means = running_mean(run, "value_gap")
        first = next(place for place, few in enumerate(observed) if few)
        assert len(places) == len(blocks) - first
        assert means[-1] == run.prequential_mean("value_gap")[1][-1]


def test_a_run_without_a_score_has_none() -> None:
    run = judged([[1.0]])
    assert [len(part) for part in (*run.prequential("nll"), *running_mean(run, "nll"))] == [0] * 4
    assert run.prequential_scores() == ["td_error"]


def test_the_long_format_has_the_sums(results: Results) -> None:
    results.add("iql", 0, blocks=LOG, transitions=PLACES, scores=[0.0] * 4, prequential={"td_error": [3.0, 2.0, 1.0]})
    rows = [(row[6], row[10]) for row in long_rows(results.read()) if row[9] == "prequential_total/td_error"]
    assert rows == [(5_000, 12_000), (10_000, 22_000), (20_000, 32_000)]
    counts = [row[10] for row in long_rows(results.read()) if row[9] == "prequential_total/count"]
    assert counts == [4_000, 9_000, 19_000]
    assert [row[10] for row in long_rows(results.read()) if row[9] == "prequential/td_error"] == [3, 2, 1]


def test_protocols_differ_in_the_long_format(results: Results) -> None:
    for increment in (1, 10):
        results.add("iql", 0, protocol={"increment": increment})
    found = {row[2] for row in long_rows(results.read())}
    assert found == {f"iql (protocol.increment={increment})" for increment in (1, 10)}


def test_the_figure_is_the_mean_per_transition_so_far(results: Results) -> None:
    for seed in range(2):
        results.add(
            "iql", seed, blocks=LOG, transitions=PLACES, scores=[0.0] * 4,
            prequential={"td_error": [3.0 + seed, 2.0, 1.0]},
        )  # fmt: skip
    results.add("bc", 0, blocks=LOG, prequential={"action_error": 0.1})
    results.add("iql", 0, blocks=LOG, protocol={"static": True})
    figure = prequential(results.read(), "td_error")
    (ax,) = figure.axes
    assert legend_labels(figure) == ["IQL"]
    (line,) = (line for line in ax.lines if line.get_marker() == "s")
    np.testing.assert_array_equal(line.get_xdata(), PLACES[1:])
    np.testing.assert_allclose(line.get_ydata(), [3.5, (14_000 + 10_000) / 9_000, (14_000 + 10_000 + 10_000) / 19_000])
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "squared TD error")
    text = figure.get_supxlabel().replace("\n", " ")
    assert text.startswith("Prequential: of each transition by the agent before it was revealed")
    assert "No squared TD error: IQL (static), BC." in text
    assert "Mean over 2 seeds" in text
    assert legend_labels(prequential(results.read(), "action_error")) == ["BC"]


@pytest.mark.parametrize("score", ["nll", "value_gap"])
def test_scores_of_either_sign_have_a_plain_axis(results: Results, score: str) -> None:
    results.add("iql", 0, blocks=LOG, transitions=PLACES, scores=[0.0] * 4, prequential={score: [-3.0, 2.0, 1.0]})
    (ax,) = prequential(results.read(), score).axes
    assert (ax.get_yscale(), ax.get_ylabel()) == ("linear", SCORES[score].label)


def test_what_is_0_has_no_logarithm(results: Results) -> None:
    results.add("iql", 0, blocks=LOG, prequential={"td_error": 0.0})
    results.add("iql", 0, dataset="other", blocks=LOG, prequential={"td_error": 1.0})
    assert [ax.get_yscale() for ax in prequential(results.read(), "td_error").axes] == ["linear", "log"]


@pytest.mark.parametrize("values", [[1e-4, 1.0, 1e9], [6.1, 6.2, 6.3], [40.0, 20.0, 30.0]])
def test_a_logarithmic_axis_has_ticks_that_can_be_read(results: Results, values: list[float]) -> None:
    results.add("iql", 0, blocks=LOG, transitions=PLACES, scores=[0.0] * 4, prequential={"td_error": values})
    figure = prequential(results.read(), "td_error", width="column")
    FigureCanvasAgg(figure).draw()
    assert_nothing_overlaps(figure)
    (ax,) = figure.axes
    low, high = ax.get_ylim()
    inside = [label for label, at in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True) if low <= at <= high]
    texts = [label.get_text() for label in inside]
    assert 2 <= len(texts) <= 12
    assert len(set(texts)) == len(texts)
    assert not any("$" in text for text in texts)


def test_what_has_no_such_score_is_refused(results: Results) -> None:
    results.add("bc", 0, prequential={"action_error": 0.1})
    with pytest.raises(UsageError, match=r"expected runs with the prequential score td_error, found action_error\."):
        prequential(results.read(), "td_error")
    with pytest.raises(UsageError, match=r"unknown prequential score 'td'.*td_error"):
        prequential(results.read(), "td")
