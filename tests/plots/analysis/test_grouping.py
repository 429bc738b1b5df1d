from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.metrics import measured
from seqeval_rl.plots.analysis.naming import legend_order
from seqeval_rl.plots.figures.style import line_styles

if TYPE_CHECKING:
    from tests.plots.conftest import Results


def labels(results: Results) -> list[list[str]]:
    return [[group.label for group in panel.groups] for panel in collect(results.read())]


def test_runs_that_differ_in_seed_are_one_group_in_the_legends_order(results: Results) -> None:
    for algorithm in ("zeta", "bc", "td3_bc", "alpha"):
        for seed in (2, 0, 1):
            results.add(algorithm, seed)
    (panel,) = collect(results.read())
    assert [group.label for group in panel.groups] == ["TD3+BC", "BC", "alpha", "zeta"]
    assert [run.seed for run in panel.groups[0].runs] == [0, 1, 2]
    assert [(block.label, block.start, block.mean_score) for block in panel.blocks] == [
        ("random", 0, 1.2), ("medium", 10_000, 44.3), ("expert", 20_000, 108.2)
    ]  # fmt: skip


def test_other_settings_are_other_groups_named_by_what_differs(results: Results) -> None:
    for seed in range(2):
        results.add("td3_bc", seed)
        results.add("td3_bc", seed, config={"alpha": 1.0})
        results.add("iql", seed)
    results.add("td3_bc", 0, dataset="another")
    another, hopper = collect(results.read())
    assert [group.label for group in hopper.groups] == ["TD3+BC (alpha=1)", "TD3+BC (alpha=2.5)", "IQL"]
    # The same settings have the same name and style on a panel where nothing has to be told apart.
    assert [(group.label, group.style) for group in another.groups] == [("TD3+BC (alpha=2.5)", "td3_bc (alpha=2.5)")]
    assert hopper.groups[2].style == "iql"


def test_variants_of_a_sweep_have_different_names_in_the_order_of_their_values(results: Results) -> None:
    for alpha in (10, 2.5, 1e-5, 1.0, 0.1234567, 0.12345678):
        for seed in range(2):
            results.add("td3_bc", seed, config={"alpha": alpha, "hidden": [256, 256], "flag": alpha > 1})
    results.add("td3_bc", 0, config={"alpha": 10.0, "hidden": [64], "flag": True})
    results.add("bc", 0)
    (panel,) = collect(results.read())
    assert [group.label.removeprefix("TD3+BC ") for group in panel.groups] == [
        "(alpha=1e-05, flag=false, hidden=[256, 256])",
        "(alpha=0.1234567, flag=false, hidden=[256, 256])",
        "(alpha=0.12345678, flag=false, hidden=[256, 256])",
        "(alpha=1, flag=false, hidden=[256, 256])",
        "(alpha=2.5, flag=true, hidden=[256, 256])",
        "(alpha=10, flag=true, hidden=[256, 256])",
        "(alpha=10, flag=true, hidden=[64])",
        "BC",
    ]
    assert legend_order(group.style for group in reversed(panel.groups)) == [group.style for group in panel.groups]


def test_one_value_written_in_two_ways_is_one_group(results: Results) -> None:
    results.add("td3_bc", 0, config={"alpha": 1})
    results.add("td3_bc", 1, config={"alpha": 1.0})
    assert labels(results) == [["TD3+BC"]]


def test_suites_are_not_averaged_together(results: Results) -> None:
    results.add("iql", 0)
    results.add("iql", 0, suite="mine")
    assert labels(results) == [["IQL (suite=mine)", "IQL (suite=quickstart)"]]


def test_future_data_is_flagged_and_not_averaged_with_the_rest(results: Results) -> None:
    results.add("iql", 0, uses_future_data=True)
    assert labels(results) == [["IQL (uses future data)"]]
    assert collect(results.read())[0].groups[0].style == "iql"
    results.add("iql", 0)
    assert labels(results) == [["IQL", "IQL (uses future data)"]]


def test_task_versions_are_panels_of_their_own(results: Results) -> None:
    results.add("iql", 0)
    results.add("iql", 0, env_id="Hopper-v4")
    titles = [panel.title for panel in collect(results.read())]
    assert titles == [f"hopper random, medium, expert (env_id=Hopper-{version})" for version in ("v4", "v5")]


def test_the_same_run_twice_is_refused(results: Results) -> None:
    results.add("iql", 3, slug="a")
    results.add("iql", 3, slug="b")
    with pytest.raises(UsageError, match=r"0001b and 0000a are the same run twice .*seed 3"):
        collect(results.read())


def test_no_results_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        collect([])


@pytest.mark.parametrize("key", ["suite", "dataset.blocks", "task.env_id"])
def test_a_manifest_without_what_figures_need_is_named(results: Results, key: str) -> None:
    path = results.add("iql", 0) / "manifest.json"
    manifest = json.loads(path.read_text())
    section, _, name = key.partition(".")
    del (manifest[section] if name else manifest)[name or section]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=rf"{path}.*'{key}'"):
        collect(results.read())


def test_of_two_evaluations_at_one_place_the_last_counts(results: Results) -> None:
    results.add(transitions=[10, 20, 20, 30], scores=[1.0, 2.0, 3.0, 4.0])
    transitions, values = measured(results.read()[0])
    assert (transitions.tolist(), values.tolist()) == ([10, 20, 30], [1, 3, 4])


def test_an_interleaved_control_is_in_the_panel_of_its_stream(results: Results) -> None:
    for seed in range(2):
        results.add("iql", seed)
        results.add("iql", seed, dataset="hopper mixed", interleave=True, suite="another")
    (panel,) = collect(results.read())
    assert (panel.title, len(panel.blocks)) == ("hopper random, medium, expert", 3)
    assert [(group.label, group.control, len(group.runs)) for group in panel.groups] == [
        ("IQL", False, 2),
        ("IQL (interleaved)", True, 2),
    ]
    looks = line_styles(group.style for group in panel.groups)
    assert len({look.colour for look in looks.values()}) == 1
    assert len({str(look.line) for look in looks.values()}) == 2


def test_an_interleaved_control_alone_has_no_blocks(results: Results) -> None:
    results.add("iql", interleave=True)
    (panel,) = collect(results.read())
    assert (panel.blocks, panel.spans) == ((), [("offline", 0, 30_000)])
    assert panel.groups[0].label == "IQL (interleaved)"
