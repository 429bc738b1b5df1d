"""The data of the report as JSON: its metrics and leaderboards; `curves` and `runs` compute the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.prequential import SCORES
from seqeval_rl.plots.figures.style import line_styles
from seqeval_rl.plots.report.colors import line_look
from seqeval_rl.plots.report.curves import DIGITS, PREQUENTIAL_MEAN, panel_curves, run_points, with_counters
from seqeval_rl.plots.report.runs import conditions, differing, run_facts, settings_of
from seqeval_rl.plots.tables.across import across_table
from seqeval_rl.plots.tables.scores import score_table
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.export import LONG_COLUMNS, algorithm_names
from seqeval_rl.results.read import PREQUENTIAL, damage

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


# Numbers in the file. One takes about 5 bytes, compressed and as base64: with the scripts that stays below 5 MB.
BUDGET = 600_000
_LABELS = {"score": "normalised score", "return": "return"}
_NOT_SHOWN = ("score_std", "length", "seconds", "evaluation_seconds")  # of an evaluation; no results


def report_data(results: Sequence[RunResult], name: str, seed: int = 0) -> dict[str, Any]:
    """Everything that the page shows. Raises the errors of `write_report`."""
    collect(results)  # raises before anything is computed
    runs = [with_counters(run) for run in results]
    panels = collect(runs)
    metrics, left_out = _metrics(runs)
    index = {run.run: number for number, run in enumerate(runs)}
    groups = [(panel, group) for panel in panels for group in panel.groups]
    labels = {run.run: (panel.title, group.label) for panel, group in groups for run in group.runs}
    styles = line_styles(group.style for _, group in groups)
    damaged_runs, damaged_lines = damage(results)
    names = algorithm_names(results)
    return {
        "name": name,
        "metrics": [{"name": metric, "label": _label(metric)} for metric in metrics],
        "leftOut": left_out,
        "digits": DIGITS,
        "longColumns": list(LONG_COLUMNS),
        "styles": {key: line_look(look) for key, look in styles.items()},
        "panels": [panel_curves(panel, metrics, index, seed) for panel in panels],
        "runs": [
            run_facts(run, *labels[run.run]) | {"longName": long_name, "differs": differs} | run_points(run, metrics)
            for run, long_name, differs in zip(runs, names, differing(results), strict=True)
        ],
        "conditions": conditions(results),
        "settings": settings_of(results),
        "leaderboards": _leaderboards(results, len(panels), seed),
        "damagedRuns": damaged_runs,
        "damagedLines": damaged_lines,
    }


def _metrics(runs: Sequence[RunResult]) -> tuple[list[str], list[str]]:
    """Metrics that are embedded, the most important first, and labels of those left out to keep the file small."""
    sizes: dict[str, int] = {}
    for run in runs:
        for entry in run.evaluations:
            for name, value in entry["metrics"].items():
                if isinstance(value, (int, float)):
                    sizes[name] = sizes.get(name, 0) + 1
    wanted = [name for name in ("score", "return", *(PREQUENTIAL_MEAN + score for score in SCORES)) if name in sizes]
    wanted += sorted(
        name
        for name in sizes
        if name not in wanted and name not in _NOT_SHOWN and not name.startswith(("report/", PREQUENTIAL))
    )
    used = 0
    embedded: list[str] = []
    for name in wanted:
        used += 3 * sizes[name]  # each run's value, and mean, low and high of at most as many points of groups
        if embedded and used > BUDGET:
            break
        embedded.append(name)
    return embedded, [_label(name) for name in wanted[len(embedded) :]]


def _label(metric: str) -> str:
    if metric.startswith(PREQUENTIAL_MEAN):
        return f"prequential: {SCORES[metric.removeprefix(PREQUENTIAL_MEAN)].label}"
    return _LABELS.get(metric, metric)


def _leaderboards(results: Sequence[RunResult], datasets: int, seed: int) -> list[dict[str, Any]]:
    """One per dataset, and with several datasets one over all of them, or the reason why it cannot be computed."""
    boards = [_board("per dataset", score_table(results, seed=seed))]
    if datasets < 2:
        return boards
    try:
        return [*boards, _board("all datasets together", across_table(results, seed=seed))]
    except UsageError as error:
        return [*boards, {"name": "all datasets together", "reason": str(error)}]


def _board(name: str, table: Table) -> dict[str, Any]:
    """A table with, for each number, its text and the value to sort by."""
    return {
        "name": name,
        "quantities": list(table.quantities),
        "lower": [table.kind(column).better == "lower" for column in range(len(table.quantities))],
        "rows": [
            {
                "dataset": row.dataset,
                "algorithm": row.algorithm,
                "runs": row.runs,
                "count": ", ".join(formatted.runs),
                "datasetMean": row.dataset_mean,
                "datasetMeanText": formatted.dataset_mean,
                "cells": [
                    {"value": float(cell.value) if np.isfinite(cell.value) else None, **text._asdict()}
                    for cell, text in zip(row.cells, formatted.cells, strict=True)
                ],
            }
            for row, formatted in zip(table.rows, table.formatted().rows, strict=True)
        ],
        "caption": re.sub(r"Bold: [^.]*\. ?", "", table.caption).strip(),  # the page shows nothing in bold
    }
