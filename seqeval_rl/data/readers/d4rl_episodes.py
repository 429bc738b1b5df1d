"""Finds the transitions among the rows of a D4RL file: all correct ones, or those of d4rl's `qlearning_dataset`.

A file's rows are those of concatenated trajectories. `terminals` are true where a terminal state was reached;
`timeouts`, which old files lack, where a trajectory ended for another reason.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ends(NamedTuple):
    """Where trajectories end, by the file's flags or the time limit, each [N]."""

    terminals: NDArray[np.bool_]
    final: NDArray[np.bool_]  # by a time limit, possibly also in a terminal state


def true_ends(terminals: NDArray[np.bool_], timeouts: NDArray[np.bool_] | None, limit: int | None) -> Ends:
    """Ends by the flags; without `timeouts` a trajectory also ends after `limit` transitions, if there is a limit."""
    if timeouts is None:
        timeouts = np.zeros_like(terminals) if limit is None else _limit_rows(terminals, limit, 0, 0, 0)
    return Ends(terminals, timeouts)


def d4rl_ends(
    terminals: NDArray[np.bool_], timeouts: NDArray[np.bool_] | None, limit: int, terminate_on_end: bool
) -> Ends:
    """Ends as `qlearning_dataset` sees them.

    Without `timeouts` it counts transitions, and counts the one after a row that ended a trajectory and was kept as the second:
    such a trajectory's time limit is one transition too early.
    """
    if timeouts is None:
        kept_limit = int(terminate_on_end)
        timeouts = _limit_rows(terminals, limit, 1, kept_limit, kept_limit)
    return Ends(terminals, timeouts)


def _limit_rows(
    terminals: NDArray[np.bool_], limit: int, after_terminal: int, after_limit: int, after_both: int
) -> NDArray[np.bool_]:
    """Rows at which the count of a trajectory's transitions reaches `limit`.

    Args:
        terminals: [N].
        limit: at least 2.
        after_terminal: count after a terminal row.
        after_limit: after a row at the limit.
        after_both: after a terminal row at the limit.
    """
    found = np.zeros_like(terminals)
    start, count = 0, 0
    for last in [*np.flatnonzero(terminals), len(terminals) - 1]:
        found[start + limit - 1 - count : last + 1 : limit - after_limit] = True
        start, count = last + 1, after_both if found[last] else after_terminal
    return found


def qlearning_rows(ends: Ends, terminate_on_end: bool) -> NDArray[np.int64]:
    """The rows that `qlearning_dataset` keeps; each one's next observation is the next row's observation, whatever that is."""
    keep = np.ones(len(ends.terminals), bool)
    keep[-1] = False
    if not terminate_on_end:
        keep &= ~ends.final
    return np.flatnonzero(keep)


def open_rows(ends: Ends) -> NDArray[np.int64]:
    """The rows with a next observation, or that need none, in a file without next observations."""
    last = ends.terminals | ends.final
    last[-1] = True
    return np.flatnonzero(ends.terminals | ~last)


def trajectory_returns(rewards: NDArray[np.floating], ends: Ends, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns of the complete trajectories of a file, with the rewards of rows that are not kept.

    Args:
        rewards: [N], of every row.
        ends: true ones.
        rows: those that are kept, rising.

    Returns:
        [trajectories, 2]: how many rows are kept up to its end, and its return. One that the end of the file cut short is
        there only if there is no other.
    """
    over = ends.terminals | ends.final
    last = np.flatnonzero(over)
    if not len(last):
        last = np.array([len(over) - 1])
    starts = np.concatenate(([0], last[:-1] + 1))
    returns = np.add.reduceat(rewards[: last[-1] + 1], starts, dtype=np.float64)
    return np.stack([np.searchsorted(rows, last, "right").astype(np.float64), returns], axis=1)
