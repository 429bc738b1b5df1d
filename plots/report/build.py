"""Results as one HTML file that opens without a network; `plots/report/README.md` lists what it is made of.

Nothing from the results is written as HTML: all of it is compressed data that the page's scripts show as text. A content
security policy allows these scripts, by their hashes, and nothing else, and forbids every request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from seqeval_rl.errors import UsageError, writing
from seqeval_rl.plots.analysis.cross_task import Phase, has_online_phase, place_text
from seqeval_rl.plots.analysis.grouping import Panel, collect
from seqeval_rl.plots.analysis.naming import LineStyle, display_name
from seqeval_rl.plots.analysis.prequential import SCORES
from seqeval_rl.plots.figures.style import line_styles, luminance
from seqeval_rl.plots.report.curves import DIGITS, POINTS, PREQUENTIAL_MEAN, panel_curves, run_points, with_counters
from seqeval_rl.plots.tables.across import across_table
from seqeval_rl.plots.tables.adaptation import adaptation_tables
from seqeval_rl.plots.tables.scores import score_table
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.export import LONG_COLUMNS, algorithm_names, settings_text, varied_settings
from seqeval_rl.results.read import PREQUENTIAL, RunResult, damage, differences
from seqeval_rl.utils.files import atomic_write
from seqeval_rl.utils.text import show

ASSETS = Path(__file__).parent
_STYLES = ("uPlot.min.css", "page.css")
_SCRIPTS = ("uPlot.iife.min.js", "charts.js", "tables.js", "sections.js", "page.js")
# Numbers in the file. One takes about 5 bytes, compressed and as base64: with the scripts that stays below 5 MB.
BUDGET = 600_000
_NOT_SHOWN = ("score_std", "length", "seconds", "evaluation_seconds", "online/seconds")  # of an evaluation; no results
# Fields of the manifest that say how a run was made, besides its data, algorithm and seed.
_MADE_WITH = ("suite", "protocol", "precision", "versions", "device", "platform", "processor", "git_revision")
# Names of the tables of adaptation.
_ADAPTATION = {"adaptation": "adaptation speed", "drift": "sensitivity to drift", "compute": "compute per transition"}
DARK_PAGE = (0x15, 0x18, 0x1D)  # background of the dark page in `page.css`
_CONTRAST = 4.5  # least contrast ratio of a line on it; WCAG 2.2 asks 3 of graphics


def write_report(results: Sequence[RunResult], path: str | os.PathLike[str], name: str = "", seed: int = 0) -> Path:
    """Write the report of these runs as one HTML file (atomic write) and return its path.

    Args:
        results: from `seqeval_rl.read_results`.
        path: of the HTML file; missing directories are created.
        name: of the results, for the page's title; the name of the file's directory if empty.
        seed: of the bootstrap.

    Raises:
        UsageError: no run, or one seed twice with the same settings.
        DataError: a manifest lacks fields that figures need.
        FileError: the file cannot be written.
    """
    target = Path(path)
    text = page(report_data(results, name or target.parent.name, seed))
    with writing(target, "Free disk space or choose another file with --out."):
        atomic_write(target, text)
    return target


def page(data: dict[str, Any]) -> str:
    """The file's text: template, styles, scripts, and the data as base64 of gzipped JSON."""
    styles = [_asset(name) for name in _STYLES]
    scripts = [_asset(name) for name in _SCRIPTS]
    # mtime=0: the same results give the same file.
    packed = gzip.compress(json.dumps(data, allow_nan=False, separators=(",", ":")).encode(), 9, mtime=0)
    parts = {
        "POLICY": f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
        "STYLES": "\n".join(f"<style>{style}</style>" for style in styles),
        "DATA": base64.b64encode(packed).decode(),
        "SCRIPTS": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hashes(texts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def report_data(results: Sequence[RunResult], name: str, seed: int = 0) -> dict[str, Any]:
    """Everything that the page shows. Raises the errors of `write_report`."""
    runs = [with_counters(run) for run in results]
    panels = collect(runs)
    metrics, left_out = _metrics(runs)
    if any(len(run.evaluations) > POINTS for run in results):
        left_out.insert(0, f"all but {POINTS} of each run's evaluations, evenly spaced")
    index = {run.run: number for number, run in enumerate(runs)}
    groups = [(panel, group) for panel in panels for group in panel.groups]
    labels = {run.run: (panel.title, group.label) for panel, group in groups for run in group.runs}
    styles = line_styles(group.style for _, group in groups)
    damaged_runs, damaged_lines = damage(results)
    names = algorithm_names(results)
    made_with = [_flat({name: run.manifest[name] for name in _MADE_WITH if name in run.manifest}) for run in results]
    configs: dict[str, list[dict[str, Any]]] = {}
    for run in results:
        configs.setdefault(run.algorithm, []).append(run.config)
    return {
        "name": name,
        "metrics": [{"name": metric, "label": _label(metric)} for metric in metrics],
        "leftOut": left_out,
        "digits": DIGITS,
        "longColumns": list(LONG_COLUMNS),
        "styles": {key: _line_look(look) for key, look in styles.items()},
        "panels": [panel_curves(panel, metrics, index, seed) for panel in panels],
        "runs": [
            _run_facts(result, *labels[run.run])
            | {"longName": long_name, "settings": settings_text(settings), "differs": differs}
            | run_points(run, metrics)
            for run, result, long_name, settings, differs in zip(
                runs, results, names, varied_settings(results), _differing(results, made_with, configs), strict=True
            )
        ],
        "conditions": _values_by_name(made_with),
        "settings": [
            {"algorithm": display_name(name), "settings": _values_by_name(used)} for name, used in configs.items()
        ],
        "leaderboards": _leaderboards(results, panels, seed),
        "damagedRuns": damaged_runs,
        "damagedLines": damaged_lines,
    }


def _metrics(runs: Sequence[RunResult]) -> tuple[list[str], list[str]]:
    """Metrics that are embedded, the most important first, and labels of those left out to keep the file small."""
    sizes: dict[str, int] = {}
    for run in runs:
        for name in run.evaluations.metrics:
            sizes[name] = sizes.get(name, 0) + int(run.evaluations.recorded(name).sum())
    wanted = [name for name in ("score", "return", *(PREQUENTIAL_MEAN + score for score in SCORES)) if name in sizes]
    wanted += sorted(
        name
        for name in sizes
        if name not in wanted and name not in _NOT_SHOWN and not name.startswith(("report/", PREQUENTIAL))
    )
    # Each run's value, and mean, low and high of at most as many points of groups; the first metric is always embedded.
    used = np.cumsum([3 * sizes[name] for name in wanted])
    fitting = max(1, int((used <= BUDGET).sum()))
    return wanted[:fitting], [_label(name) for name in wanted[fitting:]]


def _label(metric: str) -> str:
    if metric.startswith(PREQUENTIAL_MEAN):
        return f"prequential: {SCORES[metric.removeprefix(PREQUENTIAL_MEAN)].label}"
    return "normalized score" if metric == "score" else metric


def _leaderboards(results: Sequence[RunResult], panels: Sequence[Panel], seed: int) -> list[dict[str, Any]]:
    """One per dataset; with several datasets one over all of them at each end, or why there is none; adaptation."""
    boards = [_board("per dataset", score_table(results, seed=seed))]
    phases: tuple[Phase, ...] = ("offline", "online") if has_online_phase(panels) else ("offline",)
    for phase in phases if len(panels) > 1 else ():
        name = "all datasets together"
        if len(phases) > 1:
            name += f", {place_text(panels, 1.0, phase)}"
        try:
            boards.append(_board(name, across_table(results, phase=phase, seed=seed)))
        except UsageError as error:
            boards.append({"name": name, "reason": str(error)})
    with suppress(UsageError):  # no block boundaries, and no gradient steps
        boards += [_board(_ADAPTATION[table.name], table) for table in adaptation_tables(results, seed=seed)]
    return boards


def _board(name: str, table: Table) -> dict[str, Any]:
    """A table with, for each number, its text and the value to sort by."""
    return {
        "name": name,
        "quantities": list(table.quantities),
        "meanOf": table.leading[3],
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
            for row, formatted in zip(table.rows, table.formatted(), strict=True)
        ],
        "caption": re.sub(r"Bold: [^.]*\. ?", "", table.caption).strip(),  # the page shows nothing in bold
    }


def _run_facts(run: RunResult, panel: str, label: str) -> dict[str, Any]:
    """A row of the list of runs: names, status, reason of failure, progress."""
    seconds = run.evaluations.metric("seconds")
    return {
        "run": run.run,
        "panel": panel,
        "dataset": run.dataset,
        "algorithm": label,
        "seed": run.seed,
        "status": run.status,
        "failure": run.failure,
        "evaluations": len(run.evaluations),
        "expected": run.manifest["evaluations_expected"],
        "seconds": float(np.nansum(seconds)) if np.isfinite(seconds).any() else None,
        "device": str(run.manifest.get("device", "not recorded")),
        "revision": str(run.manifest.get("git_revision") or "not recorded"),
        "suite": str(run.manifest["suite"]),
        "static": run.static,
        "usesFutureData": bool(run.manifest["uses_future_data"]),
        "damaged": len(run.damaged),
    }


def _differing(results: Sequence[RunResult], made_with: list[Any], configs: dict[str, list[Any]]) -> list[str]:
    """For each run, as text: the fields that differ between runs, and the settings that differ between its algorithm's runs."""
    fields = differences(made_with)
    settings = {name: differences(used) for name, used in configs.items()}
    texts = []
    for run, values in zip(results, made_with, strict=True):
        shown = [f"{name.removeprefix('protocol.')}={show(values.get(name))}" for name in fields]
        shown += [f"{name.removeprefix('protocol.')}={show(run.config.get(name))}" for name in settings[run.algorithm]]
        texts.append(", ".join(shown))
    return texts


def _values_by_name(fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each name, its values as text and how often each occurs, in the order of their first occurrence."""
    by_name = []
    for name in dict.fromkeys(name for each in fields for name in each):
        counts = Counter(show(each[name]) if name in each else "not recorded" for each in fields)
        by_name.append({"name": name, "values": list(counts.items())})
    return by_name


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _line_look(look: LineStyle) -> dict[str, Any]:
    """A line's color on the light and on the dark page, and its dashes in pixels."""
    dash = [] if isinstance(look.line, str) else [2 * length for length in look.line[1]]
    return {"light": look.colour, "dark": on_dark(look.colour), "dash": dash}


def on_dark(color: str) -> str:
    """`#rrggbb` mixed with white until its contrast ratio to the dark page (WCAG 2.2) is high enough.

    Black becomes the color of the page's text.
    """
    if color == "#000000":
        return "#e8eaee"
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    for white in np.linspace(0, 1, 41):
        mixed = [round(part + white * (255 - part)) for part in (red, green, blue)]
        if (luminance(mixed) + 0.05) / (luminance(DARK_PAGE) + 0.05) >= _CONTRAST:
            break
    return "#" + "".join(f"{part:02x}" for part in mixed)
