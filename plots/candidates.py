"""Settings that a prequential score is to choose from: what it says of each, and what each is worth in truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqeval_rl.plots.groups import Group, Panel
from seqeval_rl.plots.measures import measured, score_at_share
from seqeval_rl.plots.prequential import SCORES, running_mean
from seqeval_rl.plots.statistics import Floats


@dataclass(frozen=True)
class Candidate:
    """An algorithm with its settings, all of whose runs have got to the share of the data in question."""

    label: str
    score: float  # prequential, per transition, mean over seeds
    true: float  # normalised score of its evaluations there, mean over seeds; NaN where not every run was evaluated
    runs: int  # seeds

    def cost(self, score: str) -> float:
        """What a choice by that score makes small."""
        return abs(self.score) if SCORES[score].signed else self.score


@dataclass(frozen=True)
class LeftOut:
    """An algorithm with its settings that cannot be judged, and why."""

    label: str
    why: str
    by_nature: bool  # it has no such score at all, and will have none


def candidates(
    panel: Panel, score: str, share: float, algorithm: str | None = None
) -> tuple[list[Candidate], list[LeftOut]]:
    """The panel's settings at `share` of the log by `score`, in the legend's order, and those that are left out.

    A setting counts only with all its runs: one whose failed or unfinished runs were dropped would be judged by its luckier
    seeds.
    """
    found, left_out = [], []
    for group in panel.groups:
        if algorithm is not None and group.algorithm != algorithm:
            continue
        values = _at(panel, group, score, share)
        out = _left_out(panel, group, score, values, share)
        if out is not None:
            left_out.append(out)
            continue
        true = [score_at_share(*measured(run), share, panel.transitions) for run in group.runs]
        found.append(Candidate(group.label, float(np.mean(values)), float(np.mean(true)), len(group.runs)))
    return found, left_out


def _at(panel: Panel, group: Group, score: str, share: float) -> Floats:
    """Of each run, [run]; NaN for one that has not got there."""
    return np.array([score_at_share(*running_mean(run, score), share, panel.transitions) for run in group.runs])


def _left_out(panel: Panel, group: Group, score: str, values: Floats, share: float) -> LeftOut | None:
    """Why the group cannot be judged; None if it can."""
    if group.static:
        return LeftOut(group.label, "a static control, to which nothing is new", by_nature=True)
    if not panel.transitions:
        return LeftOut(group.label, "no log, whose transitions could be foretold", by_nature=True)
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
