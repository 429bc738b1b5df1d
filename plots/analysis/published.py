"""The curves that the protocol's authors published: results of others, to be drawn and cited with ours.

They are of D4RL's v2 files in three experiments: `offline` (one dataset), `finetune` (a dataset, then 500 000 online
transitions) and `mixed` (333 000 transitions of random, medium and expert each). `paper/README.md` says where they come from.

Their x counts gradient steps, and a bin is the mean of the evaluations in the 50 000 steps before it. The paper's figures are
drawn so; compared with ours, a bin is where the transitions are that its evaluations had seen.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqeval_rl.errors import unknown
from seqeval_rl.plots.analysis.grouping import Panel
from seqeval_rl.plots.analysis.statistics import Floats
from seqeval_rl.results.evaluations import Evaluations
from seqeval_rl.results.read import RunResult

Experiment = Literal["offline", "finetune", "mixed"]
EXPERIMENTS: tuple[Experiment, ...] = ("offline", "finetune", "mixed")
CITATION = "Sujit, Braga, Bornschein and Ebrahimi Kahou, TMLR 2023, arXiv 2212.08131"
BIN = 50_000  # gradient steps
_INITIAL = (
    5_000  # transitions visible before the first gradient step; each step reveals one more, until all are visible
)
_SPACING = 5_000  # gradient steps between evaluations
ONLINE = 500_000  # transitions of `finetune` after the dataset
BLOCK = 333_000  # transitions of each block of `mixed`
_MIXED = ("random", "medium", "expert")  # its blocks
# Share of the transitions by which a dataset may differ from D4RL\'s, which depends on how the file is read.
_SLACK = 0.01

_PAPER = files("seqeval_rl.plots") / "paper"
# By dataset: transitions by D4RL's `qlearning_dataset`, mean score of its episodes, and the task's reference returns.
_DATASETS = json.loads((_PAPER / "datasets.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class PublishedCurve:
    """The published runs of one algorithm on one dataset in one experiment."""

    algorithm: str
    seeds: tuple[int, ...]  # of each run
    transitions: Floats  # [point], multiples of BIN from 0, except where `placed` has moved them
    scores: Floats  # [run, point]; NaN where a run has ended

    @property
    def mean(self) -> Floats:
        """Over the runs that have not ended, [point]."""
        return np.nanmean(self.scores, axis=0)

    def at(self, transitions: float, length: int) -> Floats:
        """Each run's score in the bin with the evaluation that saw so many of `length` transitions and online ones, [run].

        From the end of the dataset on it is the last full bin. NaN for a run that has ended before.
        """
        last = int(transitions // BIN)
        place = math.ceil((transitions - _INITIAL) / BIN) if transitions < length else last
        known = 0 < place < len(self.transitions)
        return self.scores[:, place] if known else np.full(len(self.scores), np.nan)


def placed(curve: PublishedCurve, length: int) -> PublishedCurve:
    """The curve over the transitions, of `length` and online ones, that were visible in the mean of a bin's evaluations.

    Without the first point, which is not an evaluation.
    """
    before = np.arange(BIN - _SPACING, -1, -_SPACING)
    steps = curve.transitions[1:, None] - before
    visible = np.where(steps < length, np.minimum(steps + _INITIAL, length), steps)
    return replace(curve, transitions=visible.mean(1), scores=curve.scores[:, 1:])


@cache
def published() -> Mapping[tuple[str, str], Mapping[str, PublishedCurve]]:
    """All of them: by (experiment, dataset), then by algorithm."""
    runs: dict[tuple[str, str], dict[str, dict[int, dict[int, float]]]] = {}
    for row in csv.DictReader(gzip.decompress((_PAPER / "curves.csv.gz").read_bytes()).decode().splitlines()):
        of_dataset = runs.setdefault((row["experiment"], row["dataset"]), {})
        of_run = of_dataset.setdefault(row["algorithm"], {}).setdefault(int(row["seed"]), {})
        of_run[int(row["samples"])] = float(row["score"])
    return {key: {name: _curve(name, seeds) for name, seeds in algorithms.items()} for key, algorithms in runs.items()}


def _curve(algorithm: str, seeds: Mapping[int, Mapping[int, float]]) -> PublishedCurve:
    places = np.arange(0, max(max(points) for points in seeds.values()) + BIN, BIN)
    scores = np.array([[points.get(int(place), np.nan) for place in places] for points in seeds.values()])
    return PublishedCurve(algorithm, tuple(seeds), places.astype(np.float64), scores)


def counterpart(panel: Panel, online: bool) -> tuple[Experiment, str] | None:
    """The published (experiment, dataset) that is the panel's with or without an online phase; None where there is none.

    Only full datasets of D4RL count, or for `mixed` as much of each as the published runs saw.
    """
    sources = [re.fullmatch(r"d4rl:(\w+(?:-\w+)*)-v2(?::[\d_]+)?", block.name) for block in panel.blocks]
    names = [source[1] for source in sources if source]
    if not names or len(names) != len(panel.blocks):
        return None
    task = names[0].partition("-")[0]
    key: tuple[Experiment, str] = ("finetune" if online else "offline", f"{names[0]}-v2")
    if names == [f"{task}-{level}" for level in _MIXED] and not online:
        key = ("mixed", f"{task}-mixed-v2")
    elif len(names) > 1:
        return None
    if key not in published():
        return None
    for name, block in zip(names, panel.blocks, strict=True):
        size = BLOCK if key[0] == "mixed" else _DATASETS[name]["transitions"]
        if abs(block.stop - block.start - size) > _SLACK * size:
            return None
    return key


def behind(panel: Panel) -> dict[str, PublishedCurve]:
    """What to draw behind a panel's curves, `placed`: of each of its algorithms that was published on this dataset."""
    key = counterpart(panel, online=panel.online > 0)
    if key is None:
        return {}
    drawn = {group.algorithm for group in panel.groups}
    curves = published()[key].items()
    return {algorithm: placed(curve, panel.transitions) for algorithm, curve in curves if algorithm in drawn}


def published_results(experiment: Experiment) -> list[RunResult]:
    """The published runs of an experiment as if they had been read from files, so that figures can be made of them alone.

    They are marked `uses_future_data`, since the paper's code takes statistics of the full dataset. All count as finished; those
    that end before their dataset are drawn up to their end.

    Raises:
        UsageError: no such experiment.
    """
    if experiment not in EXPERIMENTS:
        raise unknown("published experiment", experiment, EXPERIMENTS)
    return [
        _result(experiment, dataset, curve, place, seed)
        for (name, dataset), curves in published().items()
        if name == experiment
        for curve in curves.values()
        for place, seed in enumerate(curve.seeds)
    ]


def _result(experiment: Experiment, dataset: str, curve: PublishedCurve, place: int, seed: int) -> RunResult:
    task = dataset.partition("-")[0]
    levels = _MIXED if experiment == "mixed" else (dataset.removeprefix(f"{task}-").removesuffix("-v2"),)
    blocks, total, scores = [], 0, 0.0
    for level in levels:
        known = _DATASETS[f"{task}-{level}"]
        size, mean_score = BLOCK if experiment == "mixed" else known["transitions"], known["mean_score"]
        name = f"{task}-{level}-v2"
        blocks.append({"label": level, "name": name, "start": total, "stop": total + size, "mean_score": mean_score})
        total, scores = total + size, scores + mean_score * size
    data = {"name": dataset, "transitions": total, "sha256": "", "mean_score": scores / total, "blocks": blocks}
    reference = {name: known[name] for name in ("reference_min", "reference_max")}
    online = ONLINE if experiment == "finetune" else 0
    manifest: dict[str, Any] = {
        "suite": "published",
        "dataset": data,
        "task": {"name": task, "env_id": None, **reference},
        "algorithm": {"name": curve.algorithm, "config": {}},
        "protocol": {
            "initial": 5_000,
            "increment": 1,
            "updates_per_increment": 1,
            "online": online,
            "evaluate_every": BIN,
        },
        "bin": BIN,  # transitions that each of the evaluations is the mean over, from its place on
        "seed": seed,
        "uses_future_data": True,
    }
    evaluations = [
        {"transitions": int(transitions), "phase": "offline" if transitions <= total else "online"}
        | {"metrics": {"score": float(score)}}
        for transitions, score in zip(curve.transitions, curve.scores[place], strict=True)
        if np.isfinite(score)
    ]
    name = f"{experiment}/{dataset}/{curve.algorithm}/{seed}"
    return RunResult(name, Path(name), manifest, "finished", None, Evaluations(evaluations))
