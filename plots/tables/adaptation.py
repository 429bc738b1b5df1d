"""Tables `adaptation`: adaptation speed at each change of block, sensitivity to drift, compute per transition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.adaptation import LEAST_CHANGE, drift, interleaved_control, lag_of, per_size, time_to_of
from seqeval_rl.plots.analysis.captions import table_notes
from seqeval_rl.plots.analysis.changes import change_of, group_curve
from seqeval_rl.plots.analysis.compute import compute_per_transition, hardware
from seqeval_rl.plots.analysis.grouping import Block, Panel, collect
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import Kind, Row, make_row, row_of, statistic_text
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult

_SCORE, _LOSS, _NEUTRAL = Kind(better=None), Kind(better="lower"), Kind("count", None)
_SOON, _COST = Kind("transitions", "lower"), Kind("count", "lower")
_SPEED = {
    "before": _SCORE, "level": _SCORE, "lag": _SOON, "to block mean": _SOON, "dip / D": _LOSS, "forgotten / D": _LOSS,
}  # fmt: skip
_DRIFT = {"area": _SCORE, "area interleaved": _SCORE, "sensitivity": _SCORE}
_COMPUTE = {
    "gradient steps": _NEUTRAL, "training ms": _COST, "evaluation ms": _NEUTRAL, "interaction ms": _COST,
    "training FLOP": _COST, "evaluation FLOP": _NEUTRAL, "interaction FLOP": _COST,
}  # fmt: skip


@table("adaptation", help="adaptation speed, sensitivity to drift, compute per transition")
def adaptation_tables(results: Sequence[RunResult], *, statistic: Statistic = "mean", seed: int = 0) -> list[Table]:
    """Up to three tables: how fast curves approach their new level after each block boundary (`plots.lag`), what the order of the
    blocks costs compared with the interleaved control, and compute per transition.

    Numbers of the first are of the curve of the mean over the runs that have got to the block's end. Controls are left out of it.
    A table of which the results have nothing is left out.

    Args:
        results: from `seqeval_rl.read_results`.
        statistic: over seeds, of the first table: "mean" or "iqm" (below four runs the mean).
        seed: of the bootstrap.

    Raises:
        UsageError: no run, none that any of the tables is of, or an unknown statistic.
    """
    panels = collect(results)
    made = [_speed(results, panels, statistic, seed), _drift(results, panels, seed), _compute(results, panels, seed)]
    tables = [each for each in made if each is not None]
    if not tables:
        raise UsageError(
            "results: expected runs on a stream with block boundaries, or runs with recorded gradient steps and two "
            "evaluations, found none. Other measures: --measures data or reach."
        )
    return tables


def _changes(panels: Sequence[Panel]) -> Iterator[tuple[str, Panel, Block]]:
    """Every block change: its name with the size, its panel, and the block that begins."""
    for panel in panels:
        for block, new in pairwise(panel.blocks):
            size = f", D = {new.change_size:.2f}" if new.change_size is not None else ""
            yield f"{panel.title}: {block.label} → {new.label}{size}", panel, new


def _speed(results: Sequence[RunResult], panels: Sequence[Panel], statistic: Statistic, seed: int) -> Table | None:
    rows, groups = [], []
    for name, panel, new in _changes(panels):
        for group in panel.groups:
            if group.control:
                continue
            curve = group_curve(group, new.start, new.stop, statistic=statistic, seed=seed)
            before, _, level, dip, forgotten = change_of(curve, new.start, new.stop)
            least = LEAST_CHANGE if group.metric == "score" else 0.0  # of returns there are no points
            cells = [
                before, level, lag_of(curve, new.start, new.stop, least), time_to_of(curve, new.start, new.stop, new.mean_score),
                per_size(dip, new.change_size), per_size(forgotten, new.change_size),
            ]  # fmt: skip
            rows.append(row_of(name, new.mean_score, [group], cells))
            groups.append((panel.title, group))
    if not rows:
        return None
    caption = (
        f"Adaptation speed at block boundaries, of the curve of the {statistic_text(rows, statistic)}, over the runs that have "
        "got to the block's end. Before: the last evaluation at or before the boundary; level: mean over the last fifth of the "
        "block's evaluations, at least two; lag: integral over the block of (level less score) divided by (level less before), "
        "in transitions: the delay of a jump, the time constant of an exponential approach; ↓: of a decline; – where level and "
        "before differ by less than 5 points of score, and no interval where that is so in more than 5 % of the resamples; "
        "to block mean: transitions until two evaluations in a row are at or above the new block's mean score, > the block's "
        "length where there are none. D: size of the change, root mean square of Cohen's d over observations and actions. "
        f"Bold: best at the boundary, and values within its interval.{table_notes(results, groups)}"
    )
    sized = any(new.change_size for _, _, new in _changes(panels))
    made = _table("adaptation", _SPEED, rows, caption, () if sized else ("dip / D", "forgotten / D"), statistic)
    return replace(made, leading=("dataset", "algorithm", "seeds", "block mean"))


def _drift(results: Sequence[RunResult], panels: Sequence[Panel], seed: int) -> Table | None:
    rows, groups = [], []
    for panel in panels:
        for group in panel.groups:
            control = interleaved_control(group, panel.groups)
            if control is not None and panel.transitions:
                rows.append(row_of(panel.title, panel.mean_score, [group], drift(panel, group, control, seed)))
                groups += [(panel.title, group), (panel.title, control)]
    if not rows:
        return None
    caption = (
        "Sensitivity to drift. Area: under the curve up to the end of the dataset, divided by its N transitions; interleaved: of "
        "the control, the same stream with the transitions of all blocks mixed uniformly; sensitivity: the control's area less "
        f"the stream's, positive where the order costs. Numbers: {statistic_text(rows, 'mean')}."
        f"{table_notes(results, groups)}"
    )
    return _table("drift", _DRIFT, rows, caption)


def _compute(results: Sequence[RunResult], panels: Sequence[Panel], seed: int) -> Table | None:
    rows, groups = [], []
    for panel in panels:
        machines = dict.fromkeys(hardware(run) for group in panel.groups for run in group.runs)
        for machine in machines:
            for group in panel.groups:
                timed = [(run, compute_per_transition(run)) for run in group.runs if hardware(run) == machine]
                known = [(run, each) for run, each in timed if each is not None]
                if not known:
                    continue
                part = replace(group, runs=tuple(run for run, _ in known))
                values = [_in_milliseconds(*vars(each).values()) for _, each in known]
                rows.append(make_row(f"{panel.title} on {machine}", panel.mean_score, part, values, "mean", seed))
                groups.append((panel.title, part))
    if not rows:
        return None
    caption = (
        "Compute per transition that arrives after the first evaluation, by hardware; only equal hardware is compared. Wall time "
        "of training is what evaluation and the interaction of an online phase leave; on CUDA evaluation runs in parallel with "
        "it, and the runs of a run group share it. What else the machine did shows, and longer episodes take longer to evaluate. "
        "FLOP: of matrix products, convolutions and attention of the networks; simulators are not counted. "
        f"Numbers: {statistic_text(rows, 'mean')}. "
        f"Bold: least on that hardware, and values within its interval.{table_notes(results, groups)}"
    )
    online = any(group.online for _, group in groups)
    return _table("compute", _COMPUTE, rows, caption, () if online else ("interaction ms", "interaction FLOP"))


def _table(
    name: str,
    kinds: Mapping[str, Kind],
    rows: Sequence[Row],
    caption: str,
    without: Sequence[str] = (),
    statistic: Statistic = "mean",
) -> Table:
    """The table without some of its quantities."""
    kept = [place for place, quantity in enumerate(kinds) if quantity not in without]
    shown = tuple(replace(row, cells=tuple(row.cells[place] for place in kept)) for row in rows)
    left = {quantity: kind for quantity, kind in kinds.items() if quantity not in without}
    return Table(tuple(left), shown, caption, tuple(left.values()), name, statistic=statistic)


def _in_milliseconds(steps: float, *others: float) -> list[float]:
    seconds, flop = others[:3], others[3:]
    return [steps, *(1_000 * np.array(seconds)), *flop]
