"""`seqeval bench --profile`: which kernels an update's time goes to, and how much of it lies between them; by torch's profiler.

On CUDA these are the kernels and copies of the device, on a CPU torch's operations, those that another one calls not counted.
The learner trains as in `seqeval run`. The profiler slows the host down, so on a CPU the gaps are longer than without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile as profiler

from seqeval_rl.benchmarks.speed.contenders import LearnerLoop, Problem
from seqeval_rl.benchmarks.speed.updates import as_words
from seqeval_rl.experiments.grouping import timed
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.results.manifest import describe_provenance
from seqeval_rl.training.batch_sampler import CHUNK
from seqeval_rl.training.device import torch_threads
from seqeval_rl.utils.processes import available_cores

SECONDS = 0.5  # least duration of what is profiled, unless these are many updates
MOST = 2 * CHUNK  # updates that are profiled at most, if a period is not longer
SHOWN = 10  # kernels in the table
# Words in the template arguments of many kernels, which do not tell them apart.
_PLUMBING = re.compile(
    "gpu_kernel_impl|ReduceOp|func_wrapper|Tensor(Iterator|List)|Offset|Cast$|Functor$|Params|_internal$"
)
_TYPES = {"unsigned", "double", "lambda", "operator", "Scalar"}


def profile(
    entries: Sequence[AlgorithmEntry],
    runs: Sequence[int],
    device: torch.device,
    threads: int,
    problem: Problem | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Profile; returns the machine's description and one row per algorithm and number of runs that train together, with all of
    its kernels, those first that take most time. `threads` are those of torch; 0: all cores. `settings` are those of
    algorithms, by name. Raises `UsageError` where an algorithm refuses its own."""
    with torch_threads(threads or available_cores()):
        rows = [
            _row(entry, r, device, problem, (settings or {}).get(entry.name, {})) for entry in entries for r in runs
        ]
        return {
            "what": "kernels of an update and the gaps between them, by torch's profiler; microseconds",
            "problem": asdict(problem or Problem()),
            "settings": settings or {},
            "threads": torch.get_num_threads(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            **describe_provenance(str(device)),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "rows": rows,
        }


def _row(
    entry: AlgorithmEntry, runs: int, device: torch.device, problem: Problem | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The kernels of some updates of R = `runs` runs; each figure per update."""
    config = entry.configure(settings, "the profile")
    problem = Problem.usual(entry, config) if problem is None else problem.suited(entry)
    loop = LearnerLoop(entry, config, problem.spec(runs, device), problem)
    loop.warm_up()
    updates = loop.period
    while (taken := timed(partial(loop.train, updates), device)) < SECONDS and 2 * updates <= MOST:
        updates *= 2
    cuda = device.type == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else torch's profiler writes to stderr that it starts and stops
    # With `acc_events`, since torch 2.11 warns without it that several cycles would not be kept.
    with profiler(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU], acc_events=True) as found:
        timed(partial(loop.learner.train, loop.done, loop.done + updates, lambda _: None), device)
    spans: list[tuple[float, float]] = []
    kernels: dict[str, list[float]] = {}
    for event in found.events() or ():
        if event.device_type == DeviceType.CUDA if cuda else _outermost(event):
            spans.append((event.time_range.start, event.time_range.end))
            kernels.setdefault(event.name, []).append(event.time_range.elapsed_us())
    busy, span = covered(spans), max(end for _, end in spans) - min(start for start, _ in spans)
    largest = sorted(kernels.items(), key=lambda item: -sum(item[1]))
    return {
        "algorithm": entry.name,
        "runs": runs,
        "updates": updates,
        "updates_per_second": updates / taken,  # without the profiler
        "kernels": len(spans) / updates,
        "busy": busy / updates,
        "span": span / updates,
        "gaps": (span - busy) / updates,
        "by_kernel": [
            {"name": name, "count": len(each) / updates, "mean": sum(each) / len(each), "share": sum(each) / span}
            for name, each in largest
        ],
    }


def _outermost(event: Any) -> bool:
    """Whether this is an operation of torch that no other one has called."""
    parent, own = event.cpu_parent, event.name.startswith("aten::")
    while own and parent is not None:
        own, parent = not parent.name.startswith("aten::"), parent.cpu_parent
    return own


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Total length of intervals (start, end), overlaps counted once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def short(name: str) -> str:
    """A kernel's name without namespaces, types and the words that many kernels share; at most 70 characters."""
    name = re.sub(
        r"std::enable_if.*?::type |\(anonymous namespace\)::|\b(at|native|c10|std|internal)::|^void ", "", name
    )
    head, _, rest = name.partition("<")
    words = [word for word in re.findall(r"[A-Za-z_]\w{5,}", rest) if word not in head and word not in _TYPES]
    words = [word for word in words if not _PLUMBING.search(word)]
    return " ".join([head, *dict.fromkeys(words)])[:70].strip()


def as_table(report: dict[str, Any]) -> str:
    """The report as text."""
    problem, versions = report["problem"], report["versions"]
    what = "kernel" if report["gpu"] else "operation"
    lines = [
        report["what"],
        f"batch {problem['batch_size']}, observations {'x'.join(map(str, problem['obs_shape']))}, actions "
        f"{problem['act_dim']}; float32 products at {report['float32_matmul_precision']!r}",
        f"{report['gpu'] or report['processor']}, {report['threads']} threads, torch {versions['torch']}, revision "
        f"{report['git_revision']}",
        *as_words(report["settings"]),
    ]
    for row in report["rows"]:
        lines += [
            "",
            f"{row['algorithm']}, runs {row['runs']}: {row['updates_per_second']:.1f} updates/s; per update "
            f"{row['kernels']:.1f} {what}s, busy {row['busy']:.1f} of {row['span']:.1f} us, gaps {row['gaps']:.1f} us "
            f"({row['gaps'] / row['span']:.1%})",
            f"{'count':>8} {'mean us':>9} {'share':>7}  {what}",
        ]
        for each in row["by_kernel"][:SHOWN]:
            lines.append(f"{each['count']:>8.2f} {each['mean']:>9.2f} {each['share']:>7.1%}  {short(each['name'])}")
        rest = row["by_kernel"][SHOWN:]
        if rest:
            share = sum(each["share"] for each in rest)
            lines.append(f"{sum(each['count'] for each in rest):>8.2f} {'':>9} {share:>7.1%}  {len(rest)} others")
    return "\n".join(lines)
