"""Measures updates per second: the learner compared with bare updates, a plain loop and the machine's limit, interleaved."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from seqeval_rl.benchmarks.speed.contenders import Contenders, Problem
from seqeval_rl.benchmarks.speed.roofline import copy_rate
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.results.manifest import describe_provenance
from seqeval_rl.training.cuda_graph_learner import WARM_UP
from seqeval_rl.training.device import torch_threads
from seqeval_rl.utils.files import atomic_write
from seqeval_rl.utils.processes import available_cores

SECONDS = {"cuda": 0.5, "cpu": 2.0}  # target duration of one measurement
TURNS = 8  # parts of a measurement, between which the others have their turn, so that what slows the machine slows all
LEAST = 2  # smallest number of updates of one part
_EARLIER_NAMES = {"engine": "learner", "engine_over_bare": "learner_over_bare"}  # in saved reports
RUNS = {"cuda": (1, 5, 20, 40), "cpu": (1, 2, 4)}  # numbers of runs that are measured by default


def bench(
    entries: Sequence[AlgorithmEntry],
    runs: Sequence[int],
    device: torch.device,
    threads: int,
    repeats: int,
    problem: Problem | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure; returns the machine's description and one row per algorithm and number of runs R that train together.

    Reported are medians of `repeats` measurements of each contender, with that many `threads` of torch; 0: all cores. `settings`
    are those of algorithms, by name. Raises `UsageError` where an algorithm refuses its own.
    """
    with torch_threads(threads or available_cores()):
        rate = copy_rate(device)
        rows = []
        for entry, r in tqdm([(entry, r) for entry in entries for r in runs], desc="bench", unit="row"):
            config = entry.configure((settings or {}).get(entry.name, {}), "the benchmark")
            own = problem or Problem.usual(entry, config)
            row = _row(Contenders(entry, r, device, own, config), repeats, rate)
            rows.append(row | {"batch_size": own.batch_size, "obs_shape": own.obs_shape, "act_dim": own.act_dim})
        return {
            "what": "updates per second; ratios are medians over repeats, in each of which all contenders ran in turn",
            "problem": asdict(problem or Problem()),
            "settings": settings or {},
            "repeats": repeats,
            "seconds_aimed_at": SECONDS[device.type],
            "threads": torch.get_num_threads(),
            "torch_settings": _torch_settings(device),
            **describe_provenance(str(device)),
            "copy_bytes_per_second": rate,
            "rows": rows,
        }


def _row(contenders: Contenders, repeats: int, rate: float) -> dict[str, Any]:
    """Every measurement of one algorithm and number of runs, and the ratios; None where a contender is absent."""
    updates, seconds = {}, SECONDS[contenders.device.type]
    for name in contenders.by_name:
        # Not timed: a capture and whatever is compiled take long, and would make the measurements far too short.
        contenders.by_name[name]((WARM_UP + 2) * contenders.period)
        some = contenders.period
        while (taken := contenders.seconds(name, some)) < seconds / TURNS:
            some *= 2
        updates[name] = contenders.whole_periods(max(LEAST, seconds * some / taken / TURNS))
    speeds: dict[str, list[float]] = {name: [] for name in updates}
    for _ in range(repeats):
        total = dict.fromkeys(updates, 0.0)
        for _ in range(TURNS):
            for name in contenders.by_name:
                total[name] += contenders.seconds(name, updates[name])
        for name in updates:
            speeds[name].append(TURNS * updates[name] / total[name])

    def median(values: Any) -> float:
        return float(np.median(values))

    learner, recording = np.array(speeds["learner"]), contenders.recording
    products, adam = speeds.get("products"), recording.adam_bytes / recording.updates
    return {
        "algorithm": contenders.entry.name,
        "runs": contenders.runs,
        "period": contenders.period,
        "updates_per_measurement": {name: TURNS * count for name, count in updates.items()},
        "updates_per_second": speeds,
        "medians": {name: median(values) for name, values in speeds.items()},
        "run_updates_per_second": median(learner) * contenders.runs,
        # Ratios of measurements that followed each other, so that slow changes of the machine's speed cancel.
        "learner_over_bare": median(learner / speeds["bare"]),
        "runs_over_eager": median(learner * contenders.runs / speeds["eager"]),
        "share_of_ceiling": median(learner / products) if products else None,
        "flop_per_update": recording.flop_per_update,
        "flop_per_second": median(learner) * recording.flop_per_update,
        "ceiling_flop_per_second": median(products) * recording.flop_per_update if products else None,
        "adam_bytes_per_update": adam,
        "share_of_copy_rate": median(learner) * adam / rate if adam else None,
    }


def as_words(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Settings of algorithms as lines of a table: `bc: best 0.1.`"""
    return [
        f"{name}: {', '.join(f'{key} {json.dumps(value)}' for key, value in own.items())}."
        for name, own in settings.items()
    ]


def _torch_settings(device: torch.device) -> dict[str, Any]:
    """What torch's speed depends on, apart from its version and its threads."""
    settings: dict[str, Any] = {
        "default_dtype": str(torch.get_default_dtype()),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        settings |= {"cuda": torch.version.cuda, "gpu": properties.name, "gpu_memory_bytes": properties.total_memory}
        settings["gpu_multiprocessors"] = properties.multi_processor_count
    return settings


def as_table(report: dict[str, Any]) -> str:
    """The report as text; also one saved by an earlier version."""
    problem, versions, settings = report["problem"], report["versions"], report["torch_settings"]
    place = settings.get("gpu", f"{report['threads']} threads")
    lines = [
        report["what"],
        f"{_sizes(problem)}; float32 products at {settings['float32_matmul_precision']!r}; medians of {report['repeats']}",
        f"{report['device']} ({place}), {report['processor']}, {report['platform']}; "
        f"copying memory moves {report['copy_bytes_per_second'] / 1e9:.1f} GB/s",
        ", ".join(f"{name} {versions[name]}" for name in ("python", "seqeval-rl", "torch", "numpy"))
        + f", revision {report['git_revision']}",
        "",
        f"{'algorithm':<12} {'runs':>4} {'updates/s':>10} {'run-updates/s':>14} {'learner/bare':>13} {'over eager':>11} "
        f"{'of ceiling':>11} {'GFLOP/update':>13} {'GFLOP/s':>9} {'Adam/copy':>10}",
    ]
    for row in report["rows"]:
        row = {_EARLIER_NAMES.get(key, key): value for key, value in row.items()}
        medians = {_EARLIER_NAMES.get(key, key): value for key, value in row["medians"].items()}
        lines.append(
            f"{row['algorithm']:<12} {row['runs']:>4} {medians['learner']:>10.1f} "
            f"{row['run_updates_per_second']:>14.1f} {row['learner_over_bare']:>13.3f} {row['runs_over_eager']:>11.2f} "
            f"{_share(row['share_of_ceiling']):>11} {row['flop_per_update'] / 1e9:>13.3f} "
            f"{row['flop_per_second'] / 1e9:>9.1f} {_share(row['share_of_copy_rate']):>10}"
        )
    lines += [
        "",
        "updates/s: gradient steps of all runs together, by the learner; run-updates/s: that times runs. learner/bare: ratio",
        "to the same updates on one batch. over eager: ratio of run-updates/s to those of a plain loop with one run. of",
        "ceiling: ratio to the update's matrix products alone. Adam/copy: ratio of the bytes that Adam must move to those",
        "that are copied in the same time. -: no such work.",
    ]
    others = {
        f"{row['algorithm']}: {_sizes(row)}." for row in report["rows"] if _sizes(problem | row) != _sizes(problem)
    }
    lines += sorted(others)
    lines += as_words(report.get("settings", {}))
    if report["device"] == "cpu" and any(row["runs"] > 1 for row in report["rows"]):
        lines.append("On a CPU `seqeval run` does not train runs together: it gives each core a run of its own.")
    return "\n".join(lines)


def _sizes(sizes: Mapping[str, Any]) -> str:
    shape = "x".join(map(str, sizes["obs_shape"]))
    return f"batch {sizes['batch_size']}, observations {shape}, actions {sizes['act_dim']}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def save(report: dict[str, Any], target: Path) -> None:
    """Write the report as JSON, atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(target, json.dumps(report, indent=1) + "\n")
