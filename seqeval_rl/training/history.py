"""What environments have returned lately, for algorithms that act on a history; begun anew with each episode.

Axes: R runs, E environments of a run, H places of a history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.interface.sequences import History

ALL = slice(None)


class Memory:
    """The latest H observations, actions and rewards of R x E environments, in the dataset's units."""

    def __init__(self, length: int, shape: tuple[int, int], obs_shape: tuple[int, ...], act_dim: int):
        """Of environments [R, E] = `shape`, each at the start of an episode."""
        self.shape, self._length = shape, length
        self._observations = np.zeros((*shape, length, *obs_shape), np.float32)
        self._actions = np.zeros((*shape, length, act_dim), np.float32)
        self._rewards, self._received = (np.zeros((*shape, length), np.float64) for _ in range(2))
        self._seen = np.zeros(shape, np.int64)  # observations since the episode's start
        self._sum = np.zeros(shape)  # rewards since then

    def begin(self, runs: slice = ALL) -> None:
        """An episode begins in the environments of these runs."""
        for part in (self._observations, self._actions, self._rewards, self._received, self._seen, self._sum):
            part[runs] = 0

    def see(self, observations: NDArray[np.float32], runs: slice = ALL) -> None:
        """The next observations of these runs, [r, E, *obs]; what is older than H is forgotten."""
        for part in (self._observations, self._actions, self._rewards, self._received):
            part[runs, :, :-1] = part[runs, :, 1:].copy()
            part[runs, :, -1] = 0
        self._observations[runs, :, -1] = observations
        self._received[runs, :, -1] = self._sum[runs]
        self._seen[runs] += 1

    def add(self, actions: NDArray[Any], rewards: NDArray[Any], runs: slice = ALL) -> None:
        """The actions [r, E, act_dim] that were taken at the latest observations, and their rewards [r, E]."""
        self._actions[runs, :, -1], self._rewards[runs, :, -1] = actions, rewards
        self._sum[runs] += rewards

    def history(
        self, preprocess: Callable[[Tensor], Tensor], reward_scale: NDArray[np.float64], device: torch.device
    ) -> History:
        """As an algorithm sees it: observations through `preprocess`, rewards times `reward_scale` [R]; 0 in padding."""
        dtype, scale = torch.get_default_dtype(), reward_scale[:, None, None]
        back = np.arange(self._length - 1, -1, -1)
        there = back < self._seen[..., None]
        valid = torch.from_numpy(there).to(device, dtype)
        raw = torch.from_numpy(self._observations).to(device)
        seen = preprocess(raw.flatten(1, 2)).view(raw.shape)
        return History(
            observations=torch.where(
                valid.bool().view(*valid.shape, *[1] * (seen.ndim - 3)), seen, torch.zeros_like(seen)
            ),
            actions=torch.from_numpy(self._actions.copy()).to(device, dtype),
            rewards=torch.from_numpy(self._rewards * scale).to(device, dtype),
            received=torch.from_numpy(self._received * scale).to(device, dtype),
            valid=valid,
            steps=torch.from_numpy(np.where(there, self._seen[..., None] - 1 - back, 0)).to(device),
        )


class Remembering:
    """A policy that acts on a history: called with observations as any policy is, and told when episodes begin and what came of
    its actions."""

    def __init__(
        self, act: Callable[..., NDArray[np.float32]], length: int, runs: int, obs_shape: tuple[int, ...], act_dim: int
    ):
        """`act` takes the `Memory`, and noise to explore, and returns actions [R, E, act_dim]."""
        self._act, self._make = act, lambda envs: Memory(length, (runs, envs), obs_shape, act_dim)
        self._memory: Memory = self._make(1)

    def begin(self, envs: int) -> None:
        """Episodes begin in E environments of each run."""
        self._memory = self._make(envs)

    def begin_run(self, run: int) -> None:
        """An episode begins in the environments of this run."""
        self._memory.begin(slice(run, run + 1))

    def see(self, observations: NDArray[np.float32], runs: slice = ALL) -> None:
        """See `Memory.see`; for observations at which something else acts."""
        self._memory.see(observations, runs)

    def add(self, actions: NDArray[Any], rewards: NDArray[Any], runs: slice = ALL) -> None:
        """See `Memory.add`."""
        self._memory.add(actions, rewards, runs)

    def __call__(
        self, observations: NDArray[np.float32], noise: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Actions [R, E, act_dim] for the next observations [R, E, *obs]; another E than before begins episodes."""
        if observations.shape[1] != self._memory.shape[1]:
            self.begin(observations.shape[1])
        self._memory.see(observations)
        return self._act(self._memory, noise)
