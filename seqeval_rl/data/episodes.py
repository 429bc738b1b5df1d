"""Episodes: recorded arrays of one, lists of them, and cutting a dataset to a number of transitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.tasks import Task


class Episode(NamedTuple):
    """One whole episode of T transitions."""

    seed: int  # that the environment was reset with
    observations: NDArray[np.float64]  # [T + 1, obs]
    actions: NDArray[np.float32]  # [T, act] in the environment's units
    rewards: NDArray[np.float64]  # [T]
    terminated: bool  # ended in a terminal state; else by the time limit


def take_transitions(episode: Episode, length: int) -> Episode:
    """The first `length` transitions of an episode; cut short, it no longer ends in a terminal state."""
    observations, terminated = episode.observations[: length + 1], episode.terminated and length == len(episode.rewards)
    return Episode(episode.seed, observations, episode.actions[:length], episode.rewards[:length], terminated)


def cut_to(episodes: Iterable[Episode], transitions: int) -> Iterator[Episode]:
    """The first `transitions` of the episodes; the last one is cut to fit, and then has no terminal state."""
    left = transitions
    for episode in episodes:
        if left < len(episode.rewards):
            if left:
                yield Episode(
                    episode.seed,
                    episode.observations[: left + 1],
                    episode.actions[:left],
                    episode.rewards[:left],
                    False,
                )
            return
        yield episode
        left -= len(episode.rewards)


def episodes_of(
    rows: NDArray[np.float32], ends: NDArray[Any], terminals: NDArray[np.bool_], task: Task, seeds: Iterator[int]
) -> Iterator[Episode]:
    """The episodes in packed rows, in their order.

    Args:
        rows: [n, obs|act|reward|mask|next_obs], of flat observations, in the order in which they were gathered.
        ends: [n], true where an episode ended.
        terminals: [n], true where it ended in a terminal state.
        task: gives the shapes and the actions' units.
        seeds: that the environment was reset with, episode by episode.
    """
    shapes = gymnasium_shapes(task.environment)[1]
    width, act_dim = int(np.prod(shapes.obs_shape)), len(shapes.action_low)
    stops = np.flatnonzero(ends) + 1
    if not len(stops) or stops[-1] < len(rows):
        stops = np.append(stops, len(rows))
    low, high = shapes.action_low, shapes.action_high
    for start, stop in zip(np.append(0, stops[:-1]), stops, strict=True):
        part = rows[start:stop].astype(np.float64)
        trail = np.concatenate([part[:, :width], part[-1:, -width:]]).reshape(-1, *shapes.obs_shape)
        actions = low + (part[:, width : width + act_dim] + 1) / 2 * (high - low)
        taken, rewards = np.clip(actions, low, high).astype(np.float32), part[:, width + act_dim]
        yield Episode(next(seeds), trail, taken, rewards, bool(terminals[stop - 1]))
