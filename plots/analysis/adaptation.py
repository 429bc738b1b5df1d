"""Adaptation to a change of the data: how fast a curve approaches its new level, and what the order of the data costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqeval_rl.plots.analysis.changes import GroupCurve, change
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.metrics import measured, part, reached
from seqeval_rl.plots.analysis.statistics import NOTHING, Cell, Floats, difference_of_means, mean_cell, percentiles
from seqeval_rl.results.read import RunResult, hashable

LEAST_CHANGE = 5.0  # points between before and level; below, there is nothing to adapt to
_KNOWN = 0.95  # share of the resamples that must have a lag for there to be an interval


def lag(
    transitions: ArrayLike,
    values: ArrayLike,
    place: float,
    stop: float,
    evaluated_to: float | None = None,
    least: float = LEAST_CHANGE,
) -> Floats:
    """How many transitions curves lag behind their new level in the block from `place` to `stop`: [...].

    1 / (level - before) * integral over the block of (level - value), by trapezoids from (place, before) over the block's
    evaluations, with before and level as in `Change`. Of a step to the level it is the delay, of an exponential approach the
    time constant. NaN where level and before differ by less than `least`; where the level is the lower one it is the lag of a
    decline.

    Args:
        transitions: [point], increasing; of the whole curve.
        values: [..., point].
        place: where the data change, in transitions.
        stop: where they change next, or end.
        evaluated_to: see `changes.change`.
        least: in the unit of the values; with a smaller change there is nothing to adapt to.
    """
    points, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    found = change(points, values, place, stop, evaluated_to)
    inside = (points > place) & (points <= stop)
    height = found.level - found.before
    gaps = found.level[..., None] - np.concatenate([found.before[..., None], values[..., inside]], axis=-1)
    area = np.trapezoid(gaps, [place, *points[inside]], axis=-1)
    known = (np.abs(height) >= least) & (height != 0)
    return np.where(known, area / np.where(known, height, 1.0), np.nan)


def time_to(transitions: ArrayLike, values: ArrayLike, place: float, stop: float, level: float) -> Floats:
    """Transitions from `place` to the first of two consecutive evaluations at or above `level` in the block: [...].

    `stop - place`, which no such evaluation has, where there are none.

    Args:
        transitions: [point], increasing.
        values: [..., point].
        place: where the data change, in transitions.
        stop: where they change next, or end.
        level: in the unit of the values.
    """
    points, values = np.asarray(transitions, np.float64), np.asarray(values, np.float64)
    inside = (points > place) & (points <= stop)
    above = values[..., inside] >= level
    pairs = above[..., :-1] & above[..., 1:]
    if not pairs.shape[-1]:
        return np.full(values.shape[:-1], stop - place)
    first = points[inside][np.argmax(pairs, axis=-1)] - place
    return np.where(pairs.any(axis=-1), first, stop - place)


def lag_of(curve: GroupCurve, place: float, stop: float, least: float = LEAST_CHANGE) -> Cell:
    """`lag` of a group's curve, marked where it is of a decline.

    The interval is over the resamples that change in the same direction by `least` or more; there is none where those are fewer
    than 95 % of all.
    """
    value = float(lag(curve.transitions, curve.centre, place, stop, curve.evaluated_to, least))
    if np.isnan(value):
        return NOTHING
    falls = _falls(curve, curve.centre, place, stop)
    low = high = np.nan
    if curve.samples is not None:
        lags = lag(curve.transitions, curve.samples, place, stop, curve.evaluated_to, least)
        lags = lags[np.isfinite(lags) & (_falls(curve, curve.samples, place, stop) == falls)]
        if len(lags) >= _KNOWN * len(curve.samples):
            low, high = map(float, percentiles(lags, 0.95))
    return Cell(value, low, high, curve.runs, falls=bool(falls))


def _falls(curve: GroupCurve, values: Floats, place: float, stop: float) -> NDArray[np.bool_]:
    found = change(curve.transitions, values, place, stop, curve.evaluated_to)
    return np.asarray(found.level < found.before)


def time_to_of(curve: GroupCurve, place: float, stop: float, level: float | None) -> Cell:
    """`time_to` of a group's curve; at `stop - place` its cell has a limit. Nothing without a level or a complete block."""
    if level is None or curve.evaluated_to < stop:
        return NOTHING
    (cell,) = curve.cells(lambda values: [time_to(curve.transitions, values, place, stop, level)])
    return replace(cell, limit=stop - place)


def per_size(cell: Cell, size: float | None) -> Cell:
    """A cell's points divided by the size of the change; nothing where that is not known."""
    if not size:
        return NOTHING
    return Cell(cell.value / size, cell.low / size, cell.high / size, cell.runs)


def drift(panel: Panel, group: Group, control: Group, seed: int = 0) -> tuple[Cell, Cell, Cell]:
    """Sensitivity to drift: areas under the curves of a group and of its control, divided by N, and the difference.

    It is the control's area less the group's; means over the runs that have got to the end of the dataset. Before the first
    evaluation the agents of both are untrained, so that the area there does not differ.

    Args:
        panel: that has both.
        group: sequential runs.
        control: see `interleaved_control`.
        seed: of the bootstrap.
    """
    ours, theirs = ([_area(run, panel.transitions) for run in each.runs] for each in (group, control))
    return mean_cell(ours, seed), mean_cell(theirs, seed), difference_of_means(theirs, ours, seed)


def _area(run: RunResult, stop: int) -> float:
    """Area under the run's curve up to `stop`, divided by it; NaN for a run that has not got there."""
    transitions, values = part(*measured(run), stop)
    if len(transitions) < 2 or reached(run) < stop:
        return np.nan
    return float(np.trapezoid(values, transitions) / stop)


def interleaved_control(group: Group, groups: Sequence[Group]) -> Group | None:
    """Among a panel's groups the interleaved control of one of them: the same algorithm and settings, of whichever suite."""
    found = (each for each in groups if each.interleaved and _identity(each.runs[0]) == _identity(group.runs[0]))
    return None if group.control else next(found, None)


def _identity(run: RunResult) -> object:
    manifest = run.manifest
    kept = (run.algorithm, run.config, run.protocol, manifest["uses_future_data"], manifest.get("precision"))
    return hashable(kept)
