"""`seqeval bench --budget`: what a suite should cost on a GPU, computed from what an update consists of; runs on any machine.

A kernel takes the longest of three times: launching it, its products at the card's rate, and moving its bytes to and from the
card's memory. Sums over kernels are the device's time. The host's is that of drawing batches, and that of the environment steps
of evaluations, each as if all cores did nothing else. The longest of the three is what bounds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from seqeval_rl.benchmarks.speed.contenders import Problem
from seqeval_rl.benchmarks.speed.estimate import duration, estimate
from seqeval_rl.benchmarks.speed.group_cost import Extent, GroupCost
from seqeval_rl.benchmarks.speed.kernels import trace
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.device import Precision

RUNS = (1, 20)  # numbers of runs that are shown by default


@dataclass(frozen=True)
class Machine:
    """A card and its host; the defaults are an H100 (SXM) with 16 cores. Rates of a core were measured on an AMD EPYC."""

    name: str = "H100"
    flop_per_second: float = 67e12  # of float32 products
    rounded_flop_per_second: float = 494e12  # of float32 products whose factors are rounded to TF32
    bytes_per_second: float = 3.3e12  # between the card's memory and its processors
    seconds_per_kernel: float = 2e-6  # in a CUDA graph, at least
    cores: int = 16
    indices_per_core: float = 5e7  # drawn and looked up per second
    normals_per_core: float = 1e8  # drawn per second
    env_steps_per_core: float = 1e4  # of an evaluation, per second


@dataclass(frozen=True)
class Budget:
    """One algorithm with R runs: what an update of all runs needs, and the seconds that this takes."""

    algorithm: str
    runs: int
    kernels: float
    flop: float
    bytes: float
    indices: int  # drawn by the host
    normals: int  # drawn by the host
    launching: float  # seconds of the device, if launches were all
    computing: float  # if products were all
    moving: float  # if the card's memory were all
    device: float  # the sum over kernels of the longest of the three
    drawing: float  # seconds of the host, on all its cores
    evaluating: float  # seconds of the host, on all its cores, for an update's share of the environment steps
    env_steps: float  # that share

    @property
    def seconds(self) -> float:
        """Of an update, where device and host work at the same time."""
        return max(self.device, self.drawing, self.evaluating)

    @property
    def bound(self) -> str:
        """What takes longest."""
        device = {"launches": self.launching, "products": self.computing, "memory": self.moving}
        names = {max(device, key=lambda name: device[name]): self.device, "draws": self.drawing}
        names["evaluation"] = self.evaluating
        return max(names, key=lambda name: names[name])


def budget_of(
    entry: AlgorithmEntry,
    config: Any,
    problem: Problem,
    runs: int,
    env_steps: float,
    machine: Machine,
    precision: Precision,
) -> Budget:
    """The budget of R = `runs` runs, each of which takes that many environment steps of evaluation per update."""
    found = trace(entry, config, problem, runs)
    rate = machine.flop_per_second if precision == "float32" else machine.rounded_flop_per_second
    times = [
        (machine.seconds_per_kernel, kernel.flop / rate, kernel.bytes / machine.bytes_per_second)
        for kernel in found.kernels
    ]
    launching, computing, moving = (sum(column) / found.updates for column in zip(*times, strict=True))
    spec = problem.suited(entry).spec(runs, torch.device("meta"))
    indices = runs * problem.batch_size
    normals = indices * entry.noise_dim(config, spec)
    return Budget(
        entry.name, runs, len(found.kernels) / found.updates, found.flop_per_update,
        sum(kernel.bytes for kernel in found.kernels) / found.updates, indices, normals,
        launching, computing, moving, sum(map(max, times)) / found.updates,
        (indices / machine.indices_per_core + normals / machine.normals_per_core) / machine.cores,
        runs * env_steps / machine.env_steps_per_core / machine.cores, runs * env_steps,
    )  # fmt: skip


def budget(
    sweep: Sweep, runs: Sequence[int] = RUNS, machine: Machine | None = None, precision: Precision = "float32"
) -> dict[str, Any]:
    """The budget of each of a sweep's algorithms for those numbers of runs, on Hopper's shapes, and of the sweep itself, whose
    run groups are as large as if memory were no limit.

    Raises:
        SeqevalError: whatever is wrong with the sweep.
    """
    machine, bounds = machine or Machine(), dict[GroupCost, str]()

    def cost(entry: AlgorithmEntry, config: Any, size: Extent, protocol: Protocol, runs: int, *_: Any) -> GroupCost:
        problem = Problem(size.obs_shape, size.act_dim, protocol.batch_size, action_classes=size.action_classes)
        found = budget_of(entry, config, problem, runs, 0.0, machine, precision)
        of_a_step = runs * max(protocol.episodes, 1) / machine.env_steps_per_core / machine.cores
        made = GroupCost(found.seconds, 0.0, of_a_step)
        bounds[made] = found.bound
        return made

    whole = estimate(sweep, torch.device("cuda"), math.inf, cost)
    rows, parts = [], []
    for variant in sweep.variants():
        own = [each for each in whole.forecasts if each.algorithm == variant.directory]
        env_steps = [each.evaluations * each.episodes * (each.time_limit or 0) for each in own]
        per_update = sum(env_steps) / sum(each.updates for each in own)
        problem = Problem(batch_size=variant.protocol.batch_size)
        for r in runs:
            found = budget_of(variant.entry, variant.config, problem, r, per_update, machine, precision)
            rows.append(
                {**asdict(found), "algorithm": variant.directory, "seconds": found.seconds, "bound": found.bound}
            )
        training, evaluation = (sum(getattr(each.seconds, part) for each in own) for part in ("training", "evaluation"))
        parts.append(
            {
                "algorithm": variant.directory,
                "runs": sum(each.runs for each in own),
                "runs_per_group": max(each.runs_per_job for each in own),
                "updates": sum(each.runs * each.updates for each in own),
                "env_steps": sum(each.runs * number for each, number in zip(own, env_steps, strict=True)),
                "training": training,
                "evaluation": evaluation,
                "bound": "evaluation" if evaluation > training else bounds[own[0].cost],
            }
        )
    return {
        "what": "budget on paper: one kernel for each operation below automatic differentiation, nothing measured",
        "suite": sweep.name,
        "precision": precision,
        "machine": asdict(machine),
        "problem": {"obs_shape": list(Problem.obs_shape), "act_dim": Problem.act_dim},
        "rows": rows,
        "parts": parts,
        "groups": list(whole.groups),
        "seconds": whole.seconds,
    }


def as_table(report: dict[str, Any]) -> str:
    """The report as text."""
    machine, width = report["machine"], max(len("algorithm"), *(len(row["algorithm"]) for row in report["rows"]))
    rate = machine["flop_per_second" if report["precision"] == "float32" else "rounded_flop_per_second"]
    lines = [
        report["what"],
        f"{machine['name']}: {rate / 1e12:.0f} TFLOP/s at {report['precision']}, {machine['bytes_per_second'] / 1e12:.1f} TB/s, "
        f"{1e6 * machine['seconds_per_kernel']:g} us a kernel; {machine['cores']} cores, each "
        f"{machine['indices_per_core'] / 1e6:.0f} M indices/s, {machine['normals_per_core'] / 1e6:.0f} M normals/s, "
        f"{machine['env_steps_per_core']:,.0f} env steps/s",
        "",
        f"{'algorithm':<{width}} {'runs':>4} {'kernels':>8} {'GFLOP':>8} {'MB':>8} {'launches':>9} {'products':>9} {'memory':>8} "
        f"{'device':>8} {'draws':>7} {'evaluation':>10} {'run-updates/s':>14} {'draws/s':>9} {'env steps/s':>12}  bound",
    ]
    for row in report["rows"]:
        micro = [1e6 * row[name] for name in ("launching", "computing", "moving", "device", "drawing", "evaluating")]
        per_second = [
            each / row["seconds"] for each in (row["runs"], row["indices"] + row["normals"], row["env_steps"])
        ]
        lines.append(
            f"{row['algorithm']:<{width}} {row['runs']:>4} {row['kernels']:>8.1f} {row['flop'] / 1e9:>8.3f} "
            f"{row['bytes'] / 1e6:>8.1f} {micro[0]:>9.0f} {micro[1]:>9.0f} {micro[2]:>8.0f} {micro[3]:>8.0f} {micro[4]:>7.1f} "
            f"{micro[5]:>10.1f} {per_second[0]:>14,.0f} {per_second[1] / 1e6:>8.0f}M {per_second[2]:>12,.0f}  {row['bound']}"
        )
    lines += [
        "",
        f"{'algorithm':<{width}} {'runs':>5} {'in a group':>10} {'updates':>10} {'env steps':>10} {'training':>10} "
        f"{'evaluation':>10}  bound",
    ]
    for part in report["parts"]:
        lines.append(
            f"{part['algorithm']:<{width}} {part['runs']:>5} {part['runs_per_group']:>10} {part['updates'] / 1e6:>9.1f}M "
            f"{part['env_steps'] / 1e6:>9.1f}M {duration(part['training']):>10} {duration(part['evaluation']):>10}  "
            f"{part['bound']}"
        )
    sizes = sorted(Counter(report["groups"]).items(), reverse=True)
    groups = ", ".join(f"{count} of {size} runs" for size, count in sizes)
    lines += [
        "",
        f"{report['suite']}: {duration(report['seconds'])}; groups ({groups}) one after the other, each as long as the longer of",
        "training and evaluation. Every episode is as long as its time limit.",
        "Columns, per update of all runs: kernels, GFLOP of products, MB read and written; microseconds if launches, products",
        "or memory were all; those of the device (the sum over kernels of the longest of these), and of the host's cores for",
        "draws and for evaluation. The longest of device, draws and evaluation is the bound; run-updates, draws and env steps",
        "per second are those at that speed.",
    ]
    return "\n".join(lines)
