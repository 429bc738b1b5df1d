"""What the report shows, as JSON: curves with intervals, each run's points, leaderboards. `report_runs` has the list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.curves import segments
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import measured
from seqeval_rl.plots.analysis.naming import LineStyle
from seqeval_rl.plots.analysis.prequential import SCORES, running_mean
from seqeval_rl.plots.analysis.statistics import Floats
from seqeval_rl.plots.figures.style import line_styles
from seqeval_rl.plots.report.runs import conditions, differing, facts, settings_of
from seqeval_rl.plots.tables.cross_task import across_table
from seqeval_rl.plots.tables.scores import score_table
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.plots.tables.writers import number_text
from seqeval_rl.results.export import LONG_COLUMNS, algorithm_names
from seqeval_rl.results.read import PREQUENTIAL, damage

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


DIGITS = 7  # significant, of what is embedded
# Of numbers in the file. One takes about 5 bytes, compressed and as base64: with the scripts that stays below 5 MB.
BUDGET = 600_000
_MEAN = "prequential_mean/"
_LABELS = {"score": "normalised score", "return": "return"}
# Of an evaluation, but no result.
_ASIDE = ("score_std", "length", "seconds", "evaluation_seconds")
_PLACE, _STEPS, _WALL = "report/place", "report/gradient_steps", "report/wall"  # our own, beside a run's metrics
_DARK = (0x15, 0x18, 0x1D)  # the page's dark background
_CONTRAST = 4.5  # of a line on it, at least; WCAG 2.2 asks 3 of graphics


def report_data(results: Sequence[RunResult], name: str, seed: int = 0) -> dict[str, Any]:
    """All that the page shows. Errors are those of `report`."""
    collect(results)  # refuses what no figure can be made of before anything is computed
    runs = [_prepared(run) for run in results]
    panels = collect(runs)
    metrics, left_out = _metrics(runs)
    place = {run.run: number for number, run in enumerate(runs)}
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
        "styles": {key: _look(look) for key, look in styles.items()},
        "panels": [_panel(panel, metrics, place, seed) for panel in panels],
        "runs": [
            facts(run, *labels[run.run]) | {"longName": long_name, "differs": differs} | _points(run, metrics)
            for run, long_name, differs in zip(runs, names, differing(results), strict=True)
        ],
        "conditions": conditions(results),
        "settings": settings_of(results),
        "leaderboards": _leaderboards(results, len(panels), seed),
        "damagedRuns": damaged_runs,
        "damagedLines": damaged_lines,
    }


def _prepared(run: RunResult) -> RunResult:
    """The run with the place of each evaluation in the file, its gradient steps, wall time and prequential means as metrics."""
    means = {
        score: dict(zip(*(array.tolist() for array in running_mean(run, score)), strict=True))
        for score in run.prequential_scores()
        if score in SCORES
    }
    evaluations, wall = [], 0.0
    timed = any("seconds" in entry["metrics"] for entry in run.evaluations)
    for number, entry in enumerate(run.evaluations):
        wall += entry["metrics"].get("seconds", 0.0)
        own = {_PLACE: number, _STEPS: entry["gradient_steps"]} | ({_WALL: wall} if timed else {})
        own |= {_MEAN + score: of[entry["transitions"]] for score, of in means.items() if entry["transitions"] in of}
        evaluations.append({**entry, "metrics": entry["metrics"] | own})
    return replace(run, evaluations=evaluations)


def _metrics(runs: Sequence[RunResult]) -> tuple[list[str], list[str]]:
    """Which metrics are embedded, the most wanted first, and which are left out, since the file would become too large."""
    sizes: dict[str, int] = {}
    for run in runs:
        for entry in run.evaluations:
            for name, value in entry["metrics"].items():
                if isinstance(value, (int, float)):
                    sizes[name] = sizes.get(name, 0) + 1
    wanted = [name for name in ("score", "return", *(_MEAN + score for score in SCORES)) if name in sizes]
    wanted += sorted(
        name
        for name in sizes
        if name not in wanted and name not in _ASIDE and not name.startswith(("report/", PREQUENTIAL))
    )
    used = 0
    found: list[str] = []
    for name in wanted:
        used += 3 * sizes[name]  # each run's value, and mean, low and high of at most as many points of groups
        if found and used > BUDGET:
            break
        found.append(name)
    return found, [_label(name) for name in wanted[len(found) :]]


def _label(metric: str) -> str:
    if metric.startswith(_MEAN):
        return f"prequential: {SCORES[metric.removeprefix(_MEAN)].label}"
    return _LABELS.get(metric, metric)


def _panel(panel: Panel, metrics: Sequence[str], place: dict[str, int], seed: int) -> dict[str, Any]:
    blocks = [(block.start, block.stop, block.mean_score) for block in panel.blocks]
    return {
        "title": panel.title,
        "task": panel.task,
        "transitions": panel.transitions,
        "extent": panel.extent,
        "stretches": panel.stretches,
        "logMeans": [span for span in blocks or [(0, panel.transitions, panel.mean_score)] if span[2] is not None],
        "groups": [
            {
                "label": group.label,
                "style": group.style,
                "runs": [place[run.run] for run in group.runs],
                "curves": {metric: curve for metric in metrics if (curve := _curve(group, metric, seed))},
            }
            for group in panel.groups
        ],
    }


def _curve(group: Group, metric: str, seed: int) -> list[dict[str, Any]]:
    """The stretches of a group's curve: transitions `t`, gradient steps `g`, seconds `w`, centre `c`, low `l`, high `h`."""
    return [
        {
            "t": part.transitions.astype(int).tolist(),
            "g": _numbers(_at(group, _STEPS, part.transitions)),
            "w": _numbers(_at(group, _WALL, part.transitions)),
            "c": _numbers(part.centre),
            "l": None if part.interval is None else _numbers(part.interval[0]),
            "h": None if part.interval is None else _numbers(part.interval[1]),
            "n": part.runs,
            "whole": part.whole,
        }
        for part in segments(group, metric, seed=seed)
    ]


def _at(group: Group, metric: str, places: Floats) -> Floats:
    """Mean over the group's runs of a counter at these transitions; NaN where no run has it."""
    total, runs = np.zeros(len(places)), np.zeros(len(places))
    for run in group.runs:
        there, values = measured(run, metric)
        if len(there):
            inside = (places >= there[0]) & (places <= there[-1])
            total[inside] += np.interp(places[inside], there, values)
            runs += inside
    return np.where(runs > 0, total / np.maximum(runs, 1), np.nan)


def _points(run: RunResult, metrics: Sequence[str]) -> dict[str, Any]:
    """The run's evaluations by column, where a figure has them (`p`), of several at one place the last."""
    places, numbers = measured(run, _PLACE)
    chosen = [run.evaluations[int(number)] for number in numbers]
    own = [entry["metrics"] for entry in chosen]
    return {
        "p": places.tolist(),
        "t": [entry["transitions"] for entry in chosen],
        "g": [entry["gradient_steps"] for entry in chosen],
        "w": _numbers([of.get(_WALL) for of in own]),
        "e": [entry.get("env_steps") for entry in chosen],
        "phase": [str(entry.get("phase", "")) for entry in chosen],
        "block": [str(entry.get("block", "")) for entry in chosen],
        "metrics": {
            metric: _numbers([of.get(metric) for of in own]) for metric in metrics if any(metric in of for of in own)
        },
    }


def _numbers(values: Any) -> list[float | None]:
    """To `DIGITS` significant digits; None for what is missing or not finite."""
    return [
        float(f"{value:.{DIGITS}g}") if isinstance(value, (int, float)) and np.isfinite(value) else None
        for value in values
    ]


def _leaderboards(results: Sequence[RunResult], panels: int, seed: int) -> list[dict[str, Any]]:
    boards = [_board("per dataset", score_table(results, seed=seed))]
    if panels < 2:
        return boards
    try:
        return [*boards, _board("all datasets together", across_table(results, seed=seed))]
    except UsageError as error:
        return [*boards, {"name": "all datasets together", "reason": str(error)}]


def _board(name: str, table: Table) -> dict[str, Any]:
    """A table with, for each number, how it is written and what it is sorted by."""
    rows = []
    for row in table.rows:
        cells = []
        for place, cell in enumerate(row.cells):
            unit = table.kind(place).unit
            known = np.isfinite(cell.value)
            interval = np.isfinite(cell.low) and np.isfinite(cell.high)
            cells.append(
                {
                    "value": float(cell.value) if known else None,
                    "text": number_text(cell.value, unit) if known else "–",
                    "interval": f"[{number_text(cell.low, unit)}, {number_text(cell.high, unit)}]" if interval else "",
                    "runs": f"{cell.runs} of {row.runs}" if 0 < cell.runs < row.runs else "",
                }
            )
        count = f"{row.runs}" + "".join(
            f", {number} {status}"
            for status, number in (("failed", row.failed), ("unfinished", row.unfinished))
            if number
        )
        rows.append(
            {
                "dataset": row.dataset,
                "algorithm": row.algorithm,
                "runs": row.runs,
                "count": count,
                "logMean": row.dataset_mean,
                "logMeanText": "–" if row.dataset_mean is None else number_text(row.dataset_mean, "score"),
                "cells": cells,
            }
        )
    # The captions are those of tables on paper; here nothing is bold.
    caption = table.caption.partition("Bold:")[0].strip()
    return {
        "name": name,
        "quantities": list(table.quantities),
        "lower": [table.kind(place).better == "lower" for place in range(len(table.quantities))],
        "rows": rows,
        "caption": caption,
    }


def _look(look: LineStyle) -> dict[str, Any]:
    dash = [] if isinstance(look.line, str) else [2 * length for length in look.line[1]]
    return {"light": look.colour, "dark": on_dark(look.colour), "dash": dash}


def on_dark(colour: str) -> str:
    """`#rrggbb` mixed with as much white as it takes to stand out from the dark page (contrast ratio of WCAG 2.2).

    Black becomes the page's ink.
    """
    if colour == "#000000":
        return "#e8eaee"
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    for white in np.linspace(0, 1, 41):
        mixed = [round(part + white * (255 - part)) for part in (red, green, blue)]
        if (_luminance(mixed) + 0.05) / (_luminance(_DARK) + 0.05) >= _CONTRAST:
            break
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _luminance(colour: Sequence[int]) -> float:
    linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
