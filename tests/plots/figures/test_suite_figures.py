"""Figures of a whole suite: share of the data, rank, K and gamma, prequential against true scores, cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st
from layouts import assert_nothing_overlaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.stats import spearmanr

from seqeval_rl.errors import UsageError
from seqeval_rl.plots import (
    FIGURES,
    correlation,
    cost,
    costs,
    heat_maps,
    interquartile_mean,
    published_results,
    rank,
    ratio,
    share_curves,
)
from seqeval_rl.plots.figures.aggregate_curves import SHARES, over_share
from seqeval_rl.plots.figures.style import GREY, line_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tests.plots.conftest import Results


PLACES = [2_500, 5_000, 7_500, 10_000]


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def curve(figure: Figure, algorithm: str):
    look = line_styles([algorithm])[algorithm]
    return [
        line for line in figure.axes[0].lines if line.get_color() == look.colour and line.get_marker() == look.marker
    ]


def add(results: Results, algorithm: str, seed: int, dataset: str, scores: list[float], **more) -> None:
    mean = {"low": 10.0, "high": 50.0}.get(dataset, 30.0)
    places = more.pop("transitions", PLACES[: len(scores)])
    results.add(
        algorithm,
        seed,
        dataset=dataset,
        blocks=((dataset, 0, 10_000, mean),),
        transitions=places,
        scores=scores,
        **more,
    )


def test_over_the_share_all_runs_of_all_datasets_count_with_their_nearest_evaluation(results: Results) -> None:
    values = {}
    for task, dataset in enumerate(("low", "high")):
        for seed in range(3):
            values[seed, task] = [10.0 * point + seed + 30 * task for point in range(4)]
            add(results, "iql", seed, dataset, values[seed, task], protocol={"evaluate_every": 2_500})
    figure = share_curves(results.read())
    (line,) = curve(figure, "iql")
    # At each share the nearest evaluation: those are at quarters, and an eighth is as far as one may be away.
    np.testing.assert_allclose(line.get_xdata(), 100 * SHARES[12:])
    scores = np.array([[values[seed, task] for task in range(2)] for seed in range(3)])
    at = interquartile_mean(scores)
    np.testing.assert_allclose(line.get_ydata(), at[[0] * 25 + [1] * 25 + [2] * 25 + [3] * 13])
    assert line.get_alpha() == 1
    (dashed,) = [line for line in figure.axes[0].lines if line.get_color() == GREY]
    assert list(dashed.get_ydata()) == [30.0, 30.0]
    assert "over runs and 2 datasets" in caption(figure)


def test_over_the_share_fewer_runs_fade_and_a_missing_dataset_is_named(results: Results) -> None:
    for seed in range(2):
        add(results, "iql", seed, "low", [1.0, 2.0, 3.0, 4.0], upto=2 if seed else None)
        add(results, "bc", seed, "low", [1.0, 2.0, 3.0, 4.0])
    add(results, "bc", 0, "high", [1.0, 2.0, 3.0, 4.0])
    figure = share_curves(results.read())
    whole, faded = curve(figure, "iql")
    assert (whole.get_alpha(), faded.get_alpha() < 1) == (1, True)
    assert whole.get_xdata()[-1] == pytest.approx(50)
    assert faded.get_xdata()[-1] == 100
    said = caption(figure)
    assert "Faded: not every run has got that far." in said
    assert "Left out, since not every algorithm was run there: high." in said
    assert "none where a dataset has one run" in said


def test_over_the_share_what_is_no_number_or_ends_early_is_said(results: Results) -> None:
    for seed in range(3):
        add(results, "iql", seed, "low", [1.0, float("inf") if seed == 2 else 2.0, 3.0, 4.0])
        add(results, "bc", seed, "low", [1.0, 2.0, 3.0], upto=2)
    figure = share_curves(results.read())
    before, without, after = curve(figure, "iql")
    assert [line.get_alpha() == 1 for line in (before, without, after)] == [True, False, True]
    assert set(without.get_ydata()) == {2.0}
    said = caption(figure)
    assert "Left out: 1 evaluation whose score is not a finite number." in said
    assert "A curve ends where no run of one of the datasets has got further." in said
    assert "so no interval" not in said
    said = caption(share_curves([run for run in results.read() if run.seed == 0]))
    assert "A dataset has one run, so no interval." in said
    assert "shaded" not in said


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3))
def test_a_segment_is_over_the_same_runs_and_all_datasets(seed: int, runs: int, tasks: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(runs, tasks, len(SHARES)))
    for run in range(runs):
        for task in range(tasks):
            first, last = sorted(generator.integers(0, len(SHARES) + 1, 2))
            scores[run, task, :first] = scores[run, task, last:] = np.nan
    parts = over_share(scores, [runs] * tasks, "mean")
    drawn = [round(share) - 1 for part in parts for share in part.transitions]
    there = np.isfinite(scores)
    assert drawn == np.flatnonzero(there.any(axis=0).all(axis=0)).tolist()
    for part in parts:
        place = round(part.transitions[0]) - 1
        expected = np.mean([scores[there[:, task, place], task, place].mean() for task in range(tasks)])
        assert part.centre[0] == pytest.approx(expected)
        assert part.complete == there[:, :, place].all()


def test_ranks_are_drawn_at_their_values(results: Results) -> None:
    for dataset in ("low", "high"):
        for seed in range(2):
            add(results, "bc", seed, dataset, [0.0, 90.0 + seed])
            add(results, "iql", seed, dataset, [0.0, 50.0 if dataset == "low" else 20.0])
            add(results, "cql", seed, dataset, [0.0, 30.0])
    figure = rank(results.read(), share=0.5)
    at = {name: curve(figure, name)[-1].get_xdata() for name in ("bc", "iql", "cql")}
    assert {name: float(np.ravel(x)[0]) for name, x in at.items()} == {"bc": 1.0, "iql": 2.5, "cql": 2.5}
    with pytest.raises(UsageError, match="at least two algorithms to rank, found one"):
        rank([run for run in results.read() if run.algorithm == "bc"], share=0.5)


def test_a_heat_map_holds_each_pair_that_was_run(results: Results) -> None:
    for updates, increment, score in ((1, 1, 10.0), (1, 10, 20.0), (4, 1, 40.0)):
        for dataset, more in (("low", 0.0), ("high", 10.0)):
            for seed in range(2):
                add(
                    results, "td3_bc", seed, dataset, [0, 0, 0, score + more + seed],
                    protocol={"increment": increment, "updates_per_increment": updates}, config={"alpha": 1.0},
                )  # fmt: skip
    add(results, "td3_bc", 0, "other", [0, 0, 0, 99.0], protocol={"increment": 10}, config={"alpha": 1.0})
    add(results, "bc", 0, "low", [0, 0, 0, 99.0])
    (made,) = heat_maps(results.read())
    assert made.label == "TD3+BC"
    assert (made.updates, made.increments) == ((1, 4), (1, 10))
    assert made.scores == pytest.approx({(1, 1): 15.5, (1, 10): 25.5, (4, 1): 45.5})
    assert made.runs == {(1, 1): 4, (1, 10): 4, (4, 1): 4}
    assert made.left_out == ("other",)
    figure = ratio(results.read())
    written = {text.get_text() for text in figure.axes[0].texts}
    assert written == {"15.5\nn=4", "25.5\nn=4", "45.5\nn=4"}
    assert "Crosses: not run, or no run has got there." in caption(figure)
    assert "Left out, since a pair has no score there: other." in caption(figure)
    assert "Left out, since without several pairs on one dataset: BC." in caption(figure)
    with pytest.raises(
        UsageError, match=r"several values of increment or updates_per_increment.*--set protocol.increment"
    ):
        ratio([run for run in results.read() if run.algorithm == "bc"])


def test_heat_maps_of_other_settings_are_never_mixed(results: Results) -> None:
    for alpha in (1.0, 2.5):
        for increment in (1, 10):
            add(
                results, "td3_bc", 0, "low", [0, 0, 0, alpha + increment], protocol={"increment": increment},
                config={"alpha": alpha},
            )  # fmt: skip
    assert {made.label: made.scores[1, 10] for made in heat_maps(results.read())} == {
        "TD3+BC (alpha=1)": 11.0,
        "TD3+BC (alpha=2.5)": 12.5,
    }


def test_true_scores_over_prequential_scores_and_their_correlation(results: Results) -> None:
    true, errors = (
        {"bc": 10.0, "iql": 40.0, "cql": 20.0, "td3_bc": 30.0},
        {"bc": 1.0, "iql": 0.2, "cql": 0.1, "td3_bc": 0.5},
    )
    for name, score in true.items():
        add(results, name, 0, "low", [0, 0, 0, score], prequential={"action_error": errors[name]})
    figure = correlation(results.read())
    for name, score in true.items():
        (point,) = curve(figure, name)
        assert (float(point.get_xdata()[0]), float(point.get_ydata()[0])) == (pytest.approx(errors[name]), score)
    rho = spearmanr([errors[name] for name in true], [-score for score in true.values()]).statistic
    assert f"ρ = {rho:.2f}, 4 settings" in figure.axes[0].get_title()
    assert figure.axes[0].get_xscale() == "log"
    assert "Left out" not in caption(figure)
    add(results, "awac", 0, "low", [0, 0, 0, 1.0], prequential={"action_error": 1.0}, evaluated=False)
    add(results, "bc", 0, "high", [0, 0, 0, 1.0], prequential={"action_error": 1.0})
    figure = correlation(results.read())
    assert "Left out: BC on high (no other setting), AWAC on low (no true score)." in caption(figure)
    with pytest.raises(UsageError, match="two settings that have nll and true scores"):
        correlation(results.read(), "nll")


def test_cost_is_that_of_training_and_devices_are_kept_apart(results: Results) -> None:
    add(results, "bc", 0, "low", [0, 0, 0, 50.0], seconds=8.0, gradient_steps=[0, 100, 200, 300])
    add(results, "iql", 0, "low", [0, 0, 0, 60.0], gradient_steps=[0, 2500, 5000, 7500])
    add(results, "cql", 0, "low", [0.0], seconds=8.0)
    found, without = costs(results.read())
    bc, iql = sorted(found, key=lambda each: each.label)
    # Three stretches of 8 s, a quarter of it evaluation, for 7 500 transitions.
    assert bc.seconds == pytest.approx(3 * 6.0 / 7.5)
    assert (bc.updates, bc.score, iql.updates) == (pytest.approx(0.04), 50.0, pytest.approx(1.0))
    assert np.isnan(iql.seconds)
    assert without == ["CQL on low"]
    figure = cost(results.read())
    assert "On an unknown device." in caption(figure)
    assert "Not at the end yet, or evaluated only there: CQL on low." in caption(figure)
    runs = results.read()
    runs[0].manifest["device"], runs[1].manifest["device"] = "cpu", "cuda"
    assert {each.device for each in costs(runs)[0]} == {"cpu", "cuda"}
    assert "On CUDA, where evaluation runs in parallel with training, all of the time." in caption(cost(runs))
    with pytest.raises(UsageError, match="got to the end of its dataset, found none"):
        cost([run for run in runs if run.algorithm == "cql"])


def test_only_what_was_timed_up_to_the_end_of_the_dataset_is_a_cost(results: Results) -> None:
    add(results, "bc", 0, "low", [0, 0, 0, 50.0, 60.0, 70.0], transitions=[*PLACES, 12_500, 15_000], seconds=8.0,
        protocol={"online": 5_000})  # fmt: skip
    add(results, "cql", 0, "low", [30.0], transitions=[10_000], seconds=8.0)
    add(results, "iql", 0, "low", [0, 0, 0, 40.0], seconds=8.0)
    metrics = results.read()[2].path / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join([*lines[:2], "{torn\n", *lines[3:]]))
    runs = results.read()
    found, without = costs(runs)
    bc, iql = sorted(found, key=lambda each: each.label)
    assert (bc.score, bc.seconds) == (50.0, pytest.approx(3 * 6.0 / 7.5))  # not what the online phase took
    assert np.isnan(iql.seconds)  # its sum would lack a stretch
    assert without == ["CQL on low"]  # whose only evaluation has nothing before it
    said = caption(cost(runs))
    assert "Not timed throughout: IQL on low." in said
    assert "Left out: 1 damaged line." in said
    for run, processor in zip(runs, ("one", "two", "two"), strict=True):
        run.manifest.update(device="cpu", processor=processor)
    assert [each.device for each in costs(runs)[0]] == ["cpu with two", "cpu with one"]


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("kind", [kind for kind in FIGURES if kind not in ("curves", "improvement")])
def test_eight_algorithms_can_be_read_and_forty_drawn(results: Results, kind: str, width: str) -> None:
    names = ["td3_bc", "iql", "cql", "awac", "bc", "my algorithm", "a <b> $x_1$ 50%", "long-" + "name-" * 15]
    for count in (8, 40):
        for place, name in enumerate([*names, *(f"algorithm {i}" for i in range(8, count))]):
            if count == 40 and place < 8:
                continue
            for increment in (1, 10):
                if increment == 1 or kind == "ratio":
                    add(
                        results, name, 0, "low", [0.0, 5.0, 9.0, 10.0 + place], seconds=1.0 + place,
                        prequential={"action_error": 0.1 * (1 + place)}, protocol={"increment": increment},
                    )  # fmt: skip
        figure = FIGURES[kind](results.read(), width=width)
        FigureCanvasAgg(figure).draw()
        if count == 8 and kind != "ratio":  # whose numbers stand inside the axes
            assert_nothing_overlaps(figure)


def test_published_curves_have_no_cost() -> None:
    found, without = costs(published_results("mixed"))
    assert (found, len(without)) == ([], 15)
