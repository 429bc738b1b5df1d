from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqeval_rl.results.read import RunResult, read_results

BLOCKS = (("random", 0, 10_000, 1.2), ("medium", 10_000, 20_000, 44.3), ("expert", 20_000, 30_000, 108.2))
HEIGHTS = {"td3_bc": 90.0, "iql": 75.0, "cql": 60.0, "bc": 45.0, "awac": 68.0}


class Results:
    """Writes run directories as the harness leaves them, with synthetic scores."""

    def __init__(self, root: Path):
        self.root = root

    def add(
        self,
        algorithm: str = "td3_bc",
        seed: int = 0,
        *,
        dataset: str = "hopper random, medium, expert",
        task: str = "hopper",
        blocks: tuple[tuple[Any, ...], ...] = BLOCKS,  # label, start, stop, mean score, and the dataset's name if other
        points: int = 31,
        upto: int | None = None,
        failed: bool = False,
        scores: list[float] | None = None,
        transitions: list[int] | None = None,
        suite: str = "quickstart",
        env_id: str = "Hopper-v5",
        config: dict[str, Any] | None = None,
        uses_future_data: bool = False,
        slug: str = "",
        protocol: dict[str, Any] | None = None,
        gradient_steps: list[int] | None = None,
        evaluated: bool = True,
        prequential: dict[str, float | list[float]] | None = None,
        seconds: float | None = None,  # of wall time between two evaluations, a quarter of it evaluation
        interleave: bool = False,
        change_size: float | None = None,
        extra: dict[str, float] | None = None,  # metrics of every evaluation
        **manifest_fields: Any,
    ) -> Path:
        """Transitions past the dataset's end are of the online phase; `blocks=()` is online RL without a dataset.

        `prequential`: means of each evaluation over what was revealed since the one before, or one for all of them.
        """
        total = blocks[-1][2] if blocks else 0
        end = total + (protocol or {}).get("online", 0)
        if transitions is None:
            transitions = np.unique([*np.linspace(end // points, end, points).astype(int), total or end]).tolist()
        static = (protocol or {}).get("static", False)
        if static and gradient_steps is None:
            gradient_steps = [place - transitions[0] for place in transitions]
        if scores is None:
            noise = np.random.default_rng([seed, sum(map(ord, algorithm + dataset))])
            x = np.asarray(transitions) / end
            height = HEIGHTS.get(algorithm, 30 + sum(map(ord, algorithm)) % 50)
            scores = (
                height / (1 + np.exp(-9 * (x - 0.5))) + noise.normal(0, 5) * x + noise.normal(0, 2.5, len(x))
            ).tolist()
        metrics_of = [{"score": score, "return": 32.0 * score} if evaluated else {} for score in scores]
        if seconds is not None:
            for metrics in metrics_of:
                metrics |= {"seconds": seconds, "evaluation_seconds": seconds / 4}
        for metrics in metrics_of:
            metrics |= extra or {}
        for place in range(1, len(transitions)):
            arrived = min(transitions[place], total) - min(transitions[place - 1], total)
            metrics_of[place]["critic/loss"] = 1.0
            if prequential and arrived > 0 and not static:
                metrics_of[place] |= {"prequential/count": arrived, "prequential/value_count": arrived // 2} | {
                    f"prequential/{name}": value[place - 1] if isinstance(value, list) else value
                    for name, value in prequential.items()
                }
        if static:
            transitions = [total] * len(transitions)
        directory = self.root / f"{len(list(self.root.iterdir())) if self.root.exists() else 0:04d}{slug}"
        directory.mkdir(parents=True)
        described = [
            dict(zip(("label", "start", "stop", "mean_score", "name"), (*block, block[0])[:5], strict=True))
            for block in blocks
        ]
        for block in described:
            if interleave:
                del block["start"], block["stop"]
            elif change_size is not None and block["start"]:
                block["change_size"] = change_size
        manifest = {
            "suite": suite,
            "dataset": {
                "name": dataset,
                "transitions": total,
                "sha256": "0" * 64,
                "mean_score": None
                if not blocks or blocks[-1][3] is None
                else float(np.mean([block[3] for block in blocks])),
                "blocks": described,
                **({"interleave": True} if interleave else {}),
            },
            "task": {"name": task, "env_id": env_id, "reference_min": -20.27, "reference_max": 3234.3},
            "algorithm": {"name": algorithm, "config": {"alpha": 2.5} | (config or {})},
            "protocol": {"initial": 1000, "increment": 1, "updates_per_increment": 1, "evaluate_every": 5_000}
            | (protocol or {}),
            "seed": seed,
            "uses_future_data": uses_future_data,
            "evaluations_expected": len(transitions),
            **manifest_fields,
        }
        (directory / "manifest.json").write_text(json.dumps(manifest))
        lines = [
            {"evaluation": i, "phase": "offline" if t <= total else "online", "block": "" if t <= total else "online"}
            | {"transitions": t, "gradient_steps": updates, "env_steps": max(0, t - total)}
            | {"metrics": metrics}
            for i, (t, updates, metrics) in enumerate(
                zip(transitions, gradient_steps or transitions, metrics_of, strict=True)
            )
        ]
        (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:upto]))
        events = [{"event": "attempt"}] + ([{"event": "failed", "message": "exploding Q value"}] if failed else [])
        (directory / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        return directory

    def read(self) -> list[RunResult]:
        return read_results(self.root)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


@pytest.fixture
def quickstart(results: Results) -> Results:
    """Four algorithms, three seeds, three blocks, all finished."""
    for algorithm in ("td3_bc", "iql", "cql", "bc"):
        for seed in range(3):
            results.add(algorithm, seed)
    return results
