"""The budget on paper: kernels, FLOP and bytes are those counted by hand, and what bounds follows from them."""

import functools
import json
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings, strategies as st
from trainers import ALGORITHMS

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.benchmarks.speed import budget
from seqeval_rl.benchmarks.speed.budget import Budget, Machine, budget_of
from seqeval_rl.benchmarks.speed.contenders import Problem
from seqeval_rl.benchmarks.speed.kernels import Kernel, Kernels, trace
from seqeval_rl.benchmarks.speed.roofline import record
from seqeval_rl.errors import UsageError
from seqeval_rl.experiments.grouping import random_batch
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm
from seqeval_rl.protocol import Protocol, Schedule

SMALL = Problem(obs_shape=(5,), act_dim=2, batch_size=4)


@functools.cache
def small(name):
    entry = find_algorithm(name)
    return entry, entry.configure({"hidden": (16, 8)}, "a test")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_operations_are_kernels_unless_they_are_views_or_only_allocate(device):
    x, index = torch.zeros(6, 4, device=device), torch.zeros(2, dtype=torch.int64, device=device)
    with Kernels(1) as found:
        y = x.mT[:2].unsqueeze(0).detach()  # views
        z = torch.empty(4, 6, device=device)  # only allocates
        y = y + 1  # reads 12 numbers, writes 12
        x.mul_(2.0)  # reads and writes 24
        z.copy_(x.mT)  # reads 24, writes 24
        x.index_select(0, index)  # reads 2 indices and 2 rows, writes 2 rows
        torch._foreach_add_([x, z], [x, z])  # one kernel: reads 96, writes 48
        x.sum(0, keepdim=True).expand(6, 4) * x  # a sum of 24 to 4; then 4 expanded and 24 to 24
        torch.mm(z, x, out=torch.empty(4, 4, device=device))
    assert found.kernels == [
        Kernel("add", 0, 4 * 24),
        Kernel("mul_", 0, 4 * 48),
        Kernel("copy_", 0, 4 * 48),
        Kernel("index_select", 0, 8 * 2 + 4 * 16),
        Kernel("_foreach_add_", 0, 4 * 144),
        Kernel("sum", 0, 4 * 28),
        Kernel("mul", 0, 4 * 52),
        Kernel("mm", 2 * 4 * 6 * 4, 4 * (24 + 24 + 16)),
    ]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_update_on_paper_has_the_products_of_one_that_is_computed(name):
    entry, config = small(name)
    spec = SMALL.suited(entry).spec(2, torch.device("cpu"))
    algorithm = entry.build(config, spec)
    batch = random_batch(spec, SMALL.batch_size, entry.noise_dim(config, spec), entry.columns(config))
    computed = record(lambda: algorithm.update(batch), getattr(algorithm, "period", 1))
    found = trace(entry, config, SMALL, 2)
    assert found.flop_per_update == computed.flop_per_update == sum(k.flop for k in found.kernels) / found.updates
    # The gathering of the batch is kernels, too.
    names = [kernel.name for kernel in found.kernels]
    # The draws of this step: indices and noise; the rows; and what the batch has of other transitions.
    assert names.count("index_select") == (3 + len(entry.columns(config))) * found.updates
    assert all(kernel.bytes > 0 for kernel in found.kernels if "noise" not in kernel.name)


def test_more_runs_are_more_work_in_as_many_kernels():
    entry, config = small("td3_bc")
    one, three = (trace(entry, config, SMALL, runs) for runs in (1, 3))
    assert [kernel.name for kernel in three.kernels] == [kernel.name for kernel in one.kernels]
    assert three.flop_per_update == 3 * one.flop_per_update
    adam = [sum(k.bytes for k in found.kernels if k.name == "_fused_adam_") for found in (one, three)]
    assert adam == [one.adam_bytes, 3 * one.adam_bytes]


class ReadsOnTheHost:
    """A plug-in that cannot be traced."""

    @dataclass(frozen=True)
    class Config:
        """No settings."""

    vectorized = True

    def __init__(self, config, spec):
        self.mean = torch.zeros(spec.runs, spec.act_dim, device=spec.device)

    def update(self, batch):
        return {"mean": self.mean.mean(1)} if batch.rewards.mean().item() else {}

    def state_dict(self):
        return {}


def test_an_algorithm_that_needs_numbers_is_named():
    entry = AlgorithmEntry("made", "a:test", ReadsOnTheHost)
    with pytest.raises(
        UsageError, match="made: expected an algorithm that can be traced on torch's meta device, found"
    ):
        trace(entry, ReadsOnTheHost.Config(), SMALL, 1)


@settings(max_examples=30)
@given(st.floats(1e9, 1e15), st.floats(1e9, 1e13), st.floats(0, 1e-3), st.integers(1, 64))
def test_the_longest_part_bounds(flop, moved, launch, cores):
    machine = Machine(flop_per_second=flop, bytes_per_second=moved, seconds_per_kernel=launch, cores=cores)
    found = _budget(machine)
    assert max(found.launching, found.computing, found.moving) <= found.device * (1 + 1e-9)
    assert found.device <= (found.launching + found.computing + found.moving) * (1 + 1e-9)
    assert found.seconds == max(found.device, found.drawing, found.evaluating)
    times = {
        "launches": found.device, "products": found.device, "memory": found.device, "draws": found.drawing,
        "evaluation": found.evaluating,
    }  # fmt: skip
    assert times[found.bound] == found.seconds
    assert _budget(Machine(cores=2 * cores)).drawing == pytest.approx(_budget(Machine(cores=cores)).drawing / 2)


@functools.cache
def _traced() -> Kernels:
    return trace(*small("bc"), SMALL, 2)


def _budget(machine, precision="float32") -> Budget:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "trace", lambda *_: _traced())
        return budget_of(*small("bc"), SMALL, 2, 2.0, machine, precision)


def test_only_products_are_faster_with_rounded_factors():
    exact, rounded = (_budget(Machine(), precision) for precision in ("float32", "tf32"))
    assert rounded.computing == pytest.approx(exact.computing * 67 / 494)
    assert (rounded.moving, rounded.launching) == (exact.moving, exact.launching)


def test_a_budget_is_printed_and_saved_without_a_gpu(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    target = tmp_path / "budget.json"
    command = ["bench", "--budget", "mujoco", "--mini", "--algorithms", "td3_bc,bc", "--runs", "1,5", "--threads", "8"]
    assert main([*command, "--json", str(target)]) == 0
    shown, report = capsys.readouterr().out, json.loads(target.read_text())
    assert budget.as_table(report) in shown
    for word in ("mujoco (mini)", "bound", "67 TFLOP/s", "8 cores", "2 of 2 runs"):
        assert word in shown
    assert [(row["algorithm"], row["runs"]) for row in report["rows"]] == [
        ("td3_bc", 1), ("td3_bc", 5), ("bc", 1), ("bc", 5),
    ]  # fmt: skip
    # Two streams of 420 transitions, 200 of them visible at first, 10 more each time; one episode of at most 1 000 steps.
    schedule = Schedule(Protocol(initial=200, increment=10, batch_size=32, evaluate_every=100, episodes=1), 420)
    steps = 1000 * len(schedule.points())
    for part in report["parts"]:
        assert (part["runs"], part["runs_per_group"]) == (2, 2)
        assert (part["updates"], part["env_steps"]) == (2 * schedule.gradient_steps, 2 * steps)
    for row in report["rows"]:
        assert row["env_steps"] == pytest.approx(row["runs"] * steps / schedule.gradient_steps)
        noise = 3 if row["algorithm"] == "td3_bc" else 0
        assert (row["indices"], row["normals"]) == (32 * row["runs"], 32 * row["runs"] * noise)
    assert report["groups"] == [2, 2]
    assert report["seconds"] == pytest.approx(sum(max(p["training"], p["evaluation"]) for p in report["parts"]))
    assert not (tmp_path / "cache").exists()
