"""One process for each device: which are chosen, which run group begins where, and that numbers do not depend on it."""

import heapq
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
import torch
from groups import found
from hypothesis import given, strategies as st
from sweeps import left, same, sweep_of

from seqeval_rl.errors import UsageError
from seqeval_rl.experiments.launchers import LaunchOptions, find_launcher, local
from seqeval_rl.experiments.launchers.local import LocalLauncher
from seqeval_rl.experiments.pool import idle, place
from seqeval_rl.experiments.scheduler import run_sweep
from seqeval_rl.training.device import choose_devices, only_visible


@pytest.mark.parametrize(
    ("device", "count", "chosen"),
    [
        ("auto", 0, ["cpu"]), ("cpu", 4, ["cpu"]), ("auto", 1, ["cuda"]), ("cuda", 1, ["cuda"]), ("cuda:0", 1, ["cuda"]),
        ("cuda", 3, ["cuda:0", "cuda:1", "cuda:2"]), ("auto", 2, ["cuda:0", "cuda:1"]), ("cuda:1", 3, ["cuda:1"]),
        ("cuda:0,2", 3, ["cuda:0", "cuda:2"]),
    ],
)  # fmt: skip
def test_devices_are_all_that_are_visible_or_those_that_are_named(device, count, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert [str(each) for each in choose_devices(device)] == chosen


@pytest.mark.parametrize(
    ("device", "count", "message"),
    [
        ("gpu", 2, "expected auto, cpu, cuda"), ("cpu:0", 2, "expected auto"), ("cuda:", 2, "expected auto"),
        ("cuda:x", 2, "expected auto"), ("cuda:-1", 2, "expected auto"), ("cuda:2", 2, "0 to 1"), ("cuda:0,0", 2, "different"),
        ("cuda", 0, "found none"), ("cuda:0", 0, "found none"),
    ],
)  # fmt: skip
def test_devices_that_are_not_there_are_refused(device, count, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UsageError, match=f"--device {device}: .*{message}"):
        choose_devices(device)


@pytest.mark.parametrize(
    ("device", "before", "after"),
    [("cuda:1", "", "1"), ("cuda:1", "4,6", "6"), ("cuda", "4,6", "4,6"), ("cpu:1", "4", "4")],
)
def test_a_worker_sees_its_own_device_alone(device, before, after, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    assert only_visible(device) == device.partition(":")[0]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == after


@dataclass
class Sized:
    """What `place` needs of a job."""

    bytes: int
    seconds: int = 1


@given(
    jobs=st.lists(st.builds(Sized, st.integers(0, 100), st.integers(1, 9)), max_size=20),
    memory=st.lists(st.integers(10, 80), min_size=1, max_size=4),
)
def test_every_group_is_trained_where_it_fits(jobs, memory):
    """Pretended devices that differ in memory: all groups are trained, each alone on its device, none waits without need."""
    waiting, free = dict(enumerate(jobs)), dict(enumerate(memory))
    working, now, done = [], 0, []
    while waiting or working:
        while (placed := place(waiting, free, bool(working))) is not None:
            number, device = placed
            job = waiting.pop(number)
            fits = job.bytes <= memory[device]
            assert fits or not working, "a group that fits nowhere waits until all memory is free"
            assert memory[device] == max(memory[each] for each in free)
            assert not fits or all(other.bytes > memory[device] for n, other in waiting.items() if n < number)
            del free[device]
            heapq.heappush(working, (now + job.seconds, number, device))
        assert working, "something works as long as something waits"
        now, number, device = heapq.heappop(working)
        free[device] = memory[device]
        done.append(number)
    assert sorted(done) == list(range(len(jobs)))


@given(
    jobs=st.lists(st.builds(Sized, st.integers(0, 60), st.integers(1, 9)), max_size=20),
    memory=st.lists(st.integers(60, 90), min_size=1, max_size=3),
)
def test_two_processes_of_a_pretended_device_share_its_memory(jobs, memory):
    workers = [FakeWorker(device, room) for _ in range(2) for device, room in enumerate(memory)]
    waiting, now, done = dict(enumerate(jobs)), 0, []
    working = []
    while waiting or working:
        while (placed := place(waiting, idle(workers), bool(working))) is not None:
            number, index = placed
            worker = workers[index]
            worker.start(number, waiting.pop(number))
            there = [each.job for each in workers if each.device == worker.device and each.number is not None]
            assert sum(job.bytes for job in there) <= worker.most_free
            heapq.heappush(working, (now + worker.job.seconds, number, index))
        assert working, "something works as long as something waits"
        now, number, index = heapq.heappop(working)
        workers[index].end()
        done.append(number)
    assert sorted(done) == list(range(len(jobs)))


class FakeWorker:
    """What `idle` needs of a worker process; while idle it believes that all memory is free."""

    def __init__(self, device, room):
        self.device, self.most_free, self.job = device, room, None
        self.end()

    def start(self, number, job):
        self.number, self.job, self.free = number, job, None

    def end(self):
        self.number, self.free = None, self.most_free


def processes(out):
    """The processes that have trained the runs under `out`."""
    events = (json.loads(line) for path in out.rglob("events.jsonl") for line in path.read_text().splitlines())
    return {event["process"] for event in events if event["event"] == "attempt"}


@pytest.mark.parametrize(("small", "numbers"), [(0, (0, 1)), (1024, (0,))])
def test_pretended_devices_have_processes_and_numbers_are_the_same(small, numbers, tmp_path, monkeypatch):
    """One process for each of two devices, or two for one device where groups are small."""
    sweep = sweep_of(tmp_path, seeds=1)
    run_sweep(sweep, tmp_path / "one", "cpu", "gymnasium", progress=False)
    monkeypatch.setattr("seqeval_rl.experiments.job.HALF_EMPTY", small)
    monkeypatch.setattr(local, "choose_devices", lambda _: tuple(torch.device("cpu", number) for number in numbers))
    ends = run_sweep(sweep, tmp_path / "two", "cpu", "gymnasium", progress=False)
    assert [end.status for end in ends] == ["finished"] * 4
    assert processes(tmp_path / "one") == {os.getpid()}
    assert len(processes(tmp_path / "two") - {os.getpid()}) == 2
    assert same(tmp_path / "one", tmp_path / "two")
    assert run_sweep(sweep, tmp_path / "two", "cpu", "gymnasium", progress=False) == []


@pytest.mark.gpu
def test_two_gpus_are_used_and_numbers_are_those_of_one(tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs two CUDA devices, found {torch.cuda.device_count()}")
    sweep = sweep_of(tmp_path, seeds=4)
    run_sweep(sweep, tmp_path / "one", "cuda:1", "gymnasium", progress=False)
    run_sweep(sweep, tmp_path / "two", "cuda:0,1", "gymnasium", progress=False)
    assert len(processes(tmp_path / "two")) == 2
    one, two = found(tmp_path / "one"), found(tmp_path / "two")
    assert one.keys() == two.keys()
    for run, entries in one.items():
        for entry, other in zip(entries, two[run], strict=True):
            assert entry["metrics"] == pytest.approx(other["metrics"], rel=1e-2)


COMMAND = "from seqeval_rl.benchmarks.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def test_four_shards_of_which_one_is_killed_and_begun_again_are_the_whole_sweep(tmp_path):
    """24 runs in one directory; the killed shard's command is given again."""
    sweep = sweep_of(tmp_path, seeds=6)
    run_sweep(sweep, tmp_path / "whole", "cpu", "gymnasium", progress=False)
    assert left(sweep, tmp_path / "whole") == 0
    suite = tmp_path / "launched.toml"
    streams = "".join(f'{{ name = "{s.name}", blocks = ["{s.sources[0]}"], task = "hopper" }},' for s in sweep.streams)
    suite.write_text(f"""
description = "24 runs"
algorithms = ["bc", "td3_bc"]
seeds = [0, 1, 2, 3, 4, 5]
streams = [{streams}]
protocol = {{ initial = 100, batch_size = 16, evaluate_every = 40, episodes = 1 }}
settings = {{ bc = {{ hidden = [16, 16] }}, td3_bc = {{ hidden = [16, 16] }} }}
""")
    out = tmp_path / "shards"

    def begin(index):
        options = ["run", str(suite), "--out", str(out), "--device", "cpu", "--environments", "gymnasium"]
        command = [sys.executable, "-W", "ignore", "-c", COMMAND, *options, "--shard", f"{index}/4"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    shards = [begin(index) for index in (1, 2, 3, 4)]
    until = time.monotonic() + 120
    while not list(out.glob("*/bc/*/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(shards[0].pid, signal.SIGKILL)
    assert [shard.wait() for shard in shards] == [-signal.SIGKILL, 0, 0, 0]
    assert 0 < left(sweep, out) < 24
    assert begin(1).wait() == 0
    assert len(found(out)) == 24
    assert same(tmp_path / "whole", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("events.jsonl")}
    assert begin(1).wait() == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("events.jsonl")} == before


def test_launchers_are_found_by_name_and_by_file(tmp_path):
    assert find_launcher("local") is LocalLauncher
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    def __init__(self, options): ...\n    def launch(self, request): return []\n")
    assert find_launcher(str(path)).__name__ == "Mine"
    assert run_sweep(sweep_of(tmp_path, seeds=1), tmp_path / "out", "cpu", launcher=f"{path}:Mine") == []
    with pytest.raises(UsageError, match=r"unknown launcher 'slrm' in --launcher: did you mean slurm"):
        find_launcher("slrm")
    with pytest.raises(UsageError, match=r"expected a method Path.launch, found none"):
        find_launcher("pathlib:Path")


@pytest.mark.parametrize("option", ["address", "partition", "time"])
def test_an_option_of_another_launcher_is_refused(option):
    with pytest.raises(UsageError, match=f"--{option} x: expected none with --launcher local"):
        LocalLauncher(LaunchOptions(**{option: "x"}))
