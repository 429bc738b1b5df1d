"""Figure `profile`: performance profile, the share of runs above each score, all datasets together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.plots.analysis.bootstrap import profile_interval
from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.cross_task import interval_sentence, scores_across
from seqeval_rl.plots.analysis.statistics import performance_profile
from seqeval_rl.plots.figures import layout, style, ticks
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seqeval_rl.results.read import RunResult


_THRESHOLDS = 241  # at which a profile is drawn


@figure("profile", help="share of the runs above each score, all datasets together")
def profile(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Performance profile: share of runs with a score above each threshold, with its 95 % bootstrap band.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    every = np.concatenate([entry.scores[np.isfinite(entry.scores)] for entry in scores.entries])
    thresholds = np.linspace(min(0.0, float(every.min())), max(100.0, float(every.max())), _THRESHOLDS)
    looks = style.line_styles(entry.style for entry in scores.entries)
    entries = [(entry.label, looks[entry.style].properties) for entry in scores.entries]

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for place, entry in enumerate(scores.entries):
            look = looks[entry.style]
            ax.plot(
                thresholds, performance_profile(entry.scores, thresholds), **look.properties,
                markevery=(0.02 + 0.14 * place / len(looks), 0.14), zorder=4,
            )  # fmt: skip
            if entry.has_interval:
                low, high = profile_interval(entry.scores, thresholds, seed=seed)
                ax.fill_between(thresholds, low, high, color=look.colour, alpha=0.17, linewidth=0, zorder=3)
        ax.set_xlim(thresholds[0], thresholds[-1])
        ax.set_ylim(0, 1.02)
        ticks.round_ticks(ax.xaxis, max(3, int(inches / 0.6)))
        ax.set_xlabel("normalised score τ")
        ax.set_ylabel("share of runs with score > τ")
        layout.legend(figure, entries, inches)

    text = (
        f"Scores at {100 * share:g} % of the data. {scores.sentence()}"
        f"{interval_sentence(scores, 'Shaded')} {damage_sentence(results)}"
    )
    height = layout.panel_height(inches, entries)
    return layout.framed(inches, height, text.rstrip() if caption else "", draw)
