"""The status of runs, read from files that other processes write."""

import json
import os
import time
from contextlib import ExitStack, contextmanager

import pytest
from filelock import FileLock

from seqeval_rl.errors import DataError
from seqeval_rl.results.status import read_status

NOW = 2_000_000_000.0
EXPECTED = 10


def add(
    root, dataset="hopper medium", algorithm="td3_bc", seed=0, done=3, events=(), age=20.0, variant="", static=False
):
    """A run as the harness leaves it: evaluations each 1,000 transitions and 10 seconds apart, scores 10, 20, …"""
    directory = root / dataset / (variant or algorithm) / f"seed-{seed}"
    directory.mkdir(parents=True)
    protocol = {"initial": 1000, "evaluate_every": 1000, "batch_size": 16, "static": static}
    manifest = {
        "dataset": {"name": dataset, "transitions": 1000 * EXPECTED},
        "algorithm": {"name": algorithm, "config": {}},
        "protocol": protocol,
        "seed": seed,
        "evaluations_expected": EXPECTED,
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    lines = [
        {"transitions": 1000 * EXPECTED if static else 1000 * (i + 1), "gradient_steps": 1000 * i, "env_steps": 0}
        | {"phase": "offline", "block": "noise"}
        | {"metrics": {"score": 10.0 * (i + 1), "seconds": 10.0 if i else 0.5}}
        for i in range(done)
    ]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (directory / "events.jsonl").write_text(
        "".join(json.dumps({"time": 0.0, "event": name, **more}) + "\n" for name, more in (("attempt", {}), *events))
    )
    os.utime(directory / "metrics.jsonl", (NOW - age, NOW - age))
    return directory


@contextmanager
def held(*paths):
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(FileLock(path, timeout=0))
        yield


def test_a_lock_tells_running_from_interrupted(tmp_path):
    running, silent, left = (add(tmp_path, seed=seed, age=age) for seed, age in ((0, 20.0), (1, 3600.0), (2, 20.0)))
    with held(running / ".lock", silent / ".lock"):
        status = read_status(tmp_path, NOW)
        assert [run.state for run in status.runs] == ["running", "quiet", "interrupted"]
        first = status.runs[0]
        # 100 updates/s, 7,000 of them left, of whose 70 seconds 20 have passed.
        assert (first.transitions, first.total, first.rate, first.left, first.age) == (3000, 10_000, 100.0, 50.0, 20.0)
        assert not status.over
        (group,) = status.groups()
        assert group.state == "1 running, 1 quiet, 1 interrupted"
        assert (group.scores, group.latest, group.rate) == ((10.0, 20.0, 30.0), 30.0, 200.0)
    assert [run.state for run in read_status(tmp_path, NOW).runs] == ["interrupted"] * 3
    assert read_status(tmp_path, NOW).over
    assert left.is_dir()


def test_looking_leaves_the_lock_to_the_owner(tmp_path):
    run = add(tmp_path)
    with held(run / ".lock"):
        before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
        for _ in range(5):
            read_status(tmp_path, NOW)
    with held(run / ".lock"):  # free again: nobody kept it
        assert read_status(tmp_path, NOW).runs[0].state == "running"
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_one_finished_and_nine_running_runs_are_one_line(tmp_path):
    add(tmp_path, seed=0, done=EXPECTED, events=[("finished", {})])
    owned = [add(tmp_path, seed=seed, done=seed) for seed in range(1, 10)]
    with held(*(run / ".lock" for run in owned)):
        status = read_status(tmp_path, NOW)
    (group,) = status.groups()
    assert group.state == "9 running, 1 finished"
    assert (group.transitions, group.total, group.seeds) == (1000, 10_000, tuple(range(10)))
    assert len(status.each()) == 10
    assert status.summary().startswith("10 runs: 9 running, 1 finished; ")


def test_reasons_are_given_and_damage_is_named_and_counted(tmp_path):
    add(tmp_path, seed=0, events=[("failed", {"message": "exploding Q value"})])
    add(tmp_path, seed=1, events=[("crashed", {"message": "ZeroDivisionError: 1 / 0"})])
    again = add(tmp_path, seed=2, events=[("crashed", {"message": "gone"}), ("attempt", {})])
    torn = add(tmp_path, seed=3)
    with (torn / "metrics.jsonl").open("a") as file:
        file.write("not JSON\n{torn")
    (add(tmp_path, seed=4) / "manifest.json").write_text("{}")
    lacking = add(tmp_path, seed=5)
    (lacking / "manifest.json").write_text(
        (lacking / "manifest.json").read_text().replace('"transitions": 10000', '"x": 1')
    )
    with held(again / ".lock"):
        status = read_status(tmp_path, NOW)
    assert [run.state for run in status.runs] == ["failed", "crashed", "running", "interrupted"]
    told = "\n".join(status.reasons())
    for words in (
        "failed or crashed runs: 2", "seed-0: failed: exploding Q value", "seed-1: crashed: ZeroDivisionError: 1 / 0",
        "damaged runs, left out: 2", "seed-4: not a readable run", "seed-5: not a readable run",
        "damaged lines, left out: 1", "metrics.jsonl, line 4: damaged",
    ):  # fmt: skip
        assert words in told
    assert "and 1 more" in "\n".join(status.reasons(1))
    (group,) = status.groups()
    assert group.latest == 30.0  # of the sound runs


def test_settings_that_were_swept_are_told_apart_and_a_static_control_moves(tmp_path):
    add(tmp_path, variant="td3_bc,alpha=1")
    add(tmp_path, variant="td3_bc,alpha=2.5", static=True)
    groups = read_status(tmp_path, NOW).groups()
    assert [group.algorithm for group in groups] == ["td3_bc,alpha=1", "td3_bc,alpha=2.5"]
    assert [group.transitions for group in groups] == [3000, 3000]


def test_nothing_there_is_said_unless_a_command_has_just_begun(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="expected results of `seqeval run`"):
            read_status(path)
    with held(tmp_path / ".command-0.lock"):
        status = read_status(tmp_path)
        assert (status.runs, status.at_work, status.over) == ((), True, False)


def test_many_runs_are_read_quickly(tmp_path):
    for algorithm in range(40):
        for seed in range(8):
            add(tmp_path, algorithm=f"algorithm {algorithm}", seed=seed, done=EXPECTED)
    began = time.perf_counter()
    status = read_status(tmp_path, NOW)
    assert time.perf_counter() - began < 3.0  # a fifth of it where nothing else runs
    assert len(status.groups()) == 40
