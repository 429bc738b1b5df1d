"""Tasks, reference returns and bounds of actions from the command line and from a suite: what runs, and how it is shown."""

import csv
import json

import numpy as np
import pytest
import unbounded

from seqeval_rl import evaluate, read_results
from seqeval_rl.benchmarks import run
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.environments.tasks import Task

ACTIONS = np.linspace(-4, 4, 240).reshape(120, 2)
PROTOCOL = {"initial": 40, "batch_size": 8, "evaluate_every": 40, "episodes": 1}


@pytest.fixture
def log(tmp_path):
    """Arrays of an environment without bounds and without reference returns."""
    np.savez(tmp_path / "log.npz", **unbounded.columns(ACTIONS))
    return str(tmp_path / "log.npz")


@pytest.fixture
def suite(tmp_path, log):
    """A suite on them, with keys of its stream."""

    def write(**keys):
        stream = ", ".join(f"{key} = {json.dumps(value)}" for key, value in {"name": "free", **keys}.items())
        protocol = ", ".join(f"{key} = {value}" for key, value in PROTOCOL.items())
        (tmp_path / "mine.toml").write_text(f"""
algorithms = ["bc", "iql"]
seeds = [0, 1]
streams = [{{ blocks = ["{log}"], {stream} }}]
protocol = {{ {protocol} }}
settings = {{ bc = {{ hidden = [4] }}, iql = {{ hidden = [4] }} }}
""")
        return str(tmp_path / "mine.toml")

    return write


BOUNDED = {"task": unbounded.FREE, "action_low": -4, "action_high": [4, 4]}


def test_a_task_without_references_runs_and_shows_returns(suite, tmp_path, capsys, caplog):
    out = str(tmp_path / "out")
    assert main(["run", suite(**BOUNDED), "--out", out]) == 0
    captured = capsys.readouterr()
    assert "iql scales rewards by reference returns" in caplog.text
    assert "return -" in captured.err or "return " in captured.err
    assert "free (returns, not scores)" in captured.out
    (first, *_) = results = read_results(out)
    assert {"return", "return_std", "length"} <= first.evaluations[0]["metrics"].keys()
    assert not any("score" in entry["metrics"] for each in results for entry in each.evaluations)
    task = first.manifest["task"]
    assert (task["reference_min"], task["action_low"], task["action_high"]) == (None, -4.0, [4.0, 4.0])
    assert first.manifest["dataset"]["mean_return"] == 4.0
    # An action of the policy is in the units of the data: four steps of two actions within ±4.
    assert all(abs(entry["metrics"]["return"]) <= 32 for each in results for entry in each.evaluations)
    assert list(first.curve()[1]) == [entry["metrics"]["return"] for entry in first.evaluations]

    assert main(["status", out]) == 0
    assert "return" in capsys.readouterr().out.splitlines()[0].split()
    for measures in ("data", "reach", "across", "adaptation"):
        assert main(["table", out, "--measures", measures]) == 0
        assert "Returns, not scores, since the task has no reference returns: free" in capsys.readouterr().out
    for kind in ("curves", "share", "profile", "rank", "aggregates", "improvement", "cost", "correlation"):
        assert main(["plot", out, "--kind", kind]) == 0
    assert main(["report", out]) == 0
    assert main(["export", out, str(tmp_path / "all.csv")]) == 0
    with (tmp_path / "all.csv").open() as file:
        metrics = {row["metric"] for row in csv.DictReader(file)}
    assert "return" in metrics
    assert "score" not in metrics


def test_axes_say_return(suite, tmp_path):
    results = run(suite(**BOUNDED), out=tmp_path / "out", algorithms=["bc"], progress=False)
    for kind, axis in (("curves", "ylabel"), ("share", "ylabel"), ("profile", "xlabel"), ("aggregates", "xlabel")):
        labels = [getattr(ax, f"get_{axis}")() for ax in results.plot(kind).axes]
        assert any(label.startswith("return") or "return" in label for label in labels), kind
        assert not any("score" in label for label in labels if kind != "profile"), kind
    assert results.table().rows[0].metric == "return"


def test_scores_and_returns_are_not_averaged_together(log, tmp_path):
    sources = {"scored": log, "unscored": log + ":80"}
    given = {"action_low": -4, "action_high": 4, "protocol": PROTOCOL, "settings": {"bc": {"hidden": [4]}}}
    more = {"task": Task("a", unbounded.FREE), "reference_returns": (0, 8)}
    scored = evaluate("bc", {"scored": sources["scored"]}, seeds=[0, 1], out=tmp_path / "a", **given, **more)
    evaluate("bc", {"unscored": log + ":80"}, seeds=[0, 1], out=tmp_path / "a" / "b", task=unbounded.FREE, **given)
    both = read_results(tmp_path / "a")
    (row,) = both.table("across").rows
    (alone,) = scored.table("across").rows
    assert row.cells[0].value == alone.cells[0].value
    assert "left out" in both.table("across").caption
    labels = [ax.get_ylabel() for ax in both.plot("curves").axes]
    assert {"normalized score", "return"} == {*labels}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"action_high": [4, 5]}, "action_high"),
        ({"action_low": -3, "clip_actions": True}, "action_low"),
        ({"clip_actions": True}, "clip_actions"),
        ({"reference_returns": [0, 8]}, "reference_m"),
    ],
)
def test_a_resume_with_other_bounds_or_references_is_a_mismatch(change, differs, suite, tmp_path, capsys):
    out = str(tmp_path / "out")
    arguments = ["--algorithms", "bc", "--seeds", "0", "--out", out]
    assert main(["run", suite(**BOUNDED), *arguments]) == 0
    assert main(["run", suite(**BOUNDED), *arguments]) == 0
    capsys.readouterr()
    assert main(["run", suite(**BOUNDED | change), *arguments]) == 78
    assert differs in capsys.readouterr().err


def test_options_take_the_place_of_a_stream_s_keys(suite, tmp_path, capsys):
    out = str(tmp_path / "out")
    options = [
        "--task",
        unbounded.PLAIN,
        "--reference-returns",
        "-8,8",
        "--action-low",
        "-2",
        "--action-high",
        "2",
        "2",
    ]
    arguments = ["run", suite(**BOUNDED), "--algorithms", "bc", "--seeds", "0", "--out", out, *options]
    assert main(arguments) == 65
    assert "clip_actions" in capsys.readouterr().err
    assert main([*arguments, "--clip-actions"]) == 0
    (result,) = read_results(out)
    task, data = result.manifest["task"], result.manifest["dataset"]
    assert (task["env_id"], task["reference_min"], task["action_low"]) == (unbounded.PLAIN, -8.0, -2.0)
    assert data["clip_actions"] is True
    assert data["blocks"][0]["clipped_actions"] == 60
    assert "score" in result.evaluations[0]["metrics"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--task", "hoper"], 2, ["--task", "hopper"]),
        (["--reference-returns", "5"], 2, ["--reference-returns", "MIN,MAX"]),
        (["--reference-returns", "5,1"], 2, ["--reference-returns", "MIN,MAX"]),
        ([], 65, ["action_low", "action_high", "clip_actions"]),
        (
            ["--action-low", "-4", "--action-high", "4"],
            65,
            ["expected an environment", "--task", "protocol.episodes=0"],
        ),
    ],
)
def test_what_is_missing_is_said_with_the_option_that_gives_it(options, code, words, log, suite, tmp_path, capsys):
    assert main(["run", suite(), "--out", str(tmp_path / "out"), *options]) == code
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert all(word in message for word in words)


def test_datasets_are_shown_fetched_and_verified_by_the_same_options(log, tmp_path, capsys):
    options = ["--task", unbounded.FREE, "--action-low", "-2", "--action-high", "2", "--clip-actions"]
    assert main(["datasets", "show", log, "--out", str(tmp_path), *options]) == 0
    shown = capsys.readouterr().out
    for words in (
        "60 transitions with an action outside",
        "mean return    4.00",
        "no reference returns",
        "from -2 to 2",
    ):
        assert words in shown
    assert main(["datasets", "show", log, "--out", str(tmp_path), *options, "--reference-returns", "0,8"]) == 0
    assert "mean score     50.00" in capsys.readouterr().out
    assert main(["datasets", "fetch", log, *options]) == 0
    assert "120 transitions can be read" in capsys.readouterr().out
    assert main(["datasets", "verify", log, *options]) == 0
    assert "FAIL" not in capsys.readouterr().out
    assert main(["datasets", "verify", *options]) == 2
    assert "expected a dataset" in capsys.readouterr().err
    assert main(["datasets", "verify", log]) == 65
