"""Levels of a training run, after D4RL's idea: which of its checkpoints is the medium policy and which the expert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqeval_rl.errors import DataError

LEVELS = ("random", "medium", "medium-replay", "expert", "medium-expert")
MEDIUM_SHARE = 1 / 3  # of the expert's score


def records(scores: Sequence[float]) -> list[int]:
    """The evaluations that scored more than every one before, of scores [P]: whatever comes later, levels are among them."""
    best = np.maximum.accumulate(np.asarray(scores, np.float64))
    return [i for i in range(len(best)) if i == 0 or best[i] > best[i - 1]]


def expert(scores: Sequence[float]) -> int:
    """The best of the evaluations, the first of several.

    Raises:
        DataError: no score is above 0, that of the task's reference minimum: nothing was learned.
    """
    best = int(np.argmax(scores))
    if not scores[best] > 0:
        raise DataError(
            f"levels: expected a policy that was evaluated better than score 0, found {scores[best]:.1f} as the best of "
            f"{len(scores)} evaluations. Train longer, or with other settings."
        )
    return best


def medium(scores: Sequence[float]) -> int:
    """The first evaluation whose score is past a third of the expert's. Raises as `expert` does."""
    threshold = MEDIUM_SHARE * scores[expert(scores)]
    return next(i for i, score in enumerate(scores) if score > threshold)
