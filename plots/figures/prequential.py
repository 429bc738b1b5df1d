"""Figures of prequential scores: `prequential`, over transitions, and `correlation` with the true scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import damage_sentence, listed
from seqeval_rl.plots.analysis.curves import CurveSpec
from seqeval_rl.plots.analysis.grouping import Panel, collect
from seqeval_rl.plots.analysis.metrics import check_share
from seqeval_rl.plots.analysis.naming import LineStyle, metric_label
from seqeval_rl.plots.analysis.prequential import (
    DEFAULT_SCORE,
    SCORES,
    Candidate,
    candidates,
    check_score,
    running_mean,
    spearman,
)
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.figures.learning_curves import draw_curves
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.evaluations import Evaluations
from seqeval_rl.results.read import RunResult
from seqeval_rl.utils.text import some

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_METRIC = "prequential_mean"  # of the runs that the figure `prequential` is drawn from
_WIDE = 5  # times the lowest: from there on squares have a logarithmic axis


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
    """A prequential score per transition revealed so far, over transitions: a panel per dataset, a curve per algorithm.

    Squares have a logarithmic axis. Algorithms without the score (`td_error` needs values, `nll` a density), and static
    controls, to which nothing new is revealed, are left out and named.

    Args:
        results: from `seqeval_rl.read_results`.
        score: prequential score: action_error, agreement, nll, td_error, value_error or value_gap.
        statistic: over seeds: iqm, the interquartile mean (below four runs it is the mean), or mean.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
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
        found = some(names) if names else "no prequential score"
        raise UsageError(
            f"results: expected runs with the prequential score {score}, found {found}. "
            "Choose one of these, or wait for the second evaluation."
        )
    kind = SCORES[score]
    note = "Prequential: of each transition by the agent before it was revealed; mean over all so far."
    if without:
        note += f" No {kind.label}: {listed(without)}."
    spec = CurveSpec(_METRIC, kind.label, kind.positive, note, statistic=statistic, seed=seed)
    return draw_curves(has, spec, width, caption)


def _with_means(run: RunResult, score: str) -> RunResult:
    """The run with the score's running mean as its only metric."""
    at = dict(zip(*map(np.ndarray.tolist, running_mean(run, score)), strict=True))
    entries = [entry for entry in run.evaluations if entry["transitions"] in at]
    own = ({**entry, "metrics": {_METRIC: at[entry["transitions"]]}} for entry in entries)
    return replace(run, evaluations=Evaluations(own))


@figure("correlation", help="true score over a prequential score, with their rank correlation")
def correlation(
    results: Sequence[RunResult],
    score: str = DEFAULT_SCORE,
    *,
    share: float = 1.0,
    width: str | float = "page",
    caption: bool = True,
) -> Figure:
    """True score over a prequential score, a panel per dataset, a marker per algorithm and setting, means over seeds.

    The title gives Spearman's correlation of what a choice by the prequential score minimises with the true score,
    negated as in `ranking_table`: 1 where the score orders the settings as the true returns do. Squares that are far apart
    have a logarithmic axis.

    Args:
        results: from `seqeval_rl.read_results`.
        score: prequential score: action_error, agreement, nll, td_error, value_error or value_gap.
        share: of the data at which both are taken, above 0 and at most 1.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.

    Raises:
        UsageError: no run, an unknown score or width, a share outside (0, 1], or no dataset with two settings that have both.
    """
    check_score(score)
    check_share(share)
    inches = layout.figure_width(width)
    panels = collect(results)
    shown, left_out = _settings(panels, score, share)
    styles = {group.label: group.style for panel in panels for group in panel.groups}
    looks = style.line_styles(styles.values())
    by_label = {label: looks[key] for label, key in styles.items()}
    drawn = {each.label for _, settings in shown for each in settings}
    entries = [(label, look.marker_properties) for label, look in by_label.items() if label in drawn]
    across = min(len(shown), max(1, int(inches / 1.6)), 4)
    cell = inches / across - 0.5
    titles = [layout.wrap(panel.title, cell + 0.2, 3) for panel, _ in shown]

    def draw(figure: Figure) -> None:
        label = layout.wrap(SCORES[score].label, cell + 0.2)
        axes = layout.panels(figure, len(shown), across, label, metric_label(panel.metric for panel, _ in shown))
        for ax, (_, settings), title in zip(axes, shown, titles, strict=True):
            _draw_settings(ax, settings, by_label, score, cell)
            rho = spearman([each.cost(score) for each in settings], [-each.true for each in settings])
            shown_rho = f"ρ = {rho:.2f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(rho) else "ρ: all equal"
            ax.set_title(f"{title}\n{shown_rho}, {len(settings)} settings")
        layout.legend(figure, entries, inches)

    height = min(max(0.7 * cell, 1.1), 2.6) + 0.55
    height += layout.LINE_HEIGHT * (2 + max(title.count("\n") for title in titles))
    height = -(-len(shown) // across) * height + layout.entries_height(entries, inches) + 0.1
    text = (
        f"True score over the prequential score per transition, both at {100 * share:g} % of the data, means over seeds. "
        "ρ: Spearman's correlation, 1 where the prequential score orders the settings as the true scores do. "
        f"{f'Left out: {listed(left_out)}. ' if left_out else ''}{damage_sentence(results)}"
    )
    return layout.framed(inches, height, text if caption else "", draw)


def _settings(
    panels: Sequence[Panel], score: str, share: float
) -> tuple[list[tuple[Panel, list[Candidate]]], list[str]]:
    """The datasets with two settings or more that have both scores, and what is left out."""
    shown, left_out = [], []
    for panel in panels:
        judged, out = candidates(panel, score, share)
        left_out += [f"{each.label} on {panel.title} ({each.why})" for each in out]
        left_out += [f"{each.label} on {panel.title} (no true score)" for each in judged if not np.isfinite(each.true)]
        judged = [each for each in judged if np.isfinite(each.true)]
        if len(judged) > 1:
            shown.append((panel, judged))
        else:
            left_out += [f"{each.label} on {panel.title} (no other setting)" for each in judged]
    if not shown:
        raise UsageError(
            f"results: expected a dataset with two settings that have {score} and true scores at {100 * share:g} % of the data, "
            "found none. Run more of them, or choose another score or share."
        )
    return shown, left_out


def _draw_settings(
    ax: Axes, settings: Sequence[Candidate], looks: dict[str, LineStyle], score: str, width: float
) -> None:
    """A marker per setting, on axes about `width` inches wide."""
    for each in settings:
        ax.plot(each.score, each.true, **looks[each.label].marker_properties)
    scores = [each.score for each in settings]
    if SCORES[score].positive and max(scores) > _WIDE * min(scores) > 0:
        _logarithmic_x(ax, scores, max(2, int(width / 0.5)))
    else:
        layout.round_ticks(ax.xaxis, max(2, int(width / 0.5)))
    layout.round_ticks(ax.yaxis, 4)
    ax.margins(0.12)


def _logarithmic_x(ax: Axes, values: list[float], most: int) -> None:
    """A logarithmic x-axis with at most `most` round numbers within the range of the values, all of them above 0."""
    from matplotlib.ticker import NullLocator

    room = max(1.3, (max(values) / min(values)) ** 0.12)
    low, high = min(values) / room, max(values) * room
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    round_numbers = [multiple * 10.0**power for power in range(first, last + 1) for multiple in (1, 2, 5)]
    inside = [number for number in round_numbers if low <= number <= high]
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_xticks(inside[:: -(-len(inside) // most)] if inside else [min(values)])
    ax.xaxis.set_major_formatter("{x:.3g}")
    ax.xaxis.set_minor_locator(NullLocator())
