"""Figure `rank`: mean rank of each algorithm over the datasets, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import damage_sentence
from seqeval_rl.plots.analysis.cross_task import interval_sentence, ranks, scores_across
from seqeval_rl.plots.figures import layout, style, ticks
from seqeval_rl.plots.figures.aggregates import interval_rows
from seqeval_rl.plots.registry import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seqeval_rl.results.read import RunResult


@figure("rank", help="mean rank of each algorithm over the datasets")
def rank(
    results: Sequence[RunResult],
    *,
    share: float = 1.0,
    width: str | float = "column",
    caption: bool = True,
    seed: int = 0,
) -> Figure:
    """Mean rank of each algorithm over the datasets, 1 the best, with its 95 % bootstrap interval.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.
        seed: of the bootstrap.

    Raises:
        UsageError: as `cross_task.scores_across`, a single algorithm, or an unknown width.
    """
    inches = layout.figure_width(width)
    scores = scores_across(results, share)
    if len(scores.entries) < 2:
        raise UsageError("results: expected at least two algorithms to rank, found one. Give results of several.")
    looks = style.line_styles(entry.style for entry in scores.entries)
    names, longest, lines = layout.names_of([entry.label for entry in scores.entries], 0.35 * inches)
    row = max(0.22, layout.LINE_HEIGHT * lines + 0.06)

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        interval_rows(ax, ranks(scores, seed), [looks[entry.style] for entry in scores.entries], 0.12 / row)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(0.9, len(names) + 0.1)
        most = max(2, int((inches - longest) / 0.3))
        ticks.integer_ticks(ax.xaxis, most)
        ax.set_xlabel("mean rank ←")

    intervals = "Not every algorithm has two runs of each dataset, so no interval."
    if all(entry.has_interval for entry in scores.entries):
        intervals = interval_sentence(scores, "Bars")
    text = (
        f"Rank by the mean over runs at {100 * share:g} % of the data, mean over datasets; 1 is the best. {scores.sentence()}"
        f"{intervals} {damage_sentence(results)}"
    )
    return layout.framed(inches, row * len(names) + 0.75, text.rstrip() if caption else "", draw)
