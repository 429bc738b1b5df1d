"""Prequential scores of recorded runs: choosing settings by them, without an environment, and what it costs in true score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqeval_rl.errors import unknown
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import check_share, run_at_share, score_at_share, tolerance
from seqeval_rl.plots.analysis.statistics import Floats
from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class Score:
    """A prequential score; lower is better unless `higher`."""

    label: str  # of an axis
    positive: bool = True  # as squares are; then the axis is logarithmic
    signed: bool = False  # better the nearer to 0
    higher: bool = False  # higher is better


SCORES: dict[str, Score] = {
    "action_error": Score("squared action error"),
    "nll": Score("negative log-likelihood of actions", positive=False),
    "td_error": Score("squared TD error"),
    "value_error": Score("squared value error"),
    "value_gap": Score("value minus observed return", positive=False, signed=True),
    "agreement": Score("agreement with the dataset's actions", positive=False, higher=True),
}


DEFAULT_SCORE = "action_error"  # which every algorithm for continuous actions has; one for discrete ones has agreement


def running_mean(run: RunResult, score: str) -> tuple[NDArray[np.int64], Floats]:
    """A prequential score per transition revealed so far: transitions [P] and means [P]; empty where the run has none.

    Args:
        run: from `seqeval_rl.read_results`.
        score: one of `SCORES`.
    """
    places, _ = run.prequential("count")
    scored, means = run.prequential_mean(score)
    # Without a new transition that counts, the mean stays as it was.
    last = np.searchsorted(scored, places, side="right") - 1
    return places[last >= 0], means[last[last >= 0]]


def check_score(score: str) -> None:
    """Raise `UsageError` for an unknown prequential score."""
    if score not in SCORES:
        raise unknown("prequential score", score, SCORES)


@dataclass(frozen=True)
class Candidate:
    """An algorithm with its settings, all of whose runs have got to that share of the data."""

    label: str
    score: float  # prequential, per transition, mean over seeds
    # Normalized score (or return, see `Panel.metric`) of its evaluations there, mean over seeds; NaN where not every run was
    # evaluated.
    true: float
    runs: int  # seeds

    def cost(self, score: str) -> float:
        """What a choice by that score minimises."""
        if SCORES[score].higher:
            return -self.score
        return abs(self.score) if SCORES[score].signed else self.score


@dataclass(frozen=True)
class LeftOut:
    """An algorithm with its settings that cannot be judged, and why."""

    label: str
    why: str
    by_nature: bool  # it never has such a score


def candidates(
    panel: Panel, score: str, share: float, algorithm: str | None = None
) -> tuple[list[Candidate], list[LeftOut]]:
    """The panel's settings at `share` of the data by `score`, in the legend's order, and those that are left out.

    A setting counts only with all its runs: one whose failed or unfinished runs were dropped would be judged by its luckier
    seeds.
    """
    judged, left_out = [], []
    for group in panel.groups:
        if algorithm is not None and group.algorithm != algorithm:
            continue
        values = np.array(
            [score_at_share(*running_mean(run, score), share, panel.transitions, tolerance(run)) for run in group.runs]
        )
        out = _left_out(panel, group, score, values, share)
        if out is not None:
            left_out.append(out)
            continue
        true = [run_at_share(run, share) for run in group.runs]
        judged.append(Candidate(group.label, float(np.mean(values)), float(np.mean(true)), len(group.runs)))
    return judged, left_out


def _left_out(panel: Panel, group: Group, score: str, values: Floats, share: float) -> LeftOut | None:
    """Why the group cannot be judged; None if it can."""
    if group.static:
        return LeftOut(group.label, "a static control, to which nothing is new", by_nature=True)
    if group.interleaved:
        return LeftOut(group.label, "an interleaved control, to which other transitions are new", by_nature=True)
    if not panel.transitions:
        return LeftOut(group.label, "no dataset, whose transitions could be scored", by_nature=True)
    missing = int((~np.isfinite(values)).sum())
    if not missing:
        return None
    if not any(score in run.prequential_scores() for run in group.runs) and any(
        run.prequential_scores() for run in group.runs
    ):
        return LeftOut(group.label, f"no {score}", by_nature=True)
    failed = len(group.having("failed"))
    why = f"{missing} of {len(values)} runs without a number at {100 * share:g} % of the data"
    return LeftOut(group.label, f"{why}, {failed} failed" if failed else why, by_nature=False)


@dataclass(frozen=True)
class Choice:
    """What was chosen on one dataset."""

    dataset: str
    score: str  # by which
    share: float  # of the data that it is over
    candidates: tuple[Candidate, ...]  # best by the score first: the choice; empty where nothing can be judged
    left_out: tuple[LeftOut, ...]
    metric: str = "score"  # what true scores are: "return" where the task has no reference returns

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
        """Normalized score (or return) lost by the choice, 0 where it is the best; NaN where true scores are missing."""
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
            true = f", true {self.metric} {each.true:.1f}" if np.isfinite(each.true) else ""
            seeds = f"{each.runs} seed{'s' if each.runs > 1 else ''}"
            lines.append(f"    {each.label.ljust(width)}  {self.score} {each.score:.4g}{true} ({seeds})")
        if self.best is not None and len(self.candidates) > 1:
            unit = "points of the score" if self.metric == "score" else "of the return"
            lost = f"{self.regret:.1f} {unit}, against {self.best.label}"
            cost = lost if self.regret else "none, it is the best"
            lines.append(f"  cost: {cost}; picking at random would have cost {self.random_regret:.1f} on average")
        lines += [f"  left out: {out.label}: {out.why}" for out in self.left_out]
        return "\n".join(lines) + "\n"


def select(
    results: Sequence[RunResult], *, score: str = DEFAULT_SCORE, share: float = 1.0, algorithm: str | None = None
) -> list[Choice]:
    """On each dataset the algorithm and settings of lowest prequential score, from the dataset alone.

    Seeds are averaged. A setting of which a run has failed, or has not got there, is never picked: it is named under
    `left_out`. True scores, where there are any, are those at the same share of the data; they play no part in the choice.

    Args:
        results: from `seqeval_rl.read_results`.
        score: a prequential score, lower is better, of agreement higher; `value_gap` counts by its distance from 0.
        share: of the data up to which the score is summed, above 0 and at most 1.
        algorithm: choose among this algorithm's settings only; by default among all.

    Raises:
        UsageError: no run, an unknown score or algorithm, or a share outside (0, 1].
    """
    check_score(score)
    check_share(share)
    panels = collect(results)
    names = {run.algorithm for run in results}
    if algorithm is not None and algorithm not in names:
        raise unknown("algorithm", algorithm, names, "the results")
    choices = []
    for panel in panels:
        judged, left_out = candidates(panel, score, share, algorithm)
        if judged or left_out:
            ordered = sorted(judged, key=lambda each: each.cost(score))
            choices.append(Choice(panel.title, score, share, tuple(ordered), tuple(left_out), panel.metric))
    return choices


def regret_at_1(costs: ArrayLike, true: ArrayLike) -> float:
    """What is lost by taking the one of lowest cost: the highest true value less its own, mean over those that tie.

    Args:
        costs: [n], at least one.
        true: [n].
    """
    costs, true = np.asarray(costs, np.float64), np.asarray(true, np.float64)
    return float(true.max() - true[costs == costs.min()].mean())


def average_ranks(values: ArrayLike) -> Floats:
    """Ranks from 1 for the lowest, [n] -> [n]; equal values share the mean of their ranks."""
    _, places, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ranks: Floats = np.cumsum(counts) - (counts - 1) / 2
    return ranks[places]


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of x [n] and y [n], -1 to 1, NaN where one of them is constant.

    Pearson's correlation of the average ranks. Source: Spearman, The American Journal of Psychology 15 (1904).
    """
    ranks = np.stack([average_ranks(x), average_ranks(y)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=1).prod())
    return float(np.clip(centred[0] @ centred[1] / spread, -1, 1)) if spread else float("nan")
