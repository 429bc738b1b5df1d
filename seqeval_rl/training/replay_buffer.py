"""The replay buffer: all transitions as one packed tensor on the device, from which batches are gathered.

Axes: N transitions, R runs, B transitions of a batch, D numbers of a packed row.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.images import Pixels
from seqeval_rl.interface.algorithm import Batch, Spec


class Transitions(NamedTuple):
    """The transitions of R runs."""

    rows: NDArray[np.float32]  # [N, D], packed, see `Dataset.rows`
    pixels: Pixels | None  # their images, where observations are images
    arrivals: list[NDArray[np.int64]]  # [R], each run's row indices in order of arrival


def _on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # A read-only memory map is fine: only the rows of an online phase are written to.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)


class ReplayBuffer:
    """The streams' transitions on the device, rows [N, obs|act|reward|mask|next_obs], and each of R runs' order of arrival."""

    gathers_chunks = True  # whether the batches of several gradient steps are gathered at once

    def __init__(self, transitions: Transitions, spec: Spec):
        """On the device of `spec`; `write` needs writable rows."""
        self.spec, self.obs_shape, self.act_dim, self.device = spec, spec.obs_shape, spec.act_dim, spec.device
        self.host, _, self.arrivals = transitions  # on a CPU `self.rows` shares the memory of `host`
        self.obs_columns = (
            self.host.shape[1] - spec.act_dim - 2
        ) // 2  # of a row; 0 for images, which are not in the rows
        self.rows = _on_device(self.host, spec.device)

    def write(self, indices: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Replace the rows at indices [k] by packed rows [k, D]."""
        self.host[indices] = values
        if self.device.type != "cpu":
            self.rows[torch.from_numpy(indices).to(self.device)] = torch.from_numpy(values).to(self.device)

    def indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row indices [CHUNK, R, B] for arrival positions [R, CHUNK, B]."""
        return np.stack([arrival[each] for arrival, each in zip(self.arrivals, positions, strict=True)], axis=1)

    def batch(self, indices: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """The batch at row indices [..., R, B] on the device; its rows become `row * scale + shift`, each [R, 1, D].

        Columns are made contiguous: matrix products of strided inputs take twice as long.
        """
        packed = self.rows.index_select(0, indices.flatten()).view(*indices.shape, -1)
        if shift is not None and scale is not None:
            packed = torch.addcmul(shift, packed, scale)
        width = self.obs_columns
        before, actions, rewards, masks, after = packed.split([width, self.act_dim, 1, 1, width], -1)
        observations, next_observations = self._observations(indices, before, after)
        return Batch(
            observations=observations,
            actions=self.as_classes(actions.contiguous()),
            rewards=rewards.squeeze(-1).contiguous(),
            next_observations=next_observations,
            masks=masks.squeeze(-1).contiguous(),
            noise=noise,
        )

    def as_classes(self, actions: Tensor) -> Tensor:
        """Actions [..., act_dim] as in a row in the form of a `Batch`: discrete ones are int64 [...]."""
        return actions if self.spec.action_classes is None else actions.squeeze(-1).long()

    def _observations(self, indices: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Observations and next observations [..., R, B, *obs] from the rows' columns of both."""
        shape = (*indices.shape, *self.obs_shape)
        return before.contiguous().view(shape), after.contiguous().view(shape)


class ImageReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` of images: rows are [N, act|reward|mask], observations are stacks of frames with values from 0 to 255.
    `shift` and `scale` apply to the rows, not to images."""

    gathers_chunks = False  # several batches of stacked images would take gigabytes

    def __init__(self, transitions: Transitions, spec: Spec):
        """See `ReplayBuffer`; the transitions must have images."""
        super().__init__(transitions, spec)
        assert transitions.pixels is not None
        frames, index, stack = transitions.pixels.frames, transitions.pixels.index, transitions.pixels.stack
        self.frames, self.index = _on_device(frames, spec.device), _on_device(index, spec.device)
        self._back = torch.arange(stack - 1, -1, -1, device=spec.device)

    def _observations(self, indices: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        first, *newest = self.index.index_select(0, indices.flatten()).unbind(-1)
        # [observation and next observation, transition, frame of the stack]
        places = torch.maximum(torch.stack(newest)[..., None] - self._back, first[:, None])
        frames = self.frames.index_select(0, places.flatten())
        observations, next_observations = frames.view(2, *indices.shape, *self.obs_shape).to(before.dtype).unbind(0)
        return observations, next_observations


def build_replay_buffer(transitions: Transitions, spec: Spec) -> ReplayBuffer:
    """The replay buffer that suits the transitions, on the device of `spec`."""
    return (ReplayBuffer if transitions.pixels is None else ImageReplayBuffer)(transitions, spec)
