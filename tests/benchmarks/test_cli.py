"""The command as a user meets it: suites, results, and one clear line for whatever is wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from synthetic import assert_one_line, npz

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.protocol import Protocol
from seqeval_rl.results.export import LONG_COLUMNS
from seqeval_rl.results.read import read_results
from seqeval_rl.utils.text import show

ROOT = Path(__file__).parents[2]


def comparable(directory):
    """What a run left, without times."""
    return [
        {**entry, "metrics": {k: v for k, v in entry["metrics"].items() if "seconds" not in k}}
        for entry in read_results(directory)[0].evaluations
    ]


def test_a_suite_of_ones_own_runs_and_is_plotted_tabled_and_exported(suite, tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        "run",
        str(suite),
        "--out",
        str(out),
        "--algorithms",
        "bc",
        "--seeds",
        "0,3",
        "--set",
        "bc.learning_rate=0.01",
    ]
    assert main(command) == 0
    results = read_results(out)
    assert sorted(result.seed for result in results) == [0, 3]
    assert results[0].manifest["algorithm"] == {
        "name": "bc",
        "config": {**results[0].manifest["algorithm"]["config"], "learning_rate": 0.01},
    }
    capsys.readouterr()
    assert main(["plot", str(out), "--out", str(tmp_path / "figures"), "--format", "svg,pdf"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "figures" / f"curves.{kind}") for kind in ("svg", "pdf")]
    assert main(["plot", str(out), "--kind", "profile", "--out", str(tmp_path / "figures")]) == 0
    assert (tmp_path / "figures" / "profile.png").stat().st_size
    assert main(["plot", str(out), "--kind", "improvement"]) == 2
    assert "at least two algorithms" in capsys.readouterr().err
    for kind in ("md", "latex", "csv", "text"):
        for measures in ("data", "reach", "across"):
            assert main(["table", str(out), "--format", kind, "--measures", measures]) == 0
            assert "BC" in capsys.readouterr().out
    assert main(["table", str(out), "--format", "csv", "--measures", "across"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["quantity"] for row in rows] == ["IQM", "median", "mean", "optimality gap", "rank", "P(> BC)"]
    for measures, missing in (("blocks", "mixed stream"), ("online", "online phase")):
        assert main(["table", str(out), "--measures", measures]) == 2
        assert missing in capsys.readouterr().err
    for target in (tmp_path / "all.csv", tmp_path / "all.parquet"):
        assert main(["export", str(out), str(target)]) == 0
    import pyarrow.parquet

    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == ",".join(LONG_COLUMNS)
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert table.column_names == lines[0].split(",")
    assert len(table) == len(lines) - 1 > 0


def test_jobs_in_worker_processes_leave_what_jobs_in_one_process_leave(suite, tmp_path, monkeypatch):
    command = ["run", str(suite), "--seeds", "0", "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    monkeypatch.setattr("seqeval_rl.experiments.launchers.local.WORTH_A_PROCESS", 1e-9)
    monkeypatch.setattr("seqeval_rl.experiments.launchers.local.available_cores", lambda: 2)
    assert main([*command, str(tmp_path / "two")]) == 0
    for name in ("bc", "td3_bc"):
        run = Path("noise") / name / "seed-0"
        events = [json.loads(line) for line in (tmp_path / "two" / run / "events.jsonl").read_text().splitlines()]
        assert events[0]["process"] != os.getpid()
        one, two = (read_results(tmp_path / place / run)[0] for place in ("one", "two"))
        assert one.status == two.status == "finished"
        assert one.curve()[0].tolist() == two.curve()[0].tolist()
        # Threads may round differently, so weights agree in all but the last digits, and here after few updates.
        first = "actor/loss"
        np.testing.assert_allclose(one.curve(first)[1][0], two.curve(first)[1][0], rtol=1e-3)


def test_a_killed_sweep_goes_on_and_ends_as_if_it_had_not_been_killed(suite, tmp_path):
    command = [
        "run",
        str(suite),
        "--algorithms",
        "td3_bc",
        "--seeds",
        "0,1",
        "--set",
        "protocol.updates_per_increment=4",
    ]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "seqeval_rl.benchmarks", *command, "--out", str(killed)],
        env=dict(os.environ), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    metrics = killed / "noise" / "td3_bc" / "seed-0" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") >= 2):
        assert process.poll() is None, "the command ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    count = metrics.read_text().count("\n")
    with metrics.open("a") as file:
        file.write('{"evaluation": 77, "torn')  # what a kill in the middle of a line leaves
    assert main([*command, "--out", str(killed)]) == 0
    events = (killed / "noise" / "td3_bc" / "seed-0" / "events.jsonl").read_text()
    if count < 5:
        assert '"resumed"' in events
    for seed in (0, 1):
        run = Path("noise") / "td3_bc" / f"seed-{seed}"
        assert comparable(killed / run) == comparable(tmp_path / "whole" / run)


def test_an_unreadable_checkpoint_costs_one_generation_not_the_run(suite, tmp_path):
    out = tmp_path / "out"
    command = ["run", str(suite), "--out", str(out), "--algorithms", "td3_bc", "--seeds", "0"]
    assert main(command) == 0
    run = out / "noise" / "td3_bc" / "seed-0"
    whole = comparable(run)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))
    newest = sorted((run / "checkpoint").iterdir())
    newest[-1].unlink()
    newest[-2].write_bytes(b"not a checkpoint")
    assert main(command) == 0
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert any("damaged and not used" in event.get("message", "") for event in events)
    assert comparable(run) == whole


def test_an_exploding_run_fails_by_name_and_the_others_go_on(suite, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["run", str(suite), "--out", str(out), "--set", "td3_bc.learning_rate=1e30"]
    assert main(command) == 3
    shown, message = capsys.readouterr()
    assert "2 (2 failed)" in shown
    assert f"seqeval: 2 runs diverged, first {out}/noise/td3_bc/seed-" in message
    before = [path.read_bytes() for path in sorted(out.rglob("*.jsonl"))]
    assert main(command) == 3  # they are not tried again, and not forgotten
    assert [path.read_bytes() for path in sorted(out.rglob("*.jsonl"))] == before
    by_name = {}
    for result in read_results(out):
        by_name.setdefault(result.algorithm, []).append(result)
    assert [result.status for result in by_name["bc"]] == ["finished", "finished"]
    for result in by_name["td3_bc"]:
        assert result.status == "failed"
        assert "transitions" in result.failure
        assert len(result.evaluations) >= 1


def test_results_of_other_settings_are_never_overwritten_unless_asked(suite, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["run", str(suite), "--out", str(out), "--algorithms", "bc", "--seeds", "0"]
    assert main(command) == 0
    metrics = out / "noise" / "bc" / "seed-0" / "metrics.jsonl"
    before = metrics.read_bytes()
    changed = [*command, "--set", "bc.learning_rate=0.5"]
    assert main(changed) == 78
    message = capsys.readouterr().err
    assert "algorithm.config.learning_rate = 0.001, asked for 0.5" in message
    assert metrics.read_bytes() == before
    assert main([*changed, "--overwrite"]) == 0
    assert metrics.read_bytes() != before


def test_a_single_run_example_runs_next_to_ours(suite, tmp_path):
    out = tmp_path / "out"
    plugin = ROOT / "examples" / "filtered_bc.py"
    assert len(plugin.read_text().splitlines()) < 60
    command = ["run", str(suite), "--out", str(out), "--algorithms", f"{plugin}:FilteredBC,bc"]
    assert main([*command, "--set", "filtered_bc.discount=0.9"]) == 0
    results = [result for result in read_results(out) if result.algorithm == "filtered_bc"]
    assert [result.status for result in results] == ["finished", "finished"]
    assert results[0].manifest["algorithm"]["config"]["discount"] == 0.9
    assert results[0].curve("value/loss")[1].tolist() != results[1].curve("value/loss")[1].tolist()


def test_a_plug_in_that_raises_costs_only_its_own_runs(suite, tmp_path, capsys):
    text = (ROOT / "examples" / "filtered_bc.py").read_text()
    broken = tmp_path / "broken.py"
    broken.write_text(text.replace("value_loss, policy_loss = ", "1 / 0; value_loss, policy_loss = "))
    line = 1 + broken.read_text().splitlines().index(next(t for t in broken.read_text().splitlines() if "1 / 0" in t))
    out = tmp_path / "out"
    command = ["run", str(suite), "--out", str(out), "--algorithms", f"{broken}:FilteredBC,bc", "--seeds", "0"]
    assert main(command) == 1
    reason = f"ZeroDivisionError: division by zero ({broken}, line {line})"
    failed = out / "noise" / "filtered_bc" / "seed-0"
    shown, message = capsys.readouterr()
    assert shown.startswith(f"{failed}: crashed, {reason}.")
    assert message.splitlines()[-1].startswith(f"seqeval: 1 run crashed, first {failed}: {reason}.")
    results = {result.algorithm: result for result in read_results(out)}
    assert {name: result.status for name, result in results.items()} == {"bc": "finished", "filtered_bc": "failed"}
    assert (results["filtered_bc"].failure, results["filtered_bc"].crashed) == (reason, True)
    assert main(["table", str(out), "--format", "text"]) == 0
    assert "filtered_bc  1 (1 failed)" in capsys.readouterr().out
    assert main(["status", str(out)]) == 0
    assert f"crashed: {reason}" in capsys.readouterr().out
    broken.write_text(text)
    sys.modules.pop("seqeval_plugin_broken")
    assert main(command) == 0  # nothing had been trained by the code that raises: the run begins again
    assert {result.status for result in read_results(out)} == {"finished"}
    assert '"crashed"' in (failed / "events.jsonl").read_text()


@pytest.mark.parametrize("stops", ['raise RuntimeError("boom")', 'raise SystemExit("boom")'])
def test_the_verdict_on_runs_without_any_evaluation_is_not_hidden_by_the_summary(stops, suite, tmp_path, capsys):
    text = (ROOT / "examples" / "filtered_bc.py").read_text()
    broken = tmp_path / "raises.py"
    broken.write_text(text.replace("        return actions if", f"        {stops}\n        return actions if"))
    out = tmp_path / "out"
    assert main(["run", str(suite), "--out", str(out), "--algorithms", f"{broken}:FilteredBC"]) == 1
    shown, message = capsys.readouterr()
    assert "2 (2 failed)" in shown
    assert "note: no figure: results: expected evaluations, found none in 2 runs. They failed: see" in shown
    assert "seqeval: 2 runs crashed, first" in message.splitlines()[-1]
    assert f"{stops[6:].partition('(')[0]}: boom ({broken}, line" in message.splitlines()[-1]


BAD = [
    (["run", "quikstart"], 2, ["quikstart", "did you mean quickstart"]),
    (["run", "nowhere.toml"], 2, ["nowhere.toml", "no such file"]),
    (["run", "{suite}", "--algorithms", "cqll"], 2, ["cqll", "did you mean cql"]),
    (["run", "{suite}", "--algorithms", "IQL"], 2, ["IQL", "did you mean iql"]),
    (["run", "{suite}", "--datasets", "hopper-medium-v2"], 2, ["did you mean d4rl:hopper-medium-v2?"]),
    (["run", "{suite}", "--datasets", "bundled/hopper/medum"], 2, ["medum", "bundled/hopper/medium"]),
    (["run", "{suite}", "--set", "bc.lr=1"], 2, ["lr", "learning_rate"]),
    (["run", "{suite}", "--set", "bc.learning_rate=fast"], 2, ["bc.learning_rate", "fast"]),
    (["run", "{suite}", "--set", "protocol.initial=0"], 2, ["protocol.initial", "0"]),
    (["run", "{suite}", "--set", "protocol.initial=300"], 65, ["initial = 300", "found 300"]),
    (["run", "{suite}", "--set", "protocol.increment=0"], 2, ["protocol.increment"]),
    (["run", "{suite}", "--set", "protocol.updates_per_increment=0"], 2, ["protocol.updates_per_increment"]),
    (["run", "{suite}", "--set", "protocol.window=8"], 2, ["protocol.window", "16"]),
    (["run", "{suite}", "--set", "iql.alpha=1"], 2, ["iql", "--set"]),
    (["run", "{suite}", "--seeds", "0,0"], 2, ["seeds", "found 0 twice"]),
    (["run", "{suite}", "--seeds", f"0,{2**63}"], 2, ["seeds", "2**63", str(2**63)]),
    (["datasets", "collect", "bundled/hopper/random", "--id", "m/h-v0", "--seed", f"{2**63}"], 2, ["2**63"]),
    (["run", "{suite}", "--seeds", "one"], 2, ["--seeds", "one"]),
    (["run", "{suite}", "--seeds", "²"], 2, ["--seeds", "whole numbers"]),
    (["run", "{suite}", "--device", "cuda"], 2, ["--device cuda", "--device cpu"]),
    (["run"], 2, ["expected a suite", "quickstart"]),
    (["plot", "{tmp}/nothing"], 65, ["nothing", "no such directory"]),
    (["plot", "{tmp}", "--format", "gif"], 2, ["gif", "png"]),
    (["table", "{tmp}"], 65, ["manifest.json"]),
    (["check", "nowhere:Algo"], 2, ["nowhere", "not installed"]),
    (["bench", "--runs", "0"], 2, ["--runs", "from 1", "found 0"]),
    (["bench", "--runs", "1,x"], 2, ["--runs", "1,x"]),
    (["bench", "--repeats", "0"], 2, ["--repeats", "found 0"]),
    (["bench", "--threads", "-1"], 2, ["--threads", "found -1"]),
    (["bench", "--algorithms", "bc", "--set", "cql.hidden=[8]"], 2, ["cql", "--set", "did you mean bc"]),
    (["bench", "--algorithms", "bc", "--set", "bc.bst=0.1"], 2, ["--set", "bst", "best, "]),
    (["bench", "--algorithms", "bc", "--set", "bc.best=0.1,0.2"], 2, ["one value", "found 2"]),
    (["bench", "--estimate", "{suite}", "--set", "bc.best=0.1"], 2, ["--set", "--estimate"]),
    (["bench", "--algorithms", ","], 2, ["--algorithms", "found none"]),
    (["bench", "--algorithms", "cqll"], 2, ["cqll", "did you mean cql"]),
    (["bench", "--device", "cuda"], 2, ["--device cuda", "--device cpu"]),
    (["bench", "--mini"], 2, ["--mini", "--estimate"]),
    (["bench", "--estimate", "quikstart"], 2, ["quikstart", "did you mean quickstart"]),
    (["bench", "--estimate", "{suite}", "--runs", "2"], 2, ["--runs", "--estimate"]),
    (["bench", "--estimate", "{suite}", "--threads", "2"], 2, ["--threads", "--estimate"]),
    (["bench", "--estimate", "{suite}", "--algorithms", ","], 2, ["--algorithms", "found none"]),
]


@pytest.mark.parametrize(
    ("command", "code", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_what_is_wrong_is_said_in_one_line_before_any_training(
    command, code, words, suite, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if "cuda" in command:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([part.format(suite=suite, tmp=tmp_path) for part in command]) == code
    assert_one_line(capsys, words, tmp_path)


def wrong_logs():
    noise = np.random.default_rng(0).standard_normal
    yield "nan", {"rewards": np.where(np.arange(300) == 17, np.nan, 1.0)}, ["rewards", "17"]
    yield "infinite", {"observations": np.full((300, 11), np.inf)}, ["observations"]
    yield "empty", {key: np.zeros((0, 11)) for key in ("observations", "next_observations")} | {
        "actions": np.zeros((0, 3)), "rewards": np.zeros(0), "terminations": np.zeros(0, bool), "truncations": np.zeros(0, bool),
    }, ["log.npz"]  # fmt: skip
    yield "outside the bounds", {"actions": np.full((300, 3), 1.5)}, ["actions", "1.5"]
    yield "unequal lengths", {"rewards": noise(299)}, ["rewards", "299", "300"]
    yield "other shapes", {"observations": noise((300, 5)), "next_observations": noise((300, 5))}, ["(5,)", "(11,)"]


@pytest.mark.parametrize(
    ("changes", "words"), [case[1:] for case in wrong_logs()], ids=[case[0] for case in wrong_logs()]
)
def test_wrong_logs_are_refused_with_exit_code_65(changes, words, suite, tmp_path, capsys):
    npz(tmp_path / "log.npz", **changes)
    assert main(["run", str(suite), "--out", str(tmp_path / "out")]) == 65
    message = capsys.readouterr().err
    for word in words:
        assert word in message


def test_an_environment_that_is_not_installed_is_named(suite, tmp_path, capsys):
    npz(tmp_path / "log.npz", env_id="Hoper-v5", reference_min=0.0, reference_max=1.0)
    assert main(["run", str(suite), "--out", str(tmp_path / "out")]) == 69
    assert "Hoper-v5" in capsys.readouterr().err


def test_an_unwritable_output_directory_is_named(suite, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["run", str(suite), "--out", str(tmp_path / "file" / "out")]) == 74
    assert str(tmp_path / "file" / "out") in capsys.readouterr().err


def test_lists_name_what_is_there(capsys):
    assert main(["run", "--list"]) == 0
    assert "quickstart" in capsys.readouterr().out
    assert main(["algorithms"]) == 0
    shown = capsys.readouterr().out
    assert "td3_bc.alpha = 2.5  # weight of the Q term against cloning\n" in shown
    assert not [line for line in shown.splitlines() if line.startswith("    ") and "  # " not in line]


def test_settings_have_their_default_and_their_meaning(capsys):
    assert main(["settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    meanings = {line.partition("  # ")[0]: line.partition("  # ")[2] for line in lines if "  # " in line}
    for name, field in Protocol.model_fields.items():
        assert meanings[f"protocol.{name} = {show(field.default)}"] == field.description
    for key in (
        "blocks (required)",
        "task = none",
        "mode = native",
        "reference_returns = none",
        "clip_actions = false",
    ):
        assert meanings[key]
    for attribute in ("Config", "vectorized", "period", "noise_dim", "return_range (float | None)"):
        assert meanings[attribute]


def test_check_reports_each_check(capsys):
    assert main(["check", "bc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 5
    assert all(line.startswith("ok") for line in lines)


def test_check_names_a_fault_of_a_file_once_with_its_line(tmp_path, capsys):
    text = (ROOT / "examples" / "filtered_bc.py").read_text()
    broken = tmp_path / "numpy_actions.py"
    broken.write_text(
        text.replace("        return actions if", "        return actions.detach().numpy()\n        return actions if")
    )
    assert main(["check", str(broken)]) == 1
    shown, message = capsys.readouterr()
    (failed,) = [line for line in shown.splitlines() if line.startswith("FAIL")]
    assert failed.startswith(f"FAIL act: FilteredBC.act ({broken}, line ")
    assert "found numpy array of shape (4, 2). Return a torch tensor." in failed
    assert "1 of 14 checks failed: act; 6 were not made." in message


def test_bench_prints_and_saves_its_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("seqeval_rl.benchmarks.speed.updates.SECONDS", {"cpu": 0.05, "cuda": 0.05})
    target = tmp_path / "bench.json"
    command = ["bench", "--algorithms", "bc", "--runs", "1,2", "--repeats", "2", "--threads", "1"]
    command += ["--json", str(target), "--set", "bc.best=0.5", "--set", "bc.hidden=[8]"]
    assert main(command) == 0
    report = json.loads(target.read_text())
    assert [row["runs"] for row in report["rows"]] == [1, 2]
    assert all(len(row["updates_per_second"]["learner"]) == 2 for row in report["rows"])
    assert report["settings"] == {"bc": {"best": 0.5, "hidden": [8]}}
    assert report["rows"][0]["flop_per_update"] < 1e6  # one hidden layer of 8, by default 1e8
    shown = capsys.readouterr().out
    assert "learner/bare" in shown
    assert "bc: best 0.5, hidden [8]." in shown


def test_help_is_quick_because_imports_wait():
    code = "import sys; import seqeval_rl.benchmarks.cli; assert not {'torch', 'gymnasium'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_code_that_changed_between_interruption_and_resumption_is_refused(suite, tmp_path, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text("from seqeval_rl.algorithms.bc import BC\n\n\nclass Mine(BC):\n    name = 'Mine'\n")
    out = tmp_path / "out"
    command = ["run", str(suite), "--out", str(out), "--algorithms", f"{plugin}:Mine", "--seeds", "0"]
    assert main(command) == 0
    run = out / "noise" / "mine" / "seed-0"
    whole = comparable(run)
    assert main(command) == 0  # finished: nothing is computed
    interrupt(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    plugin.write_text(plugin.read_text() + "\n\n# other code\n")
    capsys.readouterr()
    assert main(command) == 78
    assert "code has changed. Restore it, resume with --allow-changed-code" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert main([*command, "--allow-changed-code"]) == 0
    assert comparable(run) == whole
    attempts = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    hashes = {event["algorithm_sha256"] for event in attempts if event["event"] == "attempt"}
    assert len(hashes) == 2


def interrupt(run):
    """Leave what a run leaves that is killed before its last evaluation."""
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))
    events = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(line for line in events if '"finished"' not in line))


def test_old_metrics_never_pass_for_those_of_other_settings(suite, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["run", str(suite), "--out", str(out), "--algorithms", "bc", "--seeds", "0"]
    assert main(command) == 0
    run = out / "noise" / "bc" / "seed-0"
    (run / "manifest.json").unlink()
    capsys.readouterr()
    assert main([*command, "--set", "bc.learning_rate=0.5"]) == 78
    assert main([*command, "--fork", "--overwrite"]) == 2
    assert "holds metrics.jsonl without manifest.json" in capsys.readouterr().err
    assert not (run / "manifest.json").exists()
