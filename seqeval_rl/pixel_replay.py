"""Batches of a log of images: frames lie on the device as bytes and become float32 observations in the batch alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.images import Pixels
from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.replay import Replay


class PixelReplay(Replay):
    """A `Replay` whose rows are [N, act|reward|mask] and whose observations are stacks of frames, values from 0 to 255."""

    at_once = 1  # a chunk of stacked images would be gigabytes

    def __init__(
        self,
        pixels: Pixels,
        rows: NDArray[np.float32],
        arrivals: Sequence[NDArray[np.int64]],
        act_dim: int,
        device: torch.device,
    ):
        """Images and rows shared by the runs, and each run's arrival order [N]."""
        super().__init__(rows, arrivals, pixels.obs_shape, act_dim, device)
        with warnings.catch_warnings():
            # A read-only memory map is fine: nothing writes to frames.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.frames = torch.from_numpy(pixels.frames).to(device)
            self.index = torch.from_numpy(pixels.index).to(device)
        self._back = torch.arange(pixels.stack - 1, -1, -1, device=device)

    def batch(self, indices: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """See `Replay`; `shift` and `scale` are of the packed columns, so images stay as they are."""
        packed = self.packed(indices, shift, scale)
        first, *newest = self.index.index_select(0, indices.flatten()).unbind(-1)
        # [observation and next observation, transition, frame of the stack]
        places = torch.maximum(torch.stack(newest)[..., None] - self._back, first[:, None])
        frames = self.frames.index_select(0, places.flatten())
        observations, following = frames.view(2, *indices.shape, *self.obs_shape).to(packed.dtype).unbind(0)
        actions, rewards, masks = packed.split([self.act_dim, 1, 1], -1)
        return Batch(
            observations=observations,
            actions=actions.contiguous(),
            rewards=rewards.squeeze(-1).contiguous(),
            next_observations=following,
            masks=masks.squeeze(-1).contiguous(),
            noise=noise,
        )
