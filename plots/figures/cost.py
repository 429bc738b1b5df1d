"""Figure `cost`: final score over training time and gradient steps per transition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import damage_sentence, listed
from seqeval_rl.plots.analysis.compute import compute_per_transition, hardware
from seqeval_rl.plots.analysis.cross_task import check_common_unit, comparable, without_references
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import run_at_share
from seqeval_rl.plots.analysis.naming import metric_label
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class TrainingCost:
    """One algorithm on one dataset, means over the runs that have got to the end of the dataset."""

    label: str
    style: str  # key for `style.line_styles`
    dataset: str
    device: str  # see `compute.hardware`
    score: float
    seconds: float  # of training per 1 000 transitions; NaN where nothing was timed
    updates: float  # gradient steps per transition
    runs: int


def costs(results: Sequence[RunResult]) -> tuple[list[TrainingCost], list[str]]:
    """What each algorithm's score at the end of each dataset cost, and the algorithms and datasets for which it is unknown.

    The latter have not got there yet, or were evaluated only there.

    Raises:
        UsageError: no run, or returns of different tasks.
    """
    known, unknown = [], []
    panels = comparable(collect(results))
    check_common_unit(panels)
    for panel in panels:
        for group in panel.groups:
            devices = dict.fromkeys(hardware(run) for run in group.runs)
            by_device = [cost for device in devices if (cost := _cost(panel, group, device)) is not None]
            known += by_device
            if not by_device:
                unknown.append(f"{group.label} on {panel.title}")
    return known, unknown


def _cost(panel: Panel, group: Group, device: str) -> TrainingCost | None:
    rows = []
    for run in group.runs:
        score = run_at_share(run, 1.0)
        # The score at the end of the dataset does not cost what the online phase takes.
        compute = compute_per_transition(run, panel.transitions or run.online)
        if hardware(run) == device and np.isfinite(score) and compute is not None:
            rows.append((score, 1_000 * compute.training_seconds, compute.gradient_steps))
    if not rows:
        return None
    score, seconds, updates = np.mean(rows, axis=0).tolist()
    return TrainingCost(group.label, group.style, panel.title, device, score, seconds, updates, len(rows))


@figure("cost", help="score over training time and gradient steps")
def cost(results: Sequence[RunResult], *, width: str | float = "page", caption: bool = True) -> Figure:
    """Final score over training's wall time, and over gradient steps, per transition: a marker per algorithm and dataset.

    Runs on different devices are never averaged: each device has a marker of its own. Wall time depends on the machine and on
    what else it did; the runs of a run group share theirs.

    Args:
        results: from `seqeval_rl.read_results`.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.

    Raises:
        UsageError: no run, none with a known cost up to the end of its dataset, or an unknown width.
    """
    inches = layout.figure_width(width)
    panels = collect(results)
    known, unknown = costs(results)
    if not known:
        raise UsageError(
            "results: expected a run evaluated at least twice that has got to the end of its dataset, found none. Wait for one."
        )
    looks = style.line_styles(group.style for panel in collect(results) for group in panel.groups)
    styles = {each.label: each.style for each in known}
    entries = [(label, looks[key].marker_properties) for label, key in styles.items()]
    timed = any(np.isfinite(each.seconds) for each in known)
    axes_shown = [("training time per 1 000 transitions (s)", "seconds")] * timed
    if len({f"{each.updates:.3g}" for each in known}) > 1 or not timed:
        axes_shown.append(("gradient steps per transition", "updates"))
    across = min(len(axes_shown), 2 if inches >= 5 else 1)
    down = -(-len(axes_shown) // across)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for ax, (label, name) in zip(axes.flat, axes_shown, strict=True):
            for each in known:
                ax.plot(getattr(each, name), each.score, **looks[each.style].marker_properties, alpha=0.85)
            _cost_axis(ax, [getattr(each, name) for each in known], inches / across)
            ax.set_xlabel(label)
        for row in axes:
            row[0].set_ylabel(metric_label([comparable(panels)[0].metric]))
        layout.legend(figure, entries, inches)

    height = down * (min(max(0.6 * inches / across, 1.5), 2.6) + 0.5) + layout.entries_height(entries, inches)
    text = f"{_text(known, unknown, timed)}{without_references(panels)}{damage_sentence(results)}" if caption else ""
    return layout.framed(inches, height, text, draw)


def _cost_axis(ax: Axes, values: list[float], width: float) -> None:
    """From 0, or logarithmic where the values differ by more than a factor of three; axes `width` inches wide."""
    finite = [value for value in values if np.isfinite(value)]
    if min(finite) > 0 and max(finite) > 3 * min(finite):
        ax.set_xscale("log")
        multiples = (1,) if max(finite) > 300 * min(finite) else (1, 2, 5)
        layout.logarithmic_ticks(ax.xaxis, multiples, 12, "{x:.3g}")
    else:
        ax.set_xlim(0, 1.1 * max(finite))
        layout.round_ticks(ax.xaxis, max(3, int(width / 0.7)))
        ax.xaxis.set_major_formatter("{x:.3g}")


def _text(known: Sequence[TrainingCost], unknown: Sequence[str], timed: bool) -> str:
    """The caption, with a blank at its end."""
    devices = list(dict.fromkeys(each.device for each in known))
    text = (
        "Score at the end of the dataset, a marker per algorithm and dataset, means over runs. "
        f"On {listed(devices)}. "
        f"{'Training time without evaluation; the runs of a run group share it. ' if timed else 'No run was timed. '}"
    )
    if timed and any(device.startswith("cuda") for device in devices):
        text += "On CUDA, where evaluation runs in parallel with training, all of the time. "
    updates = {f"{each.updates:.3g}" for each in known}
    if len(updates) == 1:
        text += f"All took {next(iter(updates))} gradient steps per transition. "
    untimed = [f"{each.label} on {each.dataset}" for each in known if not np.isfinite(each.seconds)]
    if timed and untimed:
        text += f"Not timed throughout: {listed(untimed)}. "
    if unknown:
        text += f"Not at the end yet, or evaluated only there: {listed(unknown)}. "
    return text
