"""What the x-axis of a curve may be: transitions, as everywhere, or what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.plots.groups import Panel
from seqeval_rl.plots.measures import measured
from seqeval_rl.plots.statistics import Floats

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class Axis:
    """An x-axis."""

    label: str
    of_data: bool  # places in the data have one place on it, the same for all runs
    note: str = ""  # for the caption

    def extent(self, panel: Panel) -> float | None:
        """Where it ends on that panel; None where the runs decide."""
        if not self.of_data:
            return None
        return self.place(panel, panel.extent)

    def place(self, panel: Panel, transitions: float) -> float:
        """Where so many transitions lie, on an axis of data."""
        return transitions if self is AXES["transitions"] else 100 * transitions / (panel.transitions or panel.online)


_ELSEWHERE = "Boundaries are not drawn: each run meets them at its own place."
AXES = {
    "transitions": Axis("transitions", of_data=True),
    "share": Axis("share of the log (%)", of_data=True, note="Past 100 %: the online phase."),
    "gradient_steps": Axis("gradient steps", of_data=False),
    "wall_time": Axis(
        "wall time (s)",
        of_data=False,
        note="Wall time: of training and evaluation, added up over attempts; runs of one stack share it.",
    ),
}


def placed(run: RunResult, metric: str, x: str) -> tuple[Floats, Floats]:
    """The run's curve over the axis `x`: places [P], increasing, and values [P]; empty where it lacks what that needs.

    Args:
        run: of `seqeval_rl.read_results`.
        metric: of its evaluations.
        x: one of `AXES`. `gradient_steps` are the run's own, for a static control too; `wall_time` needs the runs' clock.
    """
    if AXES[x].of_data:
        transitions, values = measured(run, metric)
        total = run.manifest["dataset"]["transitions"] or run.online
        return (transitions if x == "transitions" else 100 * transitions / total).astype(np.float64), values
    places: list[float] = []
    found: list[float] = []
    wall = 0.0
    for entry in run.evaluations:
        if x == "wall_time":
            if "seconds" not in entry["metrics"]:
                continue
            wall += entry["metrics"]["seconds"]
        if metric in entry["metrics"]:
            places.append(wall if x == "wall_time" else entry["gradient_steps"])
            found.append(entry["metrics"][metric])
    # Of several at one place the last counts, as over transitions.
    there, last = np.unique(np.array(places, np.float64)[::-1], return_index=True)
    return there, np.array(found, np.float64)[::-1][last]


def notes(axis: Axis, panels: list[Panel]) -> str:
    """What the caption says of the axis."""
    boundaries = any(len(panel.stretches) > 1 for panel in panels)
    parts = []
    if axis is AXES["wall_time"] or (axis is AXES["share"] and any(p.transitions and p.online for p in panels)):
        parts.append(axis.note)
    if not axis.of_data and boundaries:
        parts.append(_ELSEWHERE)
    return " ".join(parts)
