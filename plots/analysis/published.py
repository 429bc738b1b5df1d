"""The curves that the protocol's authors published: results of others, to be drawn and cited with ours.

They are of D4RL's v2 files in three experiments: `offline` (one dataset), `finetune` (a dataset, then 500 000 online
transitions) and `mixed` (333 000 transitions of random, medium and expert each). `paper/README.md` says where they come from.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from seqeval_rl.errors import unknown
from seqeval_rl.plots.analysis.grouping import Panel
from seqeval_rl.plots.analysis.statistics import Floats
from seqeval_rl.results.read import RunResult

Experiment = Literal["offline", "finetune", "mixed"]
EXPERIMENTS: tuple[Experiment, ...] = ("offline", "finetune", "mixed")
CITATION = "Sujit, Braga, Bornschein and Ebrahimi Kahou, TMLR 2023, arXiv 2212.08131"
BIN = 50_000  # transitions
ONLINE = 500_000  # transitions of `finetune` after the dataset
BLOCK = 333_000  # transitions of each block of `mixed`
_MIXED = ("random", "medium", "expert")  # its blocks
_SLACK = (
    0.01  # share of the transitions by which a dataset may differ from D4RL's, which depends on how the file is read
)

# Transitions by D4RL's `qlearning_dataset`, and the dataset's mean score.
_DATASETS = {
    "halfcheetah-random": (999_000, -0.07),
    "halfcheetah-medium": (999_000, 40.60),
    "halfcheetah-medium-replay": (201_798, 27.03),
    "halfcheetah-medium-expert": (1_998_000, 64.29),
    "halfcheetah-expert": (999_000, 87.91),
    "hopper-random": (999_999, 1.19),
    "hopper-medium": (999_998, 44.28),
    "hopper-medium-replay": (401_598, 14.97),
    "hopper-medium-expert": (1_998_966, 64.78),
    "hopper-expert": (999_061, 108.24),
    "walker2d-random": (999_999, 0.01),
    "walker2d-medium": (999_322, 61.94),
    "walker2d-medium-replay": (301_698, 14.81),
    "walker2d-medium-expert": (1_998_318, 82.55),
    "walker2d-expert": (999_000, 106.90),
}
_REFERENCES = {"halfcheetah": (-280.178953, 12135.0), "hopper": (-20.272305, 3234.3), "walker2d": (1.629008, 4592.3)}


@dataclass(frozen=True)
class PublishedCurve:
    """The published runs of one algorithm on one dataset in one experiment."""

    algorithm: str
    seeds: tuple[int, ...]  # of each run
    transitions: Floats  # [point], multiples of BIN from 0
    scores: Floats  # [run, point]; NaN where a run has ended

    @property
    def mean(self) -> Floats:
        """Over the runs that have not ended, [point]."""
        means: Floats = np.nanmean(self.scores, axis=0)
        return means

    def at(self, transitions: float) -> Floats:
        """Each run's score in the bin that contains so many transitions [run]; NaN for a run that has ended before."""
        place = int(transitions // BIN)
        return self.scores[:, place] if place < len(self.transitions) else np.full(len(self.scores), np.nan)


@lru_cache(maxsize=1)
def published() -> Mapping[tuple[str, str], Mapping[str, PublishedCurve]]:
    """All of them: by (experiment, dataset), then by algorithm."""
    packed = (files("seqeval_rl.plots") / "paper" / "curves.csv.gz").read_bytes()
    runs: dict[tuple[str, str], dict[str, dict[int, dict[int, float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for row in csv.DictReader(io.StringIO(gzip.decompress(packed).decode())):
        of = runs[row["experiment"], row["dataset"]][row["algorithm"]][int(row["seed"])]
        of[int(row["samples"])] = float(row["score"])
    return MappingProxyType(
        {
            key: MappingProxyType({algorithm: _curve(algorithm, seeds) for algorithm, seeds in algorithms.items()})
            for key, algorithms in runs.items()
        }
    )


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
    sizes = [block.stop - block.start for block in panel.blocks]
    if len(names) != len(sizes):
        return None
    if len(names) == 1:
        experiment: Experiment = "finetune" if online else "offline"
        expected, dataset = [_DATASETS[names[0]][0] if names[0] in _DATASETS else 0], f"{names[0]}-v2"
    else:
        task = names[0].partition("-")[0] if names else ""
        if online or names != [f"{task}-{level}" for level in _MIXED]:
            return None
        experiment, expected, dataset = "mixed", [BLOCK] * len(_MIXED), f"{task}-mixed-v2"
    if any(
        abs(size - published_size) > _SLACK * published_size
        for size, published_size in zip(sizes, expected, strict=True)
    ):
        return None
    return (experiment, dataset) if (experiment, dataset) in published() else None


def behind(panel: Panel) -> dict[str, PublishedCurve]:
    """What to draw behind a panel's curves: of each of its algorithms that was published on this dataset."""
    key = counterpart(panel, online=panel.online > 0)
    if key is None:
        return {}
    drawn = {group.algorithm for group in panel.groups}
    return {algorithm: curve for algorithm, curve in published()[key].items() if algorithm in drawn}


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
        transitions, mean_score = _DATASETS[f"{task}-{level}"]
        size = BLOCK if experiment == "mixed" else transitions
        name = f"{task}-{level}-v2"
        blocks.append({"label": level, "name": name, "start": total, "stop": total + size, "mean_score": mean_score})
        total, scores = total + size, scores + mean_score * size
    low, high = _REFERENCES[task]
    online = ONLINE if experiment == "finetune" else 0
    manifest: dict[str, Any] = {
        "suite": "published",
        "dataset": {
            "name": dataset,
            "transitions": total,
            "sha256": "",
            "mean_score": scores / total,
            "blocks": blocks,
        },
        "task": {"name": task, "env_id": None, "reference_min": low, "reference_max": high},
        "algorithm": {"name": curve.algorithm, "config": {}},
        "protocol": {"initial": 5_000, "increment": 1, "updates_per_increment": 1, "online": online},
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
    return RunResult(name, Path(name), manifest, "finished", None, evaluations)
