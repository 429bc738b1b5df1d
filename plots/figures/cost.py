"""What a score costs: wall time and gradient steps for each transition of the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import damage_sentence, listed
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import measured, score_at_share
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.layout import NICE, entries_height, framed, legend
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class TrainingCost:
    """One algorithm on one dataset, means over the runs that have got to the end of the log."""

    label: str
    style: str
    dataset: str
    device: str  # and processor, as the manifest names them
    score: float
    seconds: float  # of training per 1 000 transitions; NaN where nothing was timed
    updates: float  # gradient steps per transition
    runs: int


def costs(results: Sequence[RunResult]) -> tuple[list[TrainingCost], list[str]]:
    """What each algorithm's score on each dataset cost up to the end of the log, and those of which that is not known.

    These have not got there yet, or were evaluated there only, so that nothing is known of what lies before.

    Raises:
        UsageError: no run.
    """
    found, without = [], []
    for panel in collect(results):
        for group in panel.groups:
            devices = dict.fromkeys(_device(run) for run in group.runs)
            made = [_cost(panel, group, device) for device in devices]
            found += [cost for cost in made if cost is not None]
            if not any(made):
                without.append(f"{group.label} on {panel.title}")
    return found, without


def _cost(panel: Panel, group: Group, device: str) -> TrainingCost | None:
    rows = []
    for run in group.runs:
        score = score_at_share(*measured(run), 1.0, panel.transitions or run.online)
        # What the online phase costs is not the price of the score at the end of the log.
        stop = panel.transitions or run.online
        # Published curves have no gradient steps.
        entries = [e for e in run.evaluations if e["transitions"] <= stop and "gradient_steps" in e]
        if _device(run) != device or not np.isfinite(score) or len(entries) < 2:
            continue
        first, last = entries[0], entries[-1]
        # A static control sees all transitions at once; it is beside the sequential run, whose place its last evaluation has.
        transitions = last["transitions"] - (0 if group.static else first["transitions"])
        seconds = sum(_training_seconds(entry, device) for entry in entries[1:])
        if last["evaluation"] - first["evaluation"] != len(entries) - 1:
            seconds = float("nan")  # a damaged line has taken its seconds with it
        rows.append(
            (score, 1_000 * seconds / transitions, (last["gradient_steps"] - first["gradient_steps"]) / transitions)
        )
    if not rows:
        return None
    score, seconds, updates = np.mean(rows, axis=0).tolist()
    return TrainingCost(group.label, group.style, panel.title, device, score, seconds, updates, len(rows))


def _device(run: RunResult) -> str:
    """What the run was timed on; of a GPU a manifest does not say which, so its host's processor stands for it."""
    named = [str(run.manifest[key]) for key in ("device", "processor") if run.manifest.get(key)]
    return " with ".join(named) or "an unknown device"


def _training_seconds(entry: dict[str, object], device: str) -> float:
    """Wall time since the evaluation before, without this one's; on CUDA evaluation goes on beside training."""
    metrics = entry["metrics"]
    assert isinstance(metrics, dict)
    if "seconds" not in metrics:
        return float("nan")
    beside = device.startswith("cuda")
    return float(metrics["seconds"]) - (0.0 if beside else float(metrics.get("evaluation_seconds", 0.0)))


@figure("cost", help="score over training time and gradient steps")
def cost(
    results: Sequence[RunResult],
    *,
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Final score over training's wall time, and over gradient steps, per transition: a point per algorithm and dataset.

    Runs on different devices are never averaged: each device has a point of its own. Wall time depends on the machine and on
    what else it did; the runs of a stack share theirs.

    Args:
        results: of `seqeval_rl.read_results`.
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows.
        seed: of no use here: nothing is drawn at random.

    Raises:
        UsageError: no run, none of which the cost up to the end of its log is known, or an unknown width.
    """
    inches = layout.figure_width(width)
    found, without = costs(results)
    if not found:
        raise UsageError(
            "results: expected a run that was evaluated at least twice and has got to the end of its log, found none. Wait "
            "for one."
        )
    looks = style.line_styles(each.style for each in found)
    entries = [(label, looks[key]) for label, key in dict.fromkeys((each.label, each.style) for each in found)]
    timed = any(np.isfinite(each.seconds) for each in found)
    updates = {f"{each.updates:.3g}" for each in found}
    drawn = [("training time per 1 000 transitions (s)", "seconds")] * timed
    if len(updates) > 1 or not timed:
        drawn.append(("gradient steps per transition", "updates"))
    across = min(len(drawn), 2 if inches >= 5 else 1)
    down = -(-len(drawn) // across)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for ax, (label, name) in zip(axes.flat, drawn, strict=True):
            values = [getattr(each, name) for each in found]
            for each, value in zip(found, values, strict=True):
                ax.plot(value, each.score, **looks[each.style].drawn | {"linestyle": ""}, alpha=0.85)
            there = [value for value in values if np.isfinite(value)]
            if min(there) > 0 and max(there) > 3 * min(there):
                ax.set_xscale("log")
                wide = max(there) > 300 * min(there)
                ax.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=12))
                ax.xaxis.set_minor_locator(NullLocator())
            else:
                ax.set_xlim(0, 1.1 * max(there))
                ax.xaxis.set_major_locator(MaxNLocator(nbins=max(3, int(inches / across / 0.7)), steps=NICE))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            ax.set_xlabel(label)
        for row in axes:
            row[0].set_ylabel("normalised score")
        legend(figure, entries, inches, lines=False)

    devices = list(dict.fromkeys(each.device for each in found))
    text = (
        f"Score at the end of the log, a point per algorithm and dataset, means over runs. On {listed(devices)}. "
        + (
            "Time of training without evaluation, as the runs' clocks say; runs of one stack share it. "
            if timed
            else ""
        )
        + ("" if timed else "No run was timed. ")
    )
    if timed and any(device.startswith("cuda") for device in devices):
        text += "On CUDA, where evaluation goes on beside training, all of the time. "
    if len(updates) == 1:
        text += f"All took {next(iter(updates))} gradient steps per transition. "
    untimed = [f"{each.label} on {each.dataset}" for each in found if not np.isfinite(each.seconds)]
    if timed and untimed:
        text += f"Not timed throughout: {listed(untimed)}. "
    if without:
        text += f"Not at the end yet, or evaluated only there: {listed(without)}. "
    height = down * (min(max(0.6 * inches / across, 1.5), 2.6) + 0.5) + entries_height(entries, inches)
    return framed(inches, height, f"{text}{damage_sentence(results)}".rstrip() if caption else "", draw)
