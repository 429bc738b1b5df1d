"""The report's curves as JSON: means and intervals of each group of runs, and the evaluations of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from seqeval_rl.plots.analysis.curves import segments
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.metrics import measured
from seqeval_rl.plots.analysis.prequential import SCORES, running_mean
from seqeval_rl.plots.analysis.statistics import Floats
from seqeval_rl.results.read import RunResult

POINTS = 500  # evaluations of a run at most, about as many as a screen's width tells apart
DIGITS = 7  # significant digits of embedded numbers
PREQUENTIAL_MEAN = "prequential_mean/"  # before a score's name: its running mean, as a metric
# Metrics of our own that are added to a run's: index of the evaluation, gradient steps, wall time in seconds.
_INDEX, _STEPS, _WALL = "report/index", "report/gradient_steps", "report/wall"


def with_counters(run: RunResult) -> RunResult:
    """The run as the page shows it: at most `POINTS` of its evaluations, with indices, gradient steps, wall time and running
    prequential means as more metrics."""
    evaluations = run.evaluations
    seconds = evaluations.metric("seconds")
    own = {_INDEX: np.arange(len(evaluations), dtype=np.float64)}
    if len(evaluations):
        own[_STEPS] = evaluations.counter("gradient_steps").astype(np.float64)
    if evaluations.recorded("seconds").any():
        own[_WALL] = np.nancumsum(seconds)
    for score in run.prequential_scores():
        if score in SCORES:
            at = dict(zip(*map(np.ndarray.tolist, running_mean(run, score)), strict=True))
            means = [at.get(transitions, np.nan) for transitions in evaluations.counter("transitions").tolist()]
            own[PREQUENTIAL_MEAN + score] = np.array(means)
    kept = np.unique(np.linspace(0, max(0, len(evaluations) - 1), POINTS).round().astype(np.intp))
    shown = evaluations.with_metrics(own)
    return replace(run, evaluations=shown.take(kept) if len(evaluations) > POINTS else shown)


def panel_curves(panel: Panel, metrics: Sequence[str], index: dict[str, int], seed: int) -> dict[str, Any]:
    """One dataset: its blocks, their mean scores, and of each algorithm the curves of these metrics.

    `index` gives the position of each run in the report's list of runs.
    """
    blocks = [(block.start, block.stop, block.mean_score) for block in panel.blocks]
    return {
        "title": panel.title,
        "task": panel.task,
        "metric": panel.metric,
        "transitions": panel.transitions,
        "extent": panel.extent,
        "stretches": panel.spans,
        "datasetMeans": [span for span in blocks or [(0, panel.transitions, panel.mean_score)] if span[2] is not None],
        "groups": [
            {
                "label": group.label,
                "style": group.style,
                "runs": [index[run.run] for run in group.runs],
                "curves": {metric: curve for metric in metrics if (curve := _curve(group, metric, seed))},
            }
            for group in panel.groups
        ],
    }


def _curve(group: Group, metric: str, seed: int) -> list[dict[str, Any]]:
    """A group's curve by segment: transitions `t`, gradient steps `g`, seconds `w`, center `c`, `l` and `h` of the interval."""
    return [
        {
            "t": part.transitions.astype(int).tolist(),
            "g": _numbers(_at(group, _STEPS, part.transitions)),
            "w": _numbers(_at(group, _WALL, part.transitions)),
            "c": _numbers(part.centre),
            "l": None if part.interval is None else _numbers(part.interval[0]),
            "h": None if part.interval is None else _numbers(part.interval[1]),
            "n": part.runs,
            "complete": part.complete,
        }
        for part in segments(group, metric, seed=seed)
    ]


def _at(group: Group, metric: str, transitions: Floats) -> Floats:
    """Mean over the group's runs of a counter at these transitions; NaN where no run has it."""
    curves = [curve for run in group.runs if len((curve := measured(run, metric))[0])]
    values = np.array([np.interp(transitions, *curve, np.nan, np.nan) for curve in curves]).reshape(
        -1, len(transitions)
    )
    runs = np.isfinite(values).sum(axis=0)
    return np.where(runs > 0, np.nansum(values, axis=0) / np.maximum(runs, 1), np.nan)


def run_points(run: RunResult, metrics: Sequence[str]) -> dict[str, Any]:
    """The run's evaluations by column; `p` is where figures draw them, and of several at one place only the last is kept."""
    drawn_at, indices = measured(run, _INDEX)
    places = {index: place for place, index in enumerate(run.evaluations.metric(_INDEX).tolist())}
    chosen = [run.evaluations[places[index]] for index in indices.tolist()]
    values = [entry["metrics"] for entry in chosen]
    return {
        "p": drawn_at.tolist(),
        "t": [entry["transitions"] for entry in chosen],
        "g": [entry["gradient_steps"] for entry in chosen],
        "w": _numbers([each.get(_WALL) for each in values]),
        "e": [entry.get("env_steps") for entry in chosen],
        "phase": [str(entry.get("phase", "")) for entry in chosen],
        "block": [str(entry.get("block", "")) for entry in chosen],
        "metrics": {
            metric: _numbers([each.get(metric) for each in values])
            for metric in metrics
            if any(metric in each for each in values)
        },
    }


def _numbers(values: Any) -> list[float | None]:
    """Numbers rounded to `DIGITS` significant digits; None where missing or not finite."""
    return [
        float(f"{value:.{DIGITS}g}") if isinstance(value, (int, float)) and np.isfinite(value) else None
        for value in values
    ]
