"""Choosing an algorithm's settings with no environment, from prequential scores alone, and what being wrong would have cost.

The default score is `action_error`. It is the one that every algorithm has and that means the same for all: the squared
distance of the greedy action to the logged one, up to constants the code length of the log's actions under a Gaussian with
the policy as its mean, which is what prequential MDL sums. The others compare less fairly. `td_error` measures each agent
by its own Bellman equation: it grows with the values themselves, so that an agent that has found a better policy can look
worse than one whose values are small, and it can be small where values are wrong (Fujimoto et al., arXiv 2201.12417).
`value_error` and `value_gap` reward an agent for knowing the value of the policy that made the log, not of its own. What
`action_error` favours in turn is imitation: on logs of poor policies, where the best agents differ from what was logged, do
not trust it. This is an argument, not a finding: `ranking_table` says how far each score can be trusted, wherever true returns
are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.plots.candidates import Candidate, LeftOut, candidates
from seqeval_rl.plots.groups import collect
from seqeval_rl.plots.prequential import DEFAULT_SCORE, check_score

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class Choice:
    """What was chosen on one dataset."""

    dataset: str
    score: str  # by which
    share: float  # of the data that it is over
    candidates: tuple[Candidate, ...]  # best by the score first: the choice; empty where nothing can be judged
    left_out: tuple[LeftOut, ...]

    @property
    def picked(self) -> Candidate | None:
        """The choice: of lowest cost, of equal ones the first in the legend's order."""
        return self.candidates[0] if self.candidates else None

    @property
    def best(self) -> Candidate | None:
        """The one with the highest true score; None where some candidate has none."""
        if not self.candidates or not all(np.isfinite(each.true) for each in self.candidates):
            return None
        return max(self.candidates, key=lambda each: each.true)

    @property
    def regret(self) -> float:
        """Normalised score lost by the choice, 0 where it is the best; NaN where true scores are missing."""
        return self.best.true - self.picked.true if self.best and self.picked else float("nan")

    @property
    def random_regret(self) -> float:
        """What picking at random loses on average; NaN where true scores are missing."""
        return self.best.true - float(np.mean([each.true for each in self.candidates])) if self.best else float("nan")

    def text(self) -> str:
        """For a terminal: the choice, all candidates, what it cost, and who was left out."""
        where = f"{self.score} at {100 * self.share:g} % of the data"
        lines = [self.dataset]
        if self.picked is None:
            lines.append(f"  nothing picked: no setting has {where} in all of its runs")
        else:
            lines.append(f"  picked: {self.picked.label}, by {where}, out of {len(self.candidates)}")
        width = max((len(each.label) for each in self.candidates), default=0)
        for each in self.candidates:
            true = f", true score {each.true:.1f}" if np.isfinite(each.true) else ""
            seeds = f"{each.runs} seed{'s' if each.runs > 1 else ''}"
            lines.append(f"    {each.label.ljust(width)}  {self.score} {each.score:.4g}{true} ({seeds})")
        if self.best is not None and len(self.candidates) > 1:
            cost = (
                f"{self.regret:.1f} points of the score, against {self.best.label}"
                if self.regret
                else "none, it is the best"
            )
            lines.append(f"  cost: {cost}; picking at random would have cost {self.random_regret:.1f} on average")
        lines += [f"  left out: {out.label}: {out.why}" for out in self.left_out]
        return "\n".join(lines) + "\n"


def select(
    results: Sequence[RunResult], *, score: str = DEFAULT_SCORE, share: float = 1.0, algorithm: str | None = None
) -> list[Choice]:
    """On each dataset the algorithm and settings of lowest prequential score, from the log alone.

    Seeds are averaged. A setting of which a run has failed, or has not got there, is never picked: it is named under
    `left_out`. True scores, where they are there, are those at the same share of the data; they play no part in the choice.

    Args:
        results: of `seqeval_rl.read_results`.
        score: a prequential score, lower is better; `value_gap` counts by its distance from 0.
        share: of the log up to which the score is summed, above 0 and at most 1.
        algorithm: choose among this algorithm's settings only; by default among all.

    Raises:
        UsageError: no run, an unknown score or algorithm, or a share outside (0, 1].
    """
    check_score(score)
    if not 0 < share <= 1:
        raise UsageError(f"share of the data: expected above 0 and at most 1, found {share}. Give 0.5 for half.")
    panels = collect(results)
    names = {run.algorithm for run in results}
    if algorithm is not None and algorithm not in names:
        raise unknown("algorithm", algorithm, names, "the results")
    choices = []
    for panel in panels:
        found, left_out = candidates(panel, score, share, algorithm)
        if found or left_out:
            ordered = sorted(found, key=lambda each: each.cost(score))
            choices.append(Choice(panel.title, score, share, tuple(ordered), tuple(left_out)))
    return choices
