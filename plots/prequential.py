"""Scores without an environment: how well each agent foretold the transitions that arrived next, and the figure of it.

A prequential score sums over the stream what each arriving transition cost the agent that had not seen it yet (PROTOCOL §7):
a description length in the sense of prequential MDL, Bornschein et al., arXiv 2210.07931. Here it is divided by the number
of transitions that arrived so far: the same order of agents at any place, and numbers that can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.curves import Quantity, draw
from seqeval_rl.plots.groups import collect
from seqeval_rl.plots.statistics import Floats, Statistic

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


_METRIC = "prequential_mean"  # of the runs that the figure is drawn from


@dataclass(frozen=True)
class Score:
    """A prequential score; lower is better."""

    label: str  # of an axis
    positive: bool = True  # as squares are; then a logarithmic axis holds agents of all sizes
    signed: bool = False  # better the nearer to 0


SCORES: dict[str, Score] = {
    "action_error": Score("squared action error"),
    "nll": Score("negative log-likelihood of actions", positive=False),
    "td_error": Score("squared TD error"),
    "value_error": Score("squared value error"),
    "value_gap": Score("value minus observed return", positive=False, signed=True),
}


DEFAULT_SCORE = "action_error"  # which every algorithm has; `select` says why


def running_mean(run: RunResult, score: str) -> tuple[NDArray[np.int64], Floats]:
    """A prequential score per transition that arrived so far: transitions [P] and means [P]; empty where the run has none.

    Args:
        run: of `seqeval_rl.read_results`.
        score: one of `SCORES`.
    """
    places, _ = run.prequential("count")
    there, means = run.prequential_mean(score)
    # Where nothing that counts has arrived since, the mean is as it was.
    last = np.searchsorted(there, places, side="right") - 1
    return places[last >= 0], means[last[last >= 0]]


def check_score(score: str) -> None:
    """Raise `UsageError` for a prequential score that nobody knows."""
    if score not in SCORES:
        raise unknown("prequential score", score, SCORES)


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
