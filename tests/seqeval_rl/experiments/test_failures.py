"""A failure costs only itself: processes that die, memory that does not suffice, plug-ins that change their process."""

import re
import signal
import time
from dataclasses import replace

import hangs
import numpy as np
import pytest
import torch
from groups import CPU, found, jobs_in, one_group, write_dataset
from synthetic import npz

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.patience import Patience
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import SeqevalError
from seqeval_rl.experiments import grouping
from seqeval_rl.experiments.grouping import cost_of_update
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.scheduler import raise_crashed, run_sweep
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.experiments.worker import execute
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.results.read import read_results
from seqeval_rl.training.learner import Learner


@pytest.fixture
def jobs(tmp_path):
    """See `groups.jobs_in`."""
    return jobs_in(tmp_path)


PLUG_IN = """
import os, signal
import torch
from seqeval_rl.algorithms.bc import BC

class Killed(BC):
    count = 0
    def update(self, batch):
        Killed.count += 1
        if Killed.count == 30 or {always}:
            os.kill(os.getpid(), signal.{signal})
        return super().update(batch)
"""


def sweep_of(tmp_path, *algorithms, seeds=(0,)):
    entries = tuple(find_algorithm(each) for each in algorithms)
    stream = write_dataset(tmp_path / "data.npz", [100, 50], seed=0)
    protocol = Protocol(initial=100, batch_size=16, evaluate_every=40, episodes=1)
    settings = {entry.name: {"hidden": (16, 16)} for entry in entries}
    return Sweep("failures", (stream,), entries, protocol, seeds, settings)


COUNTING = """
import torch
from seqeval_rl.algorithms.bc import BC

class Counting(BC):
    def update(self, batch):
        metrics = super().update(batch)
        return {**metrics, "actor/threads": torch.full_like(metrics["actor/loss"], torch.get_num_threads())}
"""


@pytest.mark.parametrize("allowed", ["1", "2"])
def test_a_worker_uses_no_more_threads_than_the_user_allows(allowed, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    monkeypatch.setattr("seqeval_rl.experiments.pool.available_cores", lambda: 2)
    (tmp_path / "counting.py").write_text(COUNTING)
    sweep = sweep_of(tmp_path, f"{tmp_path / 'counting.py'}:Counting")
    run_sweep(sweep, tmp_path / "out", "cpu", "gymnasium", progress=False)
    (run,) = read_results(tmp_path / "out")
    assert run.evaluations.metric("actor/threads")[-1] == int(allowed)


@pytest.mark.parametrize(("killed_by", "always"), [("SIGSEGV", False), ("SIGKILL", True)])
def test_a_process_that_dies_costs_the_runs_of_its_group_one_attempt(killed_by, always, tmp_path):
    """The bad algorithm is the first of the list; with `always` it also dies when its cost is measured."""
    bad = tmp_path / f"{killed_by.lower()}_killed.py"
    bad.write_text(PLUG_IN.format(signal=killed_by, always=always))
    sweep = sweep_of(tmp_path, f"{bad}:Killed", "bc")
    out = tmp_path / "out"
    ends = {end.directory.parent.name: end for end in run_sweep(sweep, out, "cpu", "gymnasium", progress=False)}
    assert {name: end.status for name, end in ends.items()} == {"killed": "crashed", "bc": "finished"}
    assert f"its process was killed by {killed_by}" in ends["killed"].message
    with pytest.raises(
        SeqevalError, match=f"1 run crashed, first .*killed.seed-0: its process was killed by {killed_by}"
    ):
        raise_crashed(ends.values())
    results = {result.algorithm: result for result in read_results(out)}
    assert (results["killed"].crashed, results["killed"].failure) == (True, ends["killed"].message)
    assert len(results["killed"].evaluations) == (1 if always else 2)
    # The same command tries the run again, and it alone.
    bad.write_text(PLUG_IN.format(signal=killed_by, always=False).replace("== 30", "< 0"))
    (end,) = run_sweep(sweep, out, "cpu", "gymnasium", progress=False, allow_changed_code=True)
    assert (end.directory.parent.name, end.status) == ("killed", "finished")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_group_for_which_memory_does_not_suffice_continues_in_halves(error, jobs, tmp_path, monkeypatch):
    train, taken = Learner.train, []

    def allocates(learner, start, stop, progress):
        runs = len(learner.batches.seeds)
        if runs == 3 or (runs == 2 and start >= 20):
            raise error
        taken.append((runs, start))
        train(learner, start, stop, progress)

    monkeypatch.setattr(Learner, "train", allocates)
    reported = []
    ends = execute(one_group(jobs(tmp_path / "out")), 0, reported.append, 1)
    assert [end.status for end in ends] == ["finished"] * 3
    assert [runs for runs, start in taken if start == 0] == [2, 1]
    assert {runs for runs, start in taken if start > 0} == {1}
    warnings = [text for progress in reported for text in progress.warnings]
    sizes = [(3, 2), (2, 1)]
    for text, (runs, half) in zip(warnings, sizes, strict=True):
        assert f"out of memory with {runs} runs in a group, which continue with {half} at a time" in text
    assert all("\n" not in text for text in warnings)
    assert [progress.share for progress in reported if progress.share > 1] == []
    for job in jobs(tmp_path / "alone"):
        execute(job, 0, lambda _: None, 1)
    halved, alone = found(tmp_path / "out"), found(tmp_path / "alone")
    for run, entries in halved.items():
        assert [e["transitions"] for e in entries] == [e["transitions"] for e in alone[run]]
        assert entries[-1]["metrics"] == pytest.approx(alone[run][-1]["metrics"], rel=1e-5)


def test_a_run_for_which_memory_does_not_suffice_alone_crashes(jobs, tmp_path, monkeypatch):
    def allocates(learner, start, stop, progress):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Learner, "train", allocates)
    ends = execute(one_group(jobs(tmp_path / "out")), 0, lambda _: None, 1)
    assert {(end.status, "CUDA out of memory" in end.message) for end in ends} == {("crashed", True)}


def test_what_a_plug_in_sets_does_not_reach_later_runs_of_its_process(jobs, tmp_path):
    first, *_ = jobs(tmp_path / "alone")
    execute(first, 0, lambda _: None, 1)
    source = tmp_path / "spoils.py"
    source.write_text(
        "import torch\nfrom seqeval_rl.algorithms.bc import BC\n\nclass Spoils(BC):\n    def update(self, batch):\n"
        "        metrics = super().update(batch)\n        torch.set_grad_enabled(False)\n"
        "        torch.set_default_dtype(torch.float64)\n        return metrics\n"
    )
    reference = find_algorithm(f"{source}:Spoils").reference
    (again, *_) = jobs(tmp_path / "after")
    spoiled = replace(again, algorithm=reference, runs=(replace(again.runs[0], directory=tmp_path / "spoiled"),))
    (end,) = execute(spoiled, 0, lambda _: None, 1)
    assert end.status == "crashed"  # its own second update has no gradients
    execute(again, 1, lambda _: None, 1)
    assert found(tmp_path / "after") == found(tmp_path / "alone")


def hanging(tmp_path, env_id, seeds, **patience):
    """A sweep in an environment that hangs in some of its episodes."""
    rng = np.random.default_rng(0)
    path = npz(
        tmp_path / "data.npz", observations=rng.standard_normal((300, 2)), next_observations=rng.standard_normal((300, 2)),
        actions=rng.uniform(-1, 1, (300, 1)),
    )  # fmt: skip
    task = Task("hangs", env_id, 0.0, 5.0)
    protocol = Protocol(initial=50, batch_size=16, evaluate_every=50, episodes=2)
    return Sweep(
        "hangs", (StreamSpec("data", (str(path),), task),), (find_algorithm("bc"),), protocol, seeds,
        {"bc": {"hidden": (8, 8)}}, patience=Patience(**patience),
    )  # fmt: skip


def test_an_environment_that_hangs_ends_its_run_and_its_group_continues(tmp_path, registry):
    """The first run meets the trouble at evaluation 4, the second at 2, the third never, see `test_worker`."""
    sweep = hanging(tmp_path, hangs.register("sleep", every=13), (0, 1, 2), step=1.0)
    jobs = plan(sweep, tmp_path / "out", CPU, "gymnasium", False).jobs
    ends = execute(one_group(jobs), 0, lambda _: None, 1)
    assert [end.status for end in ends] == ["crashed", "crashed", "finished"]
    assert re.search(
        r"environment 'test/Hangs-v0': OverdueError: no answer within --step-timeout = 1 s \(.*hangs.py, line \d+\) in "
        r"evaluation episode \d at time index 2 \(environment seed \d+\) at 250 transitions",
        ends[0].message,
    )


def test_an_environment_that_cannot_be_interrupted_costs_the_run_its_process(tmp_path, registry):
    sweep = hanging(tmp_path, "hangs:test/HangsInLibrary-v0", (0, 2), step=5.0, grace=1.0)
    ends = run_sweep(sweep, tmp_path / "out", "cpu", "gymnasium", progress=False)
    assert {end.directory.name: end.status for end in ends} == {"seed-0": "crashed", "seed-2": "finished"}
    message = next(end.message for end in ends if end.status == "crashed")
    assert "an environment gave no answer within --step-timeout = 5 s" in message


def test_a_run_that_has_diverged_is_tried_again_where_that_is_asked_for(tmp_path):
    class Diverges(BC):  # in no file, so that it runs in this process
        scale = float("nan")

        def update(self, batch):
            return {name: value * self.scale for name, value in super().update(batch).items()}

    sweep, out = sweep_of(tmp_path, Diverges, "bc"), tmp_path / "out"

    def run(**fields):
        ends = run_sweep(replace(sweep, **fields), out, "cpu", "gymnasium", progress=False)
        return {end.directory.parent.name: end.status for end in ends}

    assert run() == {"diverges": "failed", "bc": "finished"}
    assert run() == {"diverges": "failed"}
    events = out / "data/diverges/seed-0/events.jsonl"
    assert events.read_text().count('"attempt"') == 1
    assert run(retry_failed=True) == {"diverges": "failed"}
    assert events.read_text().count('"attempt"') == 2
    Diverges.scale = 1.0
    assert plan(sweep, out, CPU, "gymnasium", progress=False).jobs == ()
    (job,) = plan(replace(sweep, retry_failed=True), out, CPU, "gymnasium", progress=False).jobs
    assert [end.status for end in execute(job, 0, lambda _: None, 1)] == ["finished"]
    assert {result.status for result in read_results(out)} == {"finished"}


class Sleeps(BC):
    """Hangs in the method that is named."""

    at = ""

    def _hang(self, method):
        if method == self.at:
            time.sleep(60.0)

    def update(self, batch):
        self._hang("update")
        return super().update(batch)

    def act(self, observations, noise):
        self._hang("act")
        return super().act(observations, noise)

    def state_dict(self):
        self._hang("state_dict")
        return super().state_dict()


@pytest.mark.parametrize("method", ["update", "act", "state_dict"])
def test_an_algorithm_that_hangs_ends_its_runs_and_the_sweep_continues(method, tmp_path):
    class Hangs(Sleeps):  # in no file, so that it runs in this process
        at = method

    sweep = replace(sweep_of(tmp_path, Hangs, "bc"), patience=Patience(update=3.0))
    began = time.monotonic()
    ends = run_sweep(sweep, tmp_path / "out", "cpu", "gymnasium", progress=False)
    assert {end.directory.parent.name: end.status for end in ends} == {"hangs": "crashed", "bc": "finished"}
    message = next(end.message for end in ends if end.status == "crashed")
    where = " in gradient step 0" if method == "update" else ""
    assert message.startswith(f"OverdueError: no answer within --update-timeout = 3 s{where} (")
    assert re.search(r"test_failures.py, line \d+\)$", message)
    assert time.monotonic() - began < 30
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_algorithm_that_cannot_be_interrupted_costs_the_run_its_process(tmp_path, monkeypatch):
    monkeypatch.setattr(grouping, "_measured_apart", cost_of_update)  # a process less
    bad = tmp_path / "hangs_in_library.py"
    bad.write_text(
        "from seqeval_rl.algorithms.bc import BC\n\nclass Hangs(BC):\n    count = 0\n    def update(self, batch):\n"
        "        Hangs.count += 1\n        if Hangs.count == 20:\n            sum(range(10**11))\n"
        "        return super().update(batch)\n"
    )
    sweep = replace(sweep_of(tmp_path, f"{bad}:Hangs"), patience=Patience(update=4.0, grace=0.5))
    (end,) = run_sweep(sweep, tmp_path / "out", "cpu", "gymnasium", progress=False)
    assert "its process was killed: its algorithm gave no answer within --update-timeout = 4 s" in end.message
    assert read_results(tmp_path / "out")[0].crashed
