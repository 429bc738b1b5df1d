"""Figure `share`: score over the share of the dataset seen, all datasets together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.captions import damage_sentence, listed, lost_sentence
from seqeval_rl.plots.analysis.cross_task import check_common_unit, comparable, has_online_phase, without_references
from seqeval_rl.plots.analysis.curves import Segment, stretches
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import run_at_share
from seqeval_rl.plots.analysis.naming import metric_label
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Floats, Statistic, bootstrap_interval
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.learning_curves import draw_segments
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SHARES = np.arange(1, 101) / 100


def over_share(scores: Floats, runs: Sequence[int], statistic: Statistic, seed: int = 0) -> list[Segment]:
    """The statistic over runs and datasets at each share in per cent, in segments; none where a dataset has no run.

    Args:
        scores: [run, task, point] at `SHARES`; not finite where a run has not got there, or is absent.
        runs: how many runs each task has, [task].
        statistic: `iqm` or `mean`.
        seed: of the bootstrap.
    """
    known = np.isfinite(scores)
    scores = np.where(known, scores, np.nan)
    aggregate = AGGREGATES[statistic]
    segments = []
    for start, stop in stretches(known):
        counts = known[:, :, start].sum(axis=0)  # runs of each task
        if counts.all():
            part = scores[:, :, start:stop]
            interval = bootstrap_interval(part, aggregate, seed=seed) if (counts >= 2).all() else None
            complete = counts.tolist() == list(runs)
            segments.append(Segment(100 * SHARES[start:stop], aggregate(part), interval, int(counts.sum()), complete))
    return segments


@figure("share", help="score over the share of the dataset, all datasets together")
def share_curves(
    results: Sequence[RunResult],
    *,
    statistic: Statistic = "iqm",
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Score over the share of the dataset, all datasets together: a curve per algorithm with a 95 % stratified bootstrap band.

    At each share a run counts with the evaluation that is nearest to it, at 100 % with the last. Only datasets that all
    algorithms were run on count, each as much as any other. A curve begins where all of its datasets have an evaluation, is
    faded where fewer runs than all have got, and ends where a dataset has none. Dashed: the mean of the datasets' mean scores.

    Args:
        results: from `seqeval_rl.read_results`.
        statistic: over runs and datasets: iqm, the interquartile mean, or mean.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: no run, no dataset that all algorithms share and have been evaluated on, an unknown width or statistic.
    """
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    inches = layout.figure_width(width)
    panels = collect(results)
    common = _common(panels)
    curves = _curves(common, statistic, seed)
    looks = style.line_styles(group.style for panel in panels for group in panel.groups)
    entries = [(group.label, looks[group.style].properties) for group, _ in curves]
    means = [panel.mean_score for panel in common if panel.mean_score is not None]

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for place, (group, segments) in enumerate(curves):
            draw_segments(ax, segments, looks[group.style], place / len(curves))
        if len(means) == len(common):
            ax.axhline(float(np.mean(means)), color=style.GREY, linestyle=(0, (4, 3)), linewidth=0.9, zorder=2)
        ax.set_xlim(0, 101.5)
        layout.round_ticks(ax.xaxis, max(3, int(inches / 0.6)))
        ax.set_xlabel("share of the dataset (%)")
        ax.set_ylabel(metric_label([common[0].metric]))
        layout.legend(figure, entries, inches)

    left_out = [panel.title for panel in comparable(panels) if panel not in common]
    sentences = [
        _statistic_sentences(common, left_out, [segments for _, segments in curves], statistic),
        lost_sentence([group for panel in common for group in panel.groups]),
        f"Dashed: the datasets' mean {common[0].metric}." if len(means) == len(common) else "",
        without_references(panels).rstrip(),
        "On the datasets alone, without the online phase after them." if has_online_phase(common) else "",
        damage_sentence(results),
    ]
    text = " ".join(sentence for sentence in sentences if sentence) if caption else ""
    return layout.framed(inches, layout.panel_height(inches, entries), text, draw)


def _common(panels: Sequence[Panel]) -> list[Panel]:
    """The datasets that every algorithm was run on; those without scores only where none has any, and of one task."""
    labels = list(dict.fromkeys(group.label for panel in panels for group in panel.groups))
    common = [panel for panel in comparable(panels) if {group.label for group in panel.groups} == set(labels)]
    if not common:
        raise UsageError(
            f"results: expected a dataset that each of {listed(labels)} was run on, found none. Run what is missing, or give the "
            "results of fewer algorithms."
        )
    check_common_unit(common)
    return common


def _curves(common: Sequence[Panel], statistic: Statistic, seed: int) -> list[tuple[Group, list[Segment]]]:
    """Of each algorithm the group on the first dataset, and the segments."""
    curves = []
    for first in common[0].groups:
        groups = [next(group for group in panel.groups if group.label == first.label) for panel in common]
        runs = [len(group.runs) for group in groups]
        curves.append((first, over_share(_scores(groups), runs, statistic, seed)))
    if not any(segments for _, segments in curves):
        raise UsageError("results: expected scores on every dataset, found none. Wait for the first evaluations.")
    return curves


def _scores(groups: Sequence[Group]) -> Floats:
    """Scores of one algorithm at `SHARES`, [run, task, point]; NaN where a run has none."""
    scores = np.full((max(len(group.runs) for group in groups), len(groups), len(SHARES)), np.nan)
    for task, group in enumerate(groups):
        for row, run in enumerate(group.runs):
            scores[row, task] = [run_at_share(run, share) for share in SHARES]
    return scores


def _statistic_sentences(
    common: Sequence[Panel], left_out: Sequence[str], curves: Sequence[Sequence[Segment]], statistic: Statistic
) -> str:
    parts = [part for segments in curves for part in segments]
    name = "Interquartile mean (below four runs in all the mean)" if statistic == "iqm" else "Mean"
    datasets = f"{len(common)} dataset{'s' if len(common) > 1 else ''}"
    text = f"{name} over runs and {datasets}, each with its evaluation nearest to the share"
    if all(part.interval is None for part in parts):
        text += ". A dataset has one run, so no interval"
    else:
        text += "; shaded: 95 % stratified bootstrap interval"
        text += "; none where a dataset has one run" if any(part.interval is None for part in parts) else ""
    if any(not part.complete for part in parts):
        text += ". Faded: not every run has got that far"
    if any(not segments or segments[-1].transitions[-1] < 100 for segments in curves):
        text += ". A curve ends where no run of one of the datasets has got further"
    if left_out:
        text += f". Left out, since not every algorithm was run there: {listed(left_out)}"
    return text + "."
