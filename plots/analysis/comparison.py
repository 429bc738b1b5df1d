"""Comparing algorithms on several tasks: the probability that one scores higher than another, and mean ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from seqeval_rl.plots.analysis import statistics
from seqeval_rl.plots.analysis.statistics import Floats, Mask, task_means, with_point


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """How probably a run of x scores higher than a run of y on the same task: mean over tasks of P(X > Y) + P(X = Y) / 2.

    Of one task it is Mann and Whitney's U divided by the number of pairs. Source: Agarwal et al., arXiv 2108.13264, section 4.3.

    Args:
        x: [run, task].
        y: [run, task]: the same tasks, possibly another number of runs.

    Returns:
        0 to 1; 0.5 where neither is better.

    Raises:
        ValueError: other tasks, or a task without a run.
    """
    wins, mask_x, mask_y = _wins(x, y)
    return float(np.mean(wins.sum(axis=(0, 1)) / (mask_x.sum(axis=0) * mask_y.sum(axis=0))))


def improvement_interval(
    x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95, samples: int = statistics.SAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of `probability_of_improvement`; arguments as `bootstrap_interval`'s.

    Raises:
        ValueError: fewer than two runs of some task, or what `probability_of_improvement` refuses.
    """
    wins, mask_x, mask_y = _wins(x, y)
    for scores in (x, y):
        statistics.check_intervals(with_point(scores), confidence, samples)
    counts_x, counts_y = statistics.draws(mask_x, samples, [seed, 0]), statistics.draws(mask_y, samples, [seed, 1])
    # For each task [sample, run of x] @ [run of x, run of y], then the sum over runs of y of what each won against.
    won = counts_x.transpose(2, 0, 1) @ wins.transpose(2, 0, 1)
    sums = (won * counts_y.transpose(2, 0, 1)).sum(axis=2)  # [task, sample]
    pairs = mask_x.sum(axis=0) * mask_y.sum(axis=0)
    low, high = statistics.percentiles((sums / pairs[:, None]).mean(axis=0), confidence)
    return float(low), float(high)


def _wins(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Mask, Mask]:
    """What each run of x won against each of y, 1, 1/2 or 0 [run of x, run of y, task]; masks of present runs [run, task]."""
    x, y = with_point(x), with_point(y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"scores: expected the same tasks, found {x.shape[1]} and {y.shape[1]}")
    mask_x, mask_y = statistics.present(x), statistics.present(y)
    x, y = x[:, None, :, 0], y[None, :, :, 0]
    # An absent run (NaN) neither wins nor ties.
    return (x > y) + 0.5 * (x == y), mask_x, mask_y


def mean_ranks(scores: Sequence[ArrayLike]) -> Floats:
    """Mean over tasks of each algorithm's rank by its mean over runs: 1 is the highest, ties share their mean rank.

    Args:
        scores: of each algorithm [run, task]: the same tasks, possibly other numbers of runs.

    Returns:
        Ranks [algorithm].
    """
    return _ranks([task_means(with_point(each)) for each in scores])[:, 0]


def rank_intervals(
    scores: Sequence[ArrayLike], *, confidence: float = 0.95, samples: int = statistics.SAMPLES, seed: int = 0
) -> tuple[Floats, Floats]:
    """Bootstrap intervals of `mean_ranks`, two of [algorithm]; arguments as `bootstrap_interval`'s."""
    means = []
    for place, each in enumerate(scores):
        mask = statistics.check_intervals(with_point(each), confidence, samples)
        means.append(task_means(with_point(each), statistics.draws(mask, samples, [seed, place])))
    return statistics.percentiles(_ranks(means).T, confidence)


def _ranks(means: Sequence[Floats]) -> Floats:
    """Of each algorithm [sample, task, 1] -> mean ranks [algorithm, sample]."""
    of = np.stack([each[:, :, 0] for each in means])
    higher = [(of > each).sum(axis=0) + ((of == each).sum(axis=0) - 1) / 2 for each in of]
    return 1 + np.stack(higher).mean(axis=2)
