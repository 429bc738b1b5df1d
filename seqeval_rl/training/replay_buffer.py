"""The replay buffer: all transitions as one packed tensor on the device, from which batches are gathered.

Axes: N transitions, R runs, B transitions of a batch, D numbers of a packed row.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.images import Pixels
from seqeval_rl.interface.algorithm import Batch


class ReplayBuffer:
    """The streams' transitions on the device, rows [N, obs|act|reward|mask|next_obs], and each of R runs' order of arrival."""

    gathers_chunks = True  # whether the batches of several gradient steps are gathered at once

    def __init__(
        self,
        rows: NDArray[np.float32],
        arrivals: Sequence[NDArray[np.int64]],
        obs_shape: tuple[int, ...],
        act_dim: int,
        device: torch.device,
    ):
        """For rows [N, D] shared by the runs, and each run's arrival order [N]; `write` needs writable rows."""
        self.obs_shape, self.act_dim, self.device = obs_shape, act_dim, device
        self.host = rows  # on a CPU `self.rows` shares this memory
        self.arrivals = list(arrivals)
        with warnings.catch_warnings():
            # A read-only memory map is fine: only the rows of an online phase are written to.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.rows = torch.from_numpy(rows).to(device)

    @property
    def obs_columns(self) -> int:
        """Columns of an observation in a packed row."""
        return int(np.prod(self.obs_shape))

    def write(self, indices: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Replace the rows at indices [k] by packed rows [k, D]."""
        self.host[indices] = values
        if self.device.type != "cpu":
            self.rows[torch.from_numpy(indices).to(self.device)] = torch.from_numpy(values).to(self.device)

    def indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row indices [CHUNK, R, B] for arrival positions [R, CHUNK, B]."""
        runs, chunk, batch = positions.shape
        indices = np.empty((chunk, runs, batch), np.int64)
        for r, arrival in enumerate(self.arrivals):
            indices[:, r] = arrival[positions[r]]
        return indices

    def batch(self, indices: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """The batch at row indices [..., R, B] on the device; its rows become `row * scale + shift`, each [R, 1, D]."""
        return self.unpack(self.packed(indices, shift, scale), noise)

    def packed(self, indices: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
        """The rows [..., R, B, D] of a batch."""
        packed = self.rows.index_select(0, indices.flatten()).view(*indices.shape, -1)
        if shift is not None and scale is not None:
            packed = torch.addcmul(shift, packed, scale)
        return packed

    def unpack(self, packed: Tensor, noise: Tensor) -> Batch:
        """Packed rows [..., D] by column, each made contiguous: matrix products of strided inputs take twice as long."""
        width = (packed.shape[-1] - self.act_dim - 2) // 2
        observations, actions, rewards, masks, next_observations = packed.split([width, self.act_dim, 1, 1, width], -1)
        shape = (*packed.shape[:-1], *self.obs_shape)
        return Batch(
            observations=observations.contiguous().view(shape),
            actions=actions.contiguous(),
            rewards=rewards.squeeze(-1).contiguous(),
            next_observations=next_observations.contiguous().view(shape),
            masks=masks.squeeze(-1).contiguous(),
            noise=noise,
        )


class ImageReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` of images: rows are [N, act|reward|mask], observations are stacks of frames with values from 0 to 255."""

    gathers_chunks = False  # several batches of stacked images would take gigabytes

    def __init__(
        self,
        pixels: Pixels,
        rows: NDArray[np.float32],
        arrivals: Sequence[NDArray[np.int64]],
        act_dim: int,
        device: torch.device,
    ):
        """For images and rows shared by the runs, and each run's arrival order [N]."""
        super().__init__(rows, arrivals, pixels.obs_shape, act_dim, device)
        with warnings.catch_warnings():
            # A read-only memory map is fine: nothing writes to frames.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.frames = torch.from_numpy(pixels.frames).to(device)
            self.index = torch.from_numpy(pixels.index).to(device)
        self._back = torch.arange(pixels.stack - 1, -1, -1, device=device)

    @property
    def obs_columns(self) -> int:
        """None: images are not in the rows."""
        return 0

    def batch(self, indices: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """See `ReplayBuffer.batch`; `shift` and `scale` apply to the packed columns, not to images."""
        packed = self.packed(indices, shift, scale)
        first, *newest = self.index.index_select(0, indices.flatten()).unbind(-1)
        # [observation and next observation, transition, frame of the stack]
        places = torch.maximum(torch.stack(newest)[..., None] - self._back, first[:, None])
        frames = self.frames.index_select(0, places.flatten())
        observations, next_observations = frames.view(2, *indices.shape, *self.obs_shape).to(packed.dtype).unbind(0)
        actions, rewards, masks = packed.split([self.act_dim, 1, 1], -1)
        return Batch(
            observations=observations,
            actions=actions.contiguous(),
            rewards=rewards.squeeze(-1).contiguous(),
            next_observations=next_observations,
            masks=masks.squeeze(-1).contiguous(),
            noise=noise,
        )
