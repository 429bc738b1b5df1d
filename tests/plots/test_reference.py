"""The reference results: how they are written and read, and that only what is comparable is shown with a user's runs."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from layouts import legend_labels

from seqeval_rl import read_reference
from seqeval_rl.api import read_results
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.plots import block_table, curves, reach_table, score_table
from seqeval_rl.results.read import RunResult
from seqeval_rl.results.reference import FOLDER, read_exported

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tests.plots.conftest import Results

Change = Callable[[dict[str, Any]], object]
EVERY = read_reference()
REFERENCE = [run for run in EVERY if run.manifest["suite"] == "quickstart"]


def written(root: Path, algorithms: tuple[str, ...] = ("td3_bc", "bc"), change: Change = lambda manifest: None) -> Path:
    """Results of a user who ran some of the reference's algorithms, with something changed in their manifests."""
    for place, run in enumerate(run for run in REFERENCE if run.algorithm in algorithms):
        manifest = copy.deepcopy(run.manifest) | {"suite": "mine", "format": 1}
        change(manifest)
        directory = root / f"{place:02d}"
        directory.mkdir(parents=True)
        (directory / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in run.evaluations))
        (directory / "events.jsonl").write_text("")
        manifest["sha256"] = _digest(manifest)
        (directory / "manifest.json").write_text(json.dumps(manifest))
    return root


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def pale(figure: Figure) -> list[Any]:
    return [line for line in figure.axes[0].lines if line.get_linewidth() == 3.2]


def test_what_is_shipped_is_small_and_says_how_it_was_made() -> None:
    paths = [Path(str(item)) for item in FOLDER.iterdir()]
    assert sum(path.stat().st_size for path in paths) < 1_000_000
    assert {path.suffix for path in paths} <= {".parquet", ".json", ".md"}
    for path in paths:
        if path.suffix == ".json":
            assert not re.search(r'"/|/(tmp|home|root|work)/|hostname', path.read_text())
            assert all(entry["replay_ratio"] > 0 for entry in json.loads(path.read_text()))
    assert {run.manifest["suite"] for run in EVERY} == {"quickstart", "breadth", "discrete"}
    for run in EVERY:
        assert run.status == "finished"
        assert run.manifest["versions"].keys() >= {"seqeval-rl", "torch", "gymnasium", "mujoco"}
        assert run.manifest["processor"]
        assert all(block["name"].startswith("bundled/") for block in run.manifest["dataset"]["blocks"])
    assert {run.algorithm for run in REFERENCE} >= {"td3_bc", "iql", "cql", "bc"}


def test_exported_runs_are_read_as_they_were(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        results.add("iql", seed, prequential={"td_error": 1.0})
    results.add("bc", 0, failed=True, upto=5)
    file = tmp_path / "mine.parquet"
    assert main(["export", str(results.root), str(file), "--manifest"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == str(tmp_path / "mine.json")
    entries = json.loads(file.with_suffix(".json").read_text())
    assert [[run["seed"] for run in entry["runs"]] for entry in entries] == [[0, 1], [0]]

    def content(run: RunResult) -> tuple[Any, ...]:
        return run.run, run.manifest, run.status, run.failure, list(run.evaluations.metrics), run.curve()[1].tolist()

    def lines(run: RunResult) -> list[dict[str, Any]]:
        return [{name: value for name, value in line.items() if name != "evaluation"} for line in run.evaluations]

    read, own = read_exported(file), results.read()
    assert [content(run) for run in read] == [content(run) for run in own]
    assert [lines(run) for run in read] == [lines(run) for run in own]


@pytest.mark.parametrize("case", ["no manifest", "not JSON", "another run", "not Parquet"])
def test_a_pair_of_files_that_do_not_belong_together_is_refused(results: Results, tmp_path: Path, case: str) -> None:
    results.add("iql")
    file, manifest = tmp_path / "mine.parquet", tmp_path / "mine.json"
    assert main(["export", str(results.root), str(file), "--manifest"]) == 0
    if case == "no manifest":
        manifest.unlink()
    elif case == "not JSON":
        manifest.write_text("[")
    elif case == "another run":
        manifest.write_text(manifest.read_text().replace('"run": "', '"run": "other-'))
    else:
        file.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="expected evaluations and manifest of the same runs") as error:
        read_exported(file)
    assert "\n" not in str(error.value)


def test_the_reference_is_behind_equal_runs_and_beside_an_own_algorithm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    figure = curves(read_results(written(tmp_path / "same")), reference=True)
    assert [label for label in legend_labels(figure) if "reference" in label] == [
        f"{name}, reference" for name in ("TD3+BC", "IQL", "CQL", "BC")
    ]
    means = [np.mean([run.curve()[1] for run in REFERENCE if run.algorithm == name], 0) for name in ("td3_bc", "iql")]
    for line, mean in zip(pale(figure), means, strict=False):
        np.testing.assert_allclose(line.get_ydata(), mean)
        assert line.get_zorder() < 3

    def own(manifest: dict[str, Any]) -> None:
        manifest["algorithm"] = {"name": "my_method", "config": {"beta": 1.0}}

    mine = read_results(written(tmp_path / "mine", ("bc",), own))
    beside = curves(mine, reference=True)
    assert len(pale(beside)) == 4
    # Not "BC (best=none)", though another suite of the reference has variants of BC.
    assert {label for label in legend_labels(beside) if "reference" in label} == {
        f"{name}, reference" for name in ("TD3+BC", "IQL", "CQL", "BC")
    }
    assert not pale(curves(mine))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        ("dataset", "sha256", "ab" * 32, "dataset.sha256 is abababab in these runs and 6df3d772 in the reference"),
        ("dataset", "transitions", 20_000, "dataset.transitions is 20000 in these runs and 30000 in the reference"),
        ("dataset", "clip_actions", True, "dataset.clip_actions is true in these runs and false in the reference"),
        ("dataset", "interleave", True, "interleaved is true in these runs and false in the reference"),
        ("task", "env_id", "Hopper-v4", "task.env_id is Hopper-v4 in these runs and Hopper-v5 in the reference"),
        ("task", "reference_max", 3000.0, "task.reference_max is 3000 in these runs and 3234.3 in the reference"),
        ("task", "obs_keys", ["a"], "task.obs_keys is [a] in these runs and [] in the reference"),
        ("protocol", "increment", 10, "protocol.increment is 10 in these runs and 5 in the reference"),
        ("protocol", "window", None, "protocol.window is none in these runs and 5000 in the reference"),
        ("protocol", "static", True, "static is true in these runs and false in the reference"),
        ("protocol", "online", 100, "protocol.online is 100 in these runs and 0 in the reference"),
        ("", "precision", "bfloat16", "precision is bfloat16 in these runs and float32 in the reference"),
        ("", "uses_future_data", True, "uses_future_data is true in these runs and false in the reference"),
    ],
)
def test_what_is_not_comparable_is_never_shown_and_one_line_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, section: str, name: str, value: Any, words: str
) -> None:
    def change(manifest: dict[str, Any]) -> None:
        (manifest[section] if section else manifest)[name] = value

    results = read_results(written(tmp_path / "results", change=change))
    caplog.clear()
    table = score_table(results, reference=True)
    assert not any("reference" in row.algorithm for row in table.rows)
    assert "No reference results fit." in table.text()
    [line] = caplog.messages
    assert line.startswith("reference results: TD3+BC, IQL, CQL, BC on hopper random, medium, expert not shown: ")
    assert words in line


def test_settings_of_an_algorithm_count_where_the_user_ran_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def change(manifest: dict[str, Any]) -> None:
        if manifest["algorithm"]["name"] == "td3_bc":
            manifest["algorithm"]["config"] |= {"alpha": 4.0, "discount": 0.9}

    root = written(tmp_path / "results", change=change)
    figure = curves(read_results(root), reference=True)
    assert [label for label in legend_labels(figure) if "reference" in label] == [
        f"{name}, reference" for name in ("IQL", "CQL", "BC")
    ]
    assert caplog.messages == [
        "reference results: TD3+BC on hopper random, medium, expert not shown: td3_bc.discount is 0.9 in these runs and 0.99 in "
        "the reference (1 more setting differs)."
    ]
    caplog.clear()
    written(root / "sweep", ("td3_bc",))  # the variant that the reference is of has its color and its name
    figure = curves(read_results(root), reference=True)
    [label] = [label for label in legend_labels(figure) if label.startswith("TD3+BC") and "reference" in label]
    assert label == "TD3+BC (alpha=2.5, discount=0.99), reference"
    drawn = dict(zip(legend_labels(figure), figure.legends[0].legend_handles, strict=True))
    assert drawn[label].get_color() == drawn[label.removesuffix(", reference")].get_color()
    assert not caplog.messages


def test_with_runs_of_several_protocols_an_algorithm_that_was_not_run_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = written(tmp_path / "results", ("td3_bc",))
    written(root / "others", ("td3_bc",), lambda manifest: manifest["protocol"].update(increment=10))
    rows = score_table(read_results(root), reference=True).rows
    assert [row.algorithm for row in rows] == [
        "TD3+BC (increment=5)", "TD3+BC (increment=5), reference", "TD3+BC (increment=10)",
    ]  # fmt: skip
    assert [re.sub(r" on .* not shown: ", ": ", line) for line in caplog.messages] == [
        "reference results: IQL, CQL, BC: protocol.increment is 10 in these runs and 5 in the reference."
    ]


def test_tables_have_the_reference_after_the_runs_that_it_belongs_to(tmp_path: Path) -> None:
    results = read_results(written(tmp_path / "results"))
    for make in (score_table, reach_table):
        table = make(results, reference=True)
        assert [row.algorithm for row in table.rows] == [
            "TD3+BC", "TD3+BC, reference", "BC", "BC, reference", "IQL, reference", "CQL, reference",
        ]  # fmt: skip
        assert table.rows[0].cells == table.rows[1].cells
        assert "Reference: runs of this project (seqeval-rl " in table.text()
        assert "Reference" in table.caption
        assert make(results).rows == (table.rows[0], table.rows[2])
    blocks = block_table(results, reference=True)
    assert len(blocks.rows) == 12
    assert [row.algorithm for row in blocks.rows[:2]] == ["TD3+BC", "TD3+BC, reference"]
    assert "Reference: runs of this project" in blocks.text()
    assert results.table(reference=True).rows == score_table(results, reference=True).rows


def test_other_data_have_no_reference_and_the_command_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = written(
        tmp_path / "named", ("bc",), lambda manifest: manifest["dataset"].update(name="mine", sha256="0" * 64)
    )
    with caplog.at_level(logging.WARNING):
        assert main(["plot", str(root), "--reference", "--format", "svg"]) == 0
    assert caplog.messages == [
        "reference results: none of the data of mine; there are those of acrobot expert, acrobot medium, acrobot random "
        "and 18 more. None are shown."
    ]
    assert ", reference" not in (root / "curves.svg").read_text()


def test_times_are_not_compared(tmp_path: Path) -> None:
    results = read_results(written(tmp_path / "results", ("bc",)))
    with pytest.raises(UsageError, match="expected a figure without wall time, found wall_time"):
        curves(results, reference=True, x="wall_time")
    with pytest.raises(UsageError, match="expected a figure without wall time, found seconds"):
        curves(results, reference=True, metric="seconds")
    assert pale(curves(results, reference=True, x="gradient_steps", metric="return"))
