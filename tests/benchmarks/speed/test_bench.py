"""The benchmark's report: a row for each algorithm and number of runs, every measurement kept. No time is asserted."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.benchmarks.speed import estimate, updates
from seqeval_rl.benchmarks.speed.contenders import Problem
from seqeval_rl.interface.registry import find_algorithm

CPU = torch.device("cpu")
SMALL = Problem(obs_shape=(5,), act_dim=2, batch_size=4, transitions=100)
SETTINGS = {name: {"hidden": (8, 8)} for name in ("bc", "td3_bc")}


@pytest.fixture
def report(monkeypatch):
    monkeypatch.setitem(updates.SECONDS, "cpu", 0.005)
    return updates.bench([find_algorithm("bc"), find_algorithm("td3_bc")], [1, 3], CPU, 1, 2, SMALL, SETTINGS)


def test_there_is_a_row_for_each_algorithm_and_number_of_runs(report):
    assert [(row["algorithm"], row["runs"]) for row in report["rows"]] == [
        ("bc", 1),
        ("bc", 3),
        ("td3_bc", 1),
        ("td3_bc", 3),
    ]
    lines = updates.as_table(report).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("algorithm"))
    assert [line.split()[:2] for line in lines[start + 1 : start + 5]] == [
        ["bc", "1"],
        ["bc", "3"],
        ["td3_bc", "1"],
        ["td3_bc", "3"],
    ]
    columns = len(lines[start + 1].split())
    assert columns == 10
    text = "\n".join(lines)
    for word in ("learner/bare", "over eager", "of ceiling", f"torch {version('torch')}", report["processor"], "core"):
        assert word in text


def test_ratios_follow_from_the_measurements_that_are_kept(report):
    for row in report["rows"]:
        speeds = {name: np.array(values) for name, values in row["updates_per_second"].items()}
        assert list(speeds) == ["learner", "bare", "eager", "products"]
        assert all(len(values) == 2 for values in speeds.values())
        assert all(n % row["period"] == 0 for n in row["updates_per_measurement"].values())
        runs = row["runs"]
        assert row["run_updates_per_second"] == pytest.approx(runs * row["medians"]["learner"])
        assert row["learner_over_bare"] == pytest.approx(np.median(speeds["learner"] / speeds["bare"]))
        assert row["runs_over_eager"] == pytest.approx(np.median(runs * speeds["learner"] / speeds["eager"]))
        assert row["share_of_ceiling"] == pytest.approx(np.median(speeds["learner"] / speeds["products"]))
    one, three = report["rows"][:2]
    assert three["flop_per_update"] == 3 * one["flop_per_update"]
    assert three["adam_bytes_per_update"] == 3 * one["adam_bytes_per_update"] > 0


def test_the_report_survives_json_and_says_what_it_was_measured_on(report, tmp_path):
    updates.save(report, tmp_path / "sub" / "bench.json")
    again = json.loads((tmp_path / "sub" / "bench.json").read_text())
    assert again == json.loads(json.dumps(report))
    assert updates.as_table(again) == updates.as_table(report)
    assert again["threads"] == 1
    assert {"versions", "processor", "platform", "git_revision", "copy_bytes_per_second"} <= set(again)
    assert again["torch_settings"]["default_dtype"] == "torch.float32"
    assert again["problem"] == {
        "obs_shape": [5],
        "act_dim": 2,
        "batch_size": 4,
        "transitions": 100,
        "action_classes": None,
    }


def test_a_benchmark_puts_the_number_of_threads_back():
    before = torch.get_num_threads()
    updates.bench([], [1], CPU, before + 1, 1, SMALL)
    assert torch.get_num_threads() == before


def test_reports_of_earlier_versions_are_read():
    saved = Path(updates.__file__).parents[1] / "results" / "2-cores-epyc-avx512-1-thread.json"
    table = updates.as_table(json.loads(saved.read_text()))
    assert ["td3_bc", "1", "215.1", "215.1", "0.983"] in [line.split()[:5] for line in table.splitlines()]


def test_an_absent_figure_is_a_dash():
    assert updates._share(None) == "-"


def test_numbers_of_runs_by_device():
    assert updates.RUNS[torch.device("cuda:0").type] == (1, 5, 20, 40)
    assert updates.RUNS[CPU.type] == (1, 2, 4)


def test_an_estimate_is_printed_and_saved(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.group_cost.SECONDS", 0.01)
    target = tmp_path / "estimate.json"
    command = ["bench", "--estimate", "quickstart", "--mini", "--algorithms", "bc,td3_bc", "--json", str(target)]
    assert main([*command, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    for word in ("quickstart (mini)", "bc", "td3_bc", "total: at most about", "time limit allows (1000 steps)"):
        assert word in shown
    report = json.loads(target.read_text())
    assert [row["algorithm"] for row in report["rows"]] == ["bc", "td3_bc"]
    for row in report["rows"]:
        # 1 200 transitions, 200 of them visible at first, 50 more each time; evaluated at 200, 300, …, 1 200.
        assert (row["updates"], row["evaluations"], row["runs"]) == (20, 11, 2)
    assert estimate.as_table(report) in shown


def test_the_table_says_that_a_stream_without_a_time_limit_is_left_out():
    row = {
        "stream": "endless", "algorithm": "bc", "runs": 1, "updates": 10, "evaluations": 2, "env_steps_per_second": 5.0,
        "hours": 0.1, "time_limit": None, "seconds": {"training": 9.0, "evaluation": 0.0}, "cost": {"seconds_per_update": 0.1},
    }  # fmt: skip
    made = {
        "suite": "s", "device": "cpu", "processor": "p", "groups": [1, 1], "workers": 1, "threads": 1, "seconds": 9.0,
        "rows": [row],
    }  # fmt: skip
    table = estimate.as_table(made)
    assert "No time limit is known for endless" in table
    assert "2 jobs of one run" in table
    assert "run groups: 2 of 20, 1 of 4" in estimate.as_table({**made, "groups": [20, 4, 20]})


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.2, "3 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h"), (3e5, "3.5 days")]
)
def test_durations(seconds, text):
    assert estimate.duration(seconds) == text


def test_evaluation_is_compared_with_a_plain_loop(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.evaluation.SECONDS", 0.05)
    target = tmp_path / "evaluation.json"
    command = ["bench", "--evaluation", "hopper,walker2d", "--runs", "1,2", "--repeats", "2", "--threads", "1"]
    assert main([*command, "--backend", "gymnasium", "--json", str(target)]) == 0
    shown = capsys.readouterr().out
    report = json.loads(target.read_text())
    assert [(row["task"], row["runs"]) for row in report["rows"]] == [
        ("hopper", 1),
        ("hopper", 2),
        ("walker2d", 1),
        ("walker2d", 2),
    ]
    for row in report["rows"]:
        own, plain, both = (np.array(row["env_steps_per_second"][name]) for name in ("evaluator", "loop", "at_once"))
        assert len(own) == len(plain) == len(both) == 2
        assert min(own.min(), plain.min(), both.min()) > 0
        assert row["evaluator_over_loop"] == pytest.approx(np.median(own / plain))
        assert row["at_once_over_evaluator"] == pytest.approx(np.median(both / own))
        assert f"{row['evaluator_over_loop']:>10.2f} {row['at_once_over_evaluator']:>8.2f}" in shown
    assert "over loop" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--evaluation", "hoper"], "hopper"),
        (
            ["--evaluation", "hopper", "--algorithms", "bc,iql"],
            "--algorithms: expected one name with --evaluation, found 2",
        ),
        (
            ["--evaluation", "hopper", "--precision", "bfloat16"],
            "bench --precision: expected no such option with --evaluation",
        ),
        (["--backend", "gymnasium"], "bench --backend: expected no such option without --evaluation, found gymnasium"),
        (["--evaluation", "hopper", "--profile"], "bench --profile: expected no such option with --evaluation"),
        (["--profile", "--repeats", "2"], "bench --repeats: expected no such option with --profile, found 2"),
        (["--budget", "mujoco", "--device", "cpu"], "bench --device: expected no such option with --budget, found cpu"),
        (["--budget", "mujoco", "--runs", "0"], "bench --runs: expected whole numbers from 1, found 0"),
        (["--estimate", "mujoco", "--budget", "mujoco"], "bench --budget: expected no such option with --estimate"),
        (["--mini"], "bench --mini: expected --estimate SUITE or --budget SUITE with it, found none"),
        (["--evaluation", ","], "--evaluation: expected at least one task, found none"),
        (["--evaluation", "hopper", "--repeats", "0"], "bench --repeats: expected whole numbers from 1, found 0"),
        (
            ["--estimate", "quickstart", "--evaluation", "hopper"],
            "bench --evaluation: expected no such option with --estimate",
        ),
    ],
)
def test_options_without_effect_are_refused(options, message, capsys):
    assert main(["bench", *options]) == 2
    assert message in capsys.readouterr().err
