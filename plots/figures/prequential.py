"""Figures of prequential scores: over the data, and against true returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import damage_sentence, listed
from seqeval_rl.plots.analysis.comparisons import spearman
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.model_selection import candidates
from seqeval_rl.plots.analysis.prequential import DEFAULT_SCORE, SCORES, check_score, running_mean
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.layout import NICE, entries_height, framed, legend, wrap
from seqeval_rl.plots.figures.learning_curves import Quantity, draw
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


_METRIC = "prequential_mean"  # of the runs that the figure is drawn from


@figure("prequential", help="a prequential score over transitions, without an environment")
def prequential(
    results: Sequence[RunResult],
    score: str = DEFAULT_SCORE,
    *,
    statistic: Statistic = "iqm",
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """A prequential score per transition that arrived so far, over transitions: a panel per dataset, a curve per algorithm.

    Squares have a logarithmic axis. Algorithms without the score (`td_error` needs values, `nll` a density), and static
    controls, on which nothing arrives, are left out and named.

    Args:
        results: of `seqeval_rl.read_results`.
        score: "action_error", "nll", "td_error", "value_error" or "value_gap".
        statistic: over seeds, as in `curves`, as all that follows.
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: an unknown score, no run that has it, or what `curves` refuses.
    """
    check_score(score)
    has, without = [], []
    for panel in collect(results):
        for group in panel.groups:
            if any(score in run.prequential_scores() for run in group.runs):
                has += [_with_means(run, score) for run in group.runs]
            elif group.label not in without:
                without.append(group.label)
    if not has:
        names = sorted({name for run in results for name in run.prequential_scores()})
        raise UsageError(
            f"results: expected runs with the prequential score {score}, found {', '.join(names) or 'no prequential score'}. "
            "Choose one of these, or wait for the second evaluation."
        )
    kind = SCORES[score]
    note = "Prequential: of each transition by the agent as it was before that arrived; mean over all so far."
    if without:
        note += f" No {kind.label}: {', '.join(without)}."
    quantity = Quantity(_METRIC, kind.label, kind.positive, note)
    return draw(has, quantity, statistic=statistic, width=width, caption=caption, seed=seed)


def _with_means(run: RunResult, score: str) -> RunResult:
    """The run with the score's running mean as its only metric."""
    places, means = running_mean(run, score)
    at = dict(zip(places.tolist(), means.tolist(), strict=True))
    evaluations: list[dict[str, Any]] = [
        {**entry, "metrics": {_METRIC: at[entry["transitions"]]}}
        for entry in run.evaluations
        if entry["transitions"] in at
    ]
    return replace(run, evaluations=evaluations)


_WIDE = 5  # times the lowest: from there on squares have a logarithmic axis


@figure("correlation", help="true score over a prequential score, with their rank correlation")
def correlation(
    results: Sequence[RunResult],
    score: str = DEFAULT_SCORE,
    *,
    share: float = 1.0,
    width: str | float = "page",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """True score over a prequential score, a panel per dataset, a point per algorithm and setting, means over seeds.

    In the title stands Spearman's correlation of what a choice by the prequential score makes small with the true score,
    negated as in `ranking_table`: 1 where the score orders the settings as the true returns do. Squares that are far apart
    have a logarithmic axis.

    Args:
        results: of `seqeval_rl.read_results`.
        score: "action_error", "nll", "td_error", "value_error" or "value_gap".
        share: of the log up to which both are taken, above 0 and at most 1.
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows.
        seed: of no use here: nothing is drawn at random.

    Raises:
        UsageError: no run, an unknown score or width, a share outside (0, 1], or no dataset with two settings that have both.
    """
    check_score(score)
    if not 0 < share <= 1:
        raise UsageError(f"share of the data: expected above 0 and at most 1, found {share}. Give 0.5 for half.")
    inches = layout.figure_width(width)
    panels = collect(results)
    shown, left_out = [], []
    for panel in panels:
        judged, out = candidates(panel, score, share)
        left_out += [f"{each.label} on {panel.title} ({each.why})" for each in out]
        left_out += [f"{each.label} on {panel.title} (no true score)" for each in judged if not np.isfinite(each.true)]
        judged = [each for each in judged if np.isfinite(each.true)]
        if len(judged) > 1:
            shown.append((panel, judged))
        else:
            left_out += [f"{each.label} on {panel.title} (no other beside it)" for each in judged]
    if not shown:
        raise UsageError(
            f"results: expected a dataset with two settings that have {score} and true scores at {100 * share:g} % of the data, "
            "found none. Run more of them, or choose another score or share."
        )
    of = {group.label: group.style for panel in panels for group in panel.groups}
    looks = style.line_styles(of.values())
    there = {each.label for _, judged in shown for each in judged}
    entries = [(label, looks[key]) for label, key in of.items() if label in there]
    across = min(len(shown), max(1, int(inches / 1.6)), 4)
    down = -(-len(shown) // across)
    cell = inches / across - 0.5
    titles = [wrap(panel.title, cell + 0.2, 3) for panel, _ in shown]
    kind = SCORES[score]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False)
        for ax in axes.flat[len(shown) :]:
            ax.set_axis_off()
        for place, (ax, (_, judged), title) in enumerate(zip(axes.flat, shown, titles, strict=False)):
            for each in judged:
                ax.plot(each.score, each.true, **looks[of[each.label]].drawn | {"linestyle": ""})
            rho = spearman([each.cost(score) for each in judged], [-each.true for each in judged])
            said = f"ρ = {rho:.2f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(rho) else "ρ: all equal"
            ax.set_title(f"{title}\n{said}, {len(judged)} settings")
            costs = [each.score for each in judged]
            if kind.positive and max(costs) > _WIDE * min(costs) > 0:
                _logarithmic(ax, costs, cell)
            else:
                ax.xaxis.set_major_locator(MaxNLocator(nbins=max(2, int(cell / 0.5)), steps=NICE))
            ax.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=NICE))
            ax.margins(0.12)
            if place + across >= len(shown):
                ax.set_xlabel(wrap(kind.label, cell + 0.2))
            if place % across == 0:
                ax.set_ylabel("normalised score")
        legend(figure, entries, inches, lines=False)

    tall = min(max(0.7 * cell, 1.1), 2.6) + 0.55 + layout.LINE_HEIGHT * (2 + max(title.count("\n") for title in titles))
    text = (
        f"True score over the prequential score per transition, both at {100 * share:g} % of the data, means over seeds. "
        "ρ: Spearman's correlation, 1 where the prequential score orders the settings as the true scores do. "
    )
    if left_out:
        text += f"Left out: {listed(left_out)}. "
    height = down * tall + entries_height(entries, inches) + 0.1
    return framed(inches, height, f"{text}{damage_sentence(results)}".rstrip() if caption else "", draw)


def _logarithmic(ax: Axes, values: Sequence[float], width: float) -> None:
    """A logarithmic x-axis with a few round numbers that lie within the values' reach."""
    ax.set_xscale("log")
    low, high = min(values), max(values)
    room = max(1.3, (high / low) ** 0.12)
    ax.set_xlim(low / room, high * room)
    first, last = int(np.floor(np.log10(low / room))), int(np.ceil(np.log10(high * room)))
    round_numbers = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
    inside = [number for number in round_numbers if low / room <= number <= high * room]
    most = max(2, int(width / 0.5))
    every = -(-len(inside) // most)
    ax.set_xticks(inside[::every] if inside else [low])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
