"""Sweeps that are killed, interrupted and out of room at every named place end as if nothing had happened.

`python -m seqeval_rl.benchmarks.durability.measure` does the same many more times.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from seqeval_rl.benchmarks.durability.chains import Report, race, strike_at
from seqeval_rl.benchmarks.durability.checkpoints import measure
from seqeval_rl.benchmarks.durability.commands import Fault, World, metrics, session


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An online sweep that nothing strikes."""
    world = World(tmp_path_factory.mktemp("durability") / "whole", "online")
    assert world.run() == 0
    return world


def test_a_sweep_that_is_killed_again_and_again_ends_as_if_it_had_not_been(whole, tmp_path):
    faults = [
        Fault("mid-build"), Fault("mid-cache", 2), Fault("between directories"), Fault("owner"), Fault("before rename"),
        Fault("after rename"), Fault("mid-growth", 2), Fault("mid-append"), Fault("after append"), Fault("mid-checkpoint", 3),
        Fault("mid-evaluation", 9), Fault("mid-online-episode", 9), Fault("export"), Fault("figure"),
    ]  # fmt: skip
    report = Report()
    strike_at(World(tmp_path, "online"), whole, faults, report)
    assert report.problems() == []
    assert report.strikes == len(faults)


def test_a_sweep_that_is_killed_when_its_runs_have_just_finished_is_tidied(whole, tmp_path):
    checkpoints = sum(len(lines) for lines in metrics(whole.out).values())
    report = Report()
    strike_at(World(tmp_path, "online", whole.cache), whole, [Fault("after checkpoint", checkpoints)], report)
    assert report.problems() == []


def test_signals_end_the_command_with_75_wherever_it_is_and_leave_nothing(whole, tmp_path):
    faults = [
        Fault("mid-build", 1, "SIGTERM"), Fault("mid-cache", 2, "SIGHUP"), Fault("mid-checkpoint", 3, "SIGUSR1"),
        Fault("mid-evaluation", 9, "SIGTERM"), Fault("mid-update", 2, "SIGINT"), Fault("mid-online-episode", 9, "SIGHUP"),
        Fault("export", 1, "SIGTERM"),
    ]  # fmt: skip
    report = Report()
    strike_at(World(tmp_path, "online"), whole, faults, report)
    assert report.problems() == []
    assert len(report.delays) == len(faults)


def test_a_full_disk_is_named_and_costs_nothing(whole, tmp_path):
    places = ("mid-cache", "manifest", "mid-checkpoint", "before fsync", "before rename")
    report = Report()
    strike_at(World(tmp_path, "online"), whole, [Fault(place, 1, "full") for place in places], report)
    assert report.problems() == []


@pytest.mark.parametrize("limit", [10_000, 100_000])
def test_a_limit_of_file_sizes_is_named_and_costs_nothing(limit, whole, tmp_path):
    """The smaller one is reached when a dataset is written, the other by checkpoints."""
    world = World(tmp_path, "online")
    assert world.run(limit=limit) == 74
    assert str(tmp_path) in world.printed().splitlines()[-1]
    assert world.run() == 0
    assert metrics(world.out) == metrics(whole.out)
    assert world.files() == whole.files()


def test_two_starters_of_one_sweep_are_one_writer(whole, tmp_path):
    report = Report()
    race(tmp_path, whole, report)
    assert report.problems() == []


@pytest.mark.parametrize(
    ("kind", "device"),
    [("SIGKILL", "cpu"), ("SIGTERM", "cpu"), pytest.param("SIGTERM", "cuda", marks=pytest.mark.gpu)],
)
def test_no_worker_outlives_its_parent(kind, device, suite, tmp_path):
    """The signal reaches the parent alone, while its workers work."""
    code = """
import sys
import seqeval_rl.experiments.launchers.local as local
from seqeval_rl.benchmarks.cli import main
if __name__ == "__main__":
    local.WORTH_A_PROCESS, local.available_cores = 1e-9, lambda: 2
    sys.exit(main(sys.argv[1:]))
"""
    (tmp_path / "two_workers.py").write_text(code)
    more = [
        "--seeds",
        "0",
        "--set",
        "protocol.updates_per_increment=200",
        "--device",
        device,
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "two_workers.py"), "run", str(suite), *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").rglob("metrics.jsonl"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(session(process.pid)) >= (3 if device == "cpu" else 2)  # a GPU has one worker
    started = time.monotonic()
    os.kill(process.pid, getattr(signal, kind))
    assert process.wait(timeout=20) == (75 if kind == "SIGTERM" else -signal.SIGKILL)
    while session(process.pid):
        assert time.monotonic() < started + 10
        time.sleep(0.02)
    assert not list(tmp_path.rglob("*.partial.*")) or kind == "SIGKILL"


def test_the_cost_of_checkpoints_is_measured(tmp_path):
    protocol = {"initial": 100, "evaluate_every": 100, "batch_size": 16, "episodes": 1, "max_episode_steps": 20}
    row = measure("bc", "bundled/hopper/medium:400", protocol, tmp_path)
    assert row["checkpoints"] == 4
    assert 0 < row["save_seconds"] < row["seconds"]
    assert row["share"] == pytest.approx((row["states_seconds"] + row["save_seconds"]) / row["seconds"])
    assert row["bytes"] > 100_000
