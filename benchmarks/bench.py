"""The speed benchmark: updates per second through the engine beside bare updates, interleaved, medians of several repeats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from seqeval_rl.environments import available_cores
from seqeval_rl.recording import surroundings, write_whole
from seqeval_rl.registry import AlgorithmEntry
from seqeval_rl.speed import Contest

SECONDS = 2.0  # aimed at for one measurement


def bench(
    entries: Sequence[AlgorithmEntry], runs: Sequence[int], device: torch.device, threads: int, repeats: int
) -> dict[str, Any]:
    """Measure; returns the machine's description and one row per algorithm and stack size."""
    torch.set_num_threads(threads or available_cores())
    rows = []
    contests = [(entry, r) for entry in entries for r in runs]
    for entry, r in tqdm(contests, desc="bench", unit="row"):
        contest = Contest(entry, r, device)
        contest.run_bare(3), contest.run_engine(3)
        updates = max(10, round(SECONDS / (contest.run_bare(5) / 5)))
        bare, engine = [], []
        for _ in range(repeats):
            bare.append(updates / contest.run_bare(updates))
            engine.append(updates / contest.run_engine(updates))
        rows.append(
            {
                "algorithm": entry.name,
                "runs": r,
                "updates_per_measurement": updates,
                "bare_updates_per_second": bare,
                "engine_updates_per_second": engine,
                "bare_median": float(np.median(bare)),
                "engine_median": float(np.median(engine)),
                # Of pairs that ran one after the other: the machine's slow drifts cancel.
                "ratio": float(np.median(np.divide(engine, bare))),
            }
        )
    return {
        "what": "updates per second, batch 256, observations 11, actions 3, float32",
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        **surroundings(str(device)),
        "rows": rows,
    }


def as_table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{report['what']}; {report['device']}, {report['threads']} threads, {report['processor']}",
        f"{'algorithm':<12} {'runs':>4} {'bare':>9} {'engine':>9} {'engine/bare':>12} {'run-updates/s':>14}",
    ]
    lines += [
        f"{row['algorithm']:<12} {row['runs']:>4} {row['bare_median']:>9.1f} {row['engine_median']:>9.1f} "
        f"{row['ratio']:>12.3f} {row['engine_median'] * row['runs']:>14.1f}"
        for row in report["rows"]
    ]
    return "\n".join(lines)


def save(report: dict[str, Any], target: Path) -> None:
    """Write the report as JSON, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, json.dumps(report, indent=1) + "\n")
