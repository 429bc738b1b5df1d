"""Figure `prequential`: a prequential score over transitions, which needs no environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.curves import CurveSpec
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.analysis.prequential import DEFAULT_SCORE, SCORES, check_score, running_mean
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.plots.figures.learning_curves import draw_curves
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    """A prequential score per transition revealed so far, over transitions: a panel per dataset, a curve per algorithm.

    Squares have a logarithmic axis. Algorithms without the score (`td_error` needs values, `nll` a density), and static
    controls, to which nothing new is revealed, are left out and named.

    Args:
        results: from `seqeval_rl.read_results`.
        score: prequential score: action_error, nll, td_error, value_error or value_gap.
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
        raise UsageError(
            f"results: expected runs with the prequential score {score}, found {', '.join(names) or 'no prequential score'}. "
            "Choose one of these, or wait for the second evaluation."
        )
    kind = SCORES[score]
    note = "Prequential: of each transition by the agent before it was revealed; mean over all so far."
    if without:
        note += f" No {kind.label}: {', '.join(without)}."
    spec = CurveSpec(_METRIC, kind.label, kind.positive, note, statistic=statistic, seed=seed)
    return draw_curves(has, spec, width, caption)


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
