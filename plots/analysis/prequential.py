"""Prequential scores of recorded runs, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.errors import unknown
from seqeval_rl.plots.analysis.statistics import Floats
from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class Score:
    """A prequential score; lower is better."""

    label: str  # of an axis
    positive: bool = True  # as squares are; then the axis is logarithmic
    signed: bool = False  # better the nearer to 0


SCORES: dict[str, Score] = {
    "action_error": Score("squared action error"),
    "nll": Score("negative log-likelihood of actions", positive=False),
    "td_error": Score("squared TD error"),
    "value_error": Score("squared value error"),
    "value_gap": Score("value minus observed return", positive=False, signed=True),
}


DEFAULT_SCORE = "action_error"  # which every algorithm has


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
