"""The suite's one-figure answer: all datasets together, score over the share of the data seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.analysis.bootstrap import bootstrap_interval
from seqeval_rl.plots.analysis.captions import damage_sentence, listed, lost_sentence
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import measured, score_at_share
from seqeval_rl.plots.analysis.statistics import AGGREGATES, Floats, Statistic
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.layout import NICE, entries_height, framed, legend
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


SHARES = np.arange(1, 101) / 100
_FADED = 0.4  # opacity


@dataclass(frozen=True)
class Stretch:
    """Shares over which the same runs have a score."""

    shares: Floats  # [point]
    centre: Floats  # [point]
    interval: tuple[Floats, Floats] | None  # low and high [point]; None where a dataset has one run
    whole: bool  # every run is there


def over_share(scores: Floats, runs: Sequence[int], statistic: Statistic, seed: int = 0) -> list[Stretch]:
    """The statistic over runs and datasets at each share, in stretches; none where a dataset has no run.

    Args:
        scores: [run, task, point] at `SHARES`; not finite where a run has not got there, or there is none.
        runs: how many runs each task has, [task].
        statistic: `iqm` or `mean`.
        seed: of the bootstrap.
    """
    there = np.isfinite(scores)
    scores = np.where(there, scores, np.nan)  # an infinite score is none
    edges = np.flatnonzero((there[:, :, 1:] != there[:, :, :-1]).any(axis=(0, 1))) + 1
    aggregate = AGGREGATES[statistic]
    found = []
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), scores.shape[2]], strict=True):
        who = there[:, :, start]
        if not who.any(axis=0).all():
            continue
        part = scores[:, :, start:stop]
        several = bool((who.sum(axis=0) >= 2).all())
        found.append(
            Stretch(
                SHARES[start:stop],
                aggregate(part),
                bootstrap_interval(part, aggregate, seed=seed) if several else None,
                who.sum(axis=0).tolist() == list(runs),
            )
        )
    return found


@figure("share", help="score over the share of the dataset, all datasets together")
def share_curves(
    results: Sequence[RunResult],
    *,
    statistic: Statistic = "iqm",
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Score over the share of the log, all datasets together, a curve per algorithm with its 95 % stratified bootstrap band.

    At each share a run counts with its last evaluation at or before it. Only datasets that all algorithms were run on count,
    each as much as any other. A curve begins where all of its datasets have an evaluation, is faded where fewer runs than all
    have got, and ends where a dataset has none. Dashed: the mean of the logs' mean scores.

    Args:
        results: of `seqeval_rl.read_results`.
        statistic: over runs and datasets, "iqm", the interquartile mean, or "mean".
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: no run, no dataset that all algorithms share and have been evaluated on, an unknown width or statistic.
    """
    if statistic not in AGGREGATES:
        raise unknown("statistic", statistic, AGGREGATES)
    inches = layout.figure_width(width)
    panels = collect(results)
    labels = list(dict.fromkeys(group.label for panel in panels for group in panel.groups))
    common = [panel for panel in panels if {group.label for group in panel.groups} == set(labels)]
    left_out = [panel.title for panel in panels if panel not in common]
    if not common:
        raise UsageError(
            f"results: expected a dataset that each of {listed(labels)} was run on, found none. Run what is missing, or give the "
            "results of fewer algorithms."
        )
    looks = style.line_styles(group.style for panel in panels for group in panel.groups)
    drawn = []
    for place, first in enumerate(common[0].groups):
        groups = [next(group for group in panel.groups if group.label == first.label) for panel in common]
        stretches = over_share(_scores(common, groups), [len(group.runs) for group in groups], statistic, seed)
        drawn.append((first.label, looks[first.style], stretches, place))
    if not any(stretches for _, _, stretches, _ in drawn):
        raise UsageError("results: expected scores on every dataset, found none. Wait for the first evaluations.")
    logs = [panel.mean_score for panel in common if panel.mean_score is not None]
    entries = [(label, look) for label, look, _, _ in drawn]

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for _, look, stretches, place in drawn:
            for part in stretches:
                strength = 1.0 if part.whole else _FADED
                few = len(part.shares) < 8
                ax.plot(
                    100 * part.shares, part.centre, **look.drawn, alpha=strength, zorder=4,
                    markevery=None if few else (0.02 + 0.14 * place / len(drawn), 0.14),
                )  # fmt: skip
                if part.interval is not None:
                    low, high = part.interval
                    ax.fill_between(
                        100 * part.shares, low, high, color=look.colour, alpha=0.17 * strength, linewidth=0, zorder=3
                    )
        if len(logs) == len(common):
            ax.axhline(float(np.mean(logs)), color=style.LOG_COLOUR, linestyle=(0, (4, 3)), linewidth=0.9, zorder=2)
        ax.set_xlim(0, 101.5)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=max(3, int(inches / 0.6)), steps=NICE))
        ax.set_xlabel("share of the log (%)")
        ax.set_ylabel("normalised score")
        legend(figure, entries, inches)

    height = min(max(0.55 * inches, 1.6), 3.2) + 0.4 + entries_height(entries, inches)
    groups = [group for panel in common for group in panel.groups]
    said = " ".join(
        [_said(common, left_out, [stretches for _, _, stretches, _ in drawn], statistic), *lost_sentence(groups)]
    )
    dashed = "Dashed: the logs' mean score. " if len(logs) == len(common) else ""
    return framed(inches, height, f"{said} {dashed}{damage_sentence(results)}".rstrip() if caption else "", draw)


def _scores(panels: Sequence[Panel], groups: Sequence[Group]) -> Floats:
    """Of one algorithm at `SHARES`, [run, task, point]."""
    scores = np.full((max(len(group.runs) for group in groups), len(panels), len(SHARES)), np.nan)
    for task, (panel, group) in enumerate(zip(panels, groups, strict=True)):
        for row, run in enumerate(group.runs):
            total = panel.transitions or run.online
            curve = measured(run)
            scores[row, task] = [score_at_share(*curve, share, total) for share in SHARES]
    return scores


def _said(
    common: Sequence[Panel], left_out: Sequence[str], curves: Sequence[Sequence[Stretch]], statistic: Statistic
) -> str:
    parts = [part for stretches in curves for part in stretches]
    name = "Interquartile mean (below four runs in all the mean)" if statistic == "iqm" else "Mean"
    text = f"{name} over runs and {len(common)} dataset{'s' if len(common) > 1 else ''}, each at its last evaluation up to there"
    if all(part.interval is None for part in parts):
        text += ". A dataset has one run, so no interval"
    else:
        text += "; shaded: 95 % stratified bootstrap interval"
        text += "; none where a dataset has one run" if any(part.interval is None for part in parts) else ""
    if any(not part.whole for part in parts):
        text += ". Faded: where not every run has got that far"
    if any(not stretches or stretches[-1].shares[-1] < SHARES[-1] for stretches in curves):
        text += ". A curve ends where no run of one of the datasets has got further"
    if left_out:
        text += f". Left out, since not every algorithm was run there: {listed(left_out)}"
    return text + "."
