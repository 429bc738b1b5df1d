"""How large a change from one dataset to another is, in standard deviations of observations and actions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.packed_rows import release

_PIECE = 65_536  # transitions looked at together, so that a large dataset is not copied as a whole


class _Moments(NamedTuple):
    """Of each column: all observation and action dimensions, or of images the actions alone."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]  # exactly 0 where the column is constant


def change_sizes(datasets: Iterable[Dataset]) -> list[float | None]:
    """The size of each change from a dataset to the next, one fewer than datasets of one task.

    D = sqrt(mean over j of (mu'_j - mu_j)^2 / ((sigma'_j^2 + sigma_j^2) / 2)), the root mean square of Cohen's d over the
    observation and action dimensions j (of images: the action dimensions). Dimensions that are constant in both datasets have
    no scale and are left out. None where all are.
    """
    return [_size(*pair) for pair in pairwise(map(_moments, datasets))]


def _size(before: _Moments, after: _Moments) -> float | None:
    pooled = (before.variance + after.variance) / 2
    varying = pooled > 0
    if not varying.any():
        return None
    differences = np.square(after.mean - before.mean)[varying] / pooled[varying]
    return math.sqrt(float(differences.mean()))


def _moments(dataset: Dataset) -> _Moments:
    # A packed row begins with the observation, if it is not an image, and the action.
    observation = int(np.prod(dataset.obs_shape)) if dataset.pixels is None else 0
    columns = dataset.rows[:, : observation + dataset.act_dim]
    # Sums are of differences to the first row: with a mean far from 0, E[x^2] - E[x]^2 would cancel. Constants give exactly 0.
    origin = columns[0].astype(np.float64)
    total, square = np.zeros_like(origin), np.zeros_like(origin)
    for start in range(0, len(columns), _PIECE):
        piece = columns[start : start + _PIECE].astype(np.float64) - origin
        total += piece.sum(0)
        square += np.square(piece).sum(0)
        release(dataset.rows, start, min(start + _PIECE, len(columns)))
    shift = total / len(columns)
    return _Moments(origin + shift, np.maximum(square / len(columns) - np.square(shift), 0.0))
