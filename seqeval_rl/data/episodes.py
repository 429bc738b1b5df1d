"""Episodes: playing them in a vector environment, cutting them to a number of transitions, and reading them from packed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.environments.tasks import Task
from seqeval_rl.environments.vector_env import VectorEnv

# Observations [E, *obs], the time index and the episodes that have not ended, to float32 actions [E, act_dim] in the
# environment's units; the actions of episodes that have ended are not used.
Choose = Callable[[NDArray[Any], int, NDArray[np.int64]], NDArray[np.float32]]


class Episode(NamedTuple):
    """One whole episode of T transitions."""

    seed: int | None  # that the environment was reset with; None: not known
    observations: NDArray[Any]  # [T + 1, *obs], float64; images stay uint8
    actions: NDArray[np.float32]  # [T, act] in the environment's units
    rewards: NDArray[np.float64]  # [T]
    terminated: bool  # ended in a terminal state; else by the time limit


def play_episodes(
    envs: VectorEnv, seeds: Sequence[int], choose: Choose, transitions: int | None = None
) -> list[Episode]:
    """One episode in each of E environments, which step together until the last has ended, at the latest at the time limit.

    Args:
        envs: E copies.
        seeds: of their starts, E.
        choose: the actions.
        transitions: of an episode, after which it is not played on; None: all.

    Raises:
        EnvironmentFailedError: an environment raised, or returned what cannot be used.
    """
    current = envs.reset(seeds)
    kind = envs.obs_dtype if envs.images else np.dtype(np.float64)
    trails: list[list[NDArray[Any]]] = [[np.array(one, kind)] for one in current]
    actions: list[list[NDArray[np.float32]]] = [[] for _ in seeds]
    rewards: list[list[float]] = [[] for _ in seeds]
    terminals, active = np.zeros(len(seeds), bool), np.ones(len(seeds), bool)
    for time in range(envs.max_episode_length if transitions is None else transitions):
        live = np.flatnonzero(active)
        chosen = choose(current, time, live)
        observations, received, terminated, truncated = envs.step(chosen[live], live)
        for place, index in enumerate(live.tolist()):
            trails[index].append(np.array(observations[place], kind))
            actions[index].append(chosen[index])
            rewards[index].append(float(received[place]))
        current[live] = observations
        terminals[live] = terminated
        active[live] = ~(terminated | truncated)
        if not active.any():
            break
    return [
        Episode(seed, np.stack(trails[i]), np.stack(actions[i]), np.array(rewards[i]), bool(terminals[i]))
        for i, seed in enumerate(seeds)
    ]


def cut_to(episodes: Iterable[Episode], transitions: int) -> Iterator[Episode]:
    """The first `transitions` of the episodes; the last one is cut to fit, and then has no terminal state."""
    left = transitions
    for episode in episodes:
        if left < len(episode.rewards):
            if left:
                seed, observations, actions, rewards, _ = episode
                yield Episode(seed, observations[: left + 1], actions[:left], rewards[:left], False)
            return
        yield episode
        left -= len(episode.rewards)


def columns_of(episodes: Sequence[Episode], time_limit: int) -> dict[str, Any]:
    """The columns of concatenated episodes, named as in `RawTransitions`.

    Where the last one ended neither in a terminal state nor at the time limit, the dataset ends inside it: it is not truncated.
    """
    lengths = [len(episode.rewards) for episode in episodes]
    last = np.cumsum(lengths) - 1
    terminations, truncations = np.zeros((2, sum(lengths)), bool)
    terminations[last] = [episode.terminated for episode in episodes]
    truncations[last] = ~terminations[last]
    truncations[-1] &= lengths[-1] == time_limit
    return {
        "observations": np.concatenate([episode.observations[:-1] for episode in episodes]),
        "next_observations": np.concatenate([episode.observations[1:] for episode in episodes]),
        "actions": np.concatenate([episode.actions for episode in episodes]),
        "rewards": np.concatenate([episode.rewards for episode in episodes]),
        "terminations": terminations,
        "truncations": truncations,
        "episode_starts": np.append(0, last + 1),
    }


def episodes_of(
    rows: NDArray[np.float32], ends: NDArray[Any], terminals: NDArray[np.bool_], task: Task, seeds: Iterator[int | None]
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
    width, act_dim = int(np.prod(shapes.obs_shape)), shapes.act_dim
    stops = np.flatnonzero(ends) + 1
    if not len(stops) or stops[-1] < len(rows):
        stops = np.append(stops, len(rows))
    low, high = shapes.action_low, shapes.action_high
    for start, stop in zip(np.append(0, stops[:-1]), stops, strict=True):
        part = rows[start:stop].astype(np.float64)
        trail = np.concatenate([part[:, :width], part[-1:, -width:]]).reshape(-1, *shapes.obs_shape)
        actions = shapes.in_units(part[:, width : width + act_dim])
        taken, rewards = np.clip(actions, low, high).astype(np.float32), part[:, width + act_dim]
        yield Episode(next(seeds), trail, taken, rewards, bool(terminals[stop - 1]))
