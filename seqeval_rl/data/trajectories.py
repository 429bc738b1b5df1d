"""Trajectories: where they end in rows with terminal states and time limits, and their returns.

A trajectory ends at a time limit, at the end of the rows, or at a terminal state after which the environment was reset. In
datasets of tasks with a goal, such as antmaze, every row at the goal is terminal and the trajectory continues: such rows mask
their bootstraps and end nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def trajectory_ends(
    terminated: NDArray[np.bool_],
    limits: NDArray[np.bool_],
    observations: NDArray[Any],
    next_observations: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Rows [N] after which the environment was reset, as far as the rows show it; the last row may be one of them.

    Only rows that also have time limits can show that a terminal state did not end its trajectory. There it did not where the
    next observation is the observation of the next row. If next observations are missing, or are the next row's over a time limit
    too and so tell nothing, the terminal rows are all alike: they end nothing if at least half of them are followed by a
    terminal row, since they would otherwise be trajectories of one row.

    Args:
        terminated: [N], true where a terminal state was reached.
        limits: [N], true where a trajectory ended for another reason.
        observations: [N, *obs_shape].
        next_observations: likewise, true ones; None: not logged.
    """
    ends = terminated | limits
    inside = np.flatnonzero(terminated[:-1] & ~limits[:-1])
    if not limits.any() or not len(inside):
        return ends
    if next_observations is not None:
        over = np.flatnonzero(limits[:-1])
        if not _same(next_observations, observations, over).any():
            continued = _same(next_observations, observations, inside)
            if len(over) or not continued.all():
                ends[inside] = ~continued
                return ends
    ends[inside] = 2 * np.count_nonzero(terminated[inside + 1]) < len(inside)
    return ends


def _same(next_observations: NDArray[Any], observations: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the next observation of each row is the observation of the next row, [rows]."""
    same = next_observations[rows] == observations[rows + 1]
    return np.asarray(same.all(axis=tuple(range(1, same.ndim))), bool)


def trajectory_returns(
    rewards: NDArray[np.floating], terminated: NDArray[np.bool_], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The return of each trajectory, up to its first terminal state: there an episode in the environment ends.

    Args:
        rewards: [N].
        terminated: [N].
        starts: first row of each trajectory, and the end of the last one, [trajectories + 1].

    Returns:
        [trajectories]
    """
    rewards, terminated = rewards[: starts[-1]], terminated[: starts[-1]]
    # Terminal rows before each row, without those of earlier trajectories.
    before: NDArray[np.int64] = np.cumsum(terminated) - terminated
    before = before - np.repeat(before[starts[:-1]], np.diff(starts))
    if before.any():
        rewards = np.where(before == 0, rewards, 0)
    return np.add.reduceat(rewards, starts[:-1], dtype=np.float64)
