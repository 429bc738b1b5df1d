"""Discounted returns of the transitions of episodes, which of them count as observed, and when their rewards have arrived."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.stream import Stream

UNSEEN = 0.05  # largest weight of the rewards after the end of a cut episode at which its return counts as observed


def observed_returns(stream: Stream, discount: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Discounted return [N] from each transition to its episode's end, and whether it counts as observed [N].

    It does where the episode reached a terminal state, or where the rewards after its cut would weigh at most `UNSEEN`. When its
    rewards are there is another question, see `return_complete`.
    """
    returns, observed = [np.empty(0, np.float32)], [np.empty(0, np.bool_)]
    for block in stream.blocks:
        dataset = block.dataset
        part = returns_of_rows(dataset.rewards, dataset.terminations, dataset.episode_starts, discount)
        returns.append(part[0])
        observed.append(part[1])
    return np.concatenate(returns), np.concatenate(observed)


def returns_of_rows(
    rewards: NDArray[np.floating], terminations: NDArray[np.bool_], starts: NDArray[np.int64], discount: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`observed_returns` of rows [N], where `starts` are the first row of each episode, and N at the end."""
    value = np.asarray(rewards, np.float64).copy()
    discounts = np.where(terminations, 0.0, discount)
    weight, lengths = discounts.copy(), np.diff(starts)
    # Backwards through all episodes at once: the k-th transition from the end of each that is long enough.
    longest_first = np.argsort(-lengths, kind="stable")
    for k in range(1, int(lengths.max(initial=0))):
        rows = starts[1:][longest_first[: int(np.count_nonzero(lengths > k))]] - 1 - k
        value[rows] += discounts[rows] * value[rows + 1]
        weight[rows] = discounts[rows] * weight[rows + 1]
    return value.astype(np.float32), weight <= UNSEEN


def return_complete(stream: Stream, arrival: NDArray[np.int64]) -> NDArray[np.int32]:
    """For each row [N], the latest arrival position of the rows from it to its episode's end, or to a terminal state before.

    Args:
        stream: of N transitions.
        arrival: its rows in order of arrival, [N].
    """
    last = np.zeros(len(stream), np.bool_)
    for block in stream.blocks:
        last[block.start + block.dataset.episode_starts[1:] - 1] = True
        last[block.start : block.stop] |= block.dataset.terminations
    position = np.empty(len(stream), np.int64)
    position[arrival] = np.arange(len(stream))
    # A running maximum from the end; what is added grows from segment to segment, so that each begins anew.
    added = np.cumsum(last[::-1]) * len(stream)
    latest = np.maximum.accumulate(position[::-1] + added) - added
    return latest[::-1].astype(np.int32)
