"""The replay buffer: all transitions as one packed tensor on the device, from which batches are gathered.

Axes: N transitions, R runs, B transitions of a batch, D numbers of a packed row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.arrival import Arrival
from seqeval_rl.data.images import Pixels
from seqeval_rl.data.packed_rows import LARGE, PackedRows
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.training.online_images import OnlineImages

Columns = Callable[[Tensor], dict[str, Tensor]]
"""From row indices [..., R, B] to optional fields of `Batch`, by name."""

DEVICE_SHARE = 0.5  # of a CUDA device's free memory that rows may take


class Transitions(NamedTuple):
    """The transitions of R runs."""

    rows: NDArray[np.float32] | PackedRows  # [N, D], packed, see `Dataset.rows`
    pixels: Pixels | None  # their images, where observations are images
    arrivals: Sequence[Arrival]  # [R], each run's row indices in order of arrival
    written: int = 0  # rows at the end that are written while training


def _on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # A read-only memory map is fine: only the rows of an online phase are written to.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)


def _scaled(packed: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
    return packed if shift is None or scale is None else torch.addcmul(shift, packed, scale)


class ReplayBuffer:
    """The streams' transitions, rows [N, obs|act|reward|mask|next_obs], and each of R runs' order of arrival.

    `host` has all rows in the host's memory or in memory maps. `rows` is the tensor on the device that batches are gathered
    from; None on a CPU where this is done from `host`.
    """

    gathers_chunks = True  # whether the batches of several gradient steps are gathered at once
    rows: Tensor | None
    online: OnlineImages | None = None  # images of an online phase, where observations are images

    def __init__(self, transitions: Transitions, spec: Spec, together: bool = True):
        """On the device of `spec`; `write` needs writable rows. With `together` there is a tensor `rows` on a CPU, too,
        from which what is captured gathers."""
        self.spec, self.obs_shape, self.act_dim, self.device = spec, spec.obs_shape, spec.act_dim, spec.device
        rows, _, self.arrivals, self.written = transitions
        self.host = PackedRows.of(rows)
        self.dtype = torch.from_numpy(np.empty(0, self.host.dtype)).dtype
        # Of a row; 0 for images, which are not in the rows.
        self.obs_columns = (self.host.shape[1] - spec.act_dim - 2) // 2
        self.rows = self._tensor(together)
        self.columns: Columns | None = None  # gives batches their optional fields
        # [N] int32, which transition of its episode each is; see `sequences.mark_steps`.
        self.steps: Tensor | None = None

    def _tensor(self, together: bool) -> Tensor | None:
        parts = self.host.parts
        if self.device.type == "cpu" and not together:
            return None
        if self.device.type == "cpu" and len(parts) == 1:
            return _on_device(parts[0], self.device)
        rows = torch.empty(self.host.shape, dtype=self.dtype, device=self.device)
        for part, target in zip(parts, rows.split([len(part) for part in parts]), strict=True):
            target.copy_(_on_device(part, torch.device("cpu")))
        return rows

    def write(self, indices: NDArray[np.int64], values: NDArray[np.float32], steps: NDArray[np.int64]) -> None:
        """Replace the rows at indices [k], of the last `written` ones, by packed rows [k, D], which are those transitions [k] of
        their episodes."""
        if self.steps is not None:
            self.steps[torch.from_numpy(indices).to(self.device)] = torch.from_numpy(steps).to(self.steps)
        self.host[indices] = values
        if self.rows is not None:
            places = torch.from_numpy(self.places(indices)).to(self.device)
            self.rows[places] = torch.from_numpy(values).to(self.device)

    def places(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the rows at these indices are in `rows`."""
        return indices

    def indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row indices [CHUNK, R, B] for arrival positions [R, CHUNK, B]."""
        return np.stack([arrival[each] for arrival, each in zip(self.arrivals, positions, strict=True)], axis=1)

    def batch(self, indices: Tensor, noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """The batch at places [..., R, B] of `rows` on the device; its rows become `row * scale + shift`, each [R, 1, D]."""
        return self.unpacked(self.packed(indices, shift, scale), indices, noise)

    def batch_of(self, indices: NDArray[np.int64], noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """The batch of any rows, by their indices [..., R, B] in `host`."""
        return self.batch(torch.from_numpy(indices).to(self.device), noise, shift, scale)

    def packed(self, indices: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
        """The rows at these places as they are packed, [..., R, B, D]; arguments as of `batch`."""
        if self.rows is None:
            packed = torch.from_numpy(self.host[indices.numpy()])
        else:
            packed = self.rows.index_select(0, indices.flatten()).view(*indices.shape, -1)
        return _scaled(packed, shift, scale)

    def unpacked(self, packed: Tensor, indices: Tensor, noise: Tensor, last: Tensor | None = None) -> Batch:
        """Packed rows [..., R, B, D] from these places as a batch. Images of next observations are those of the places `last`,
        [..., R, B]; none: of the same places.

        Columns are made contiguous: matrix products of strided inputs take twice as long.
        """
        width = self.obs_columns
        before, actions, rewards, masks, after = packed.split([width, self.act_dim, 1, 1, width], -1)
        observations, next_observations = self._observations(indices, before, after, last)
        return Batch(
            observations=observations,
            actions=self.as_classes(actions.contiguous()),
            rewards=rewards.squeeze(-1).contiguous(),
            next_observations=next_observations,
            masks=masks.squeeze(-1).contiguous(),
            noise=noise,
            **({} if self.columns is None else self.columns(indices)),
        )

    def as_classes(self, actions: Tensor) -> Tensor:
        """Actions [..., act_dim] as in a row in the form of a `Batch`: discrete ones are int64 [...]."""
        return actions if self.spec.action_classes is None else actions.squeeze(-1).long()

    def _observations(
        self, indices: Tensor, before: Tensor, after: Tensor, last: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Observations and next observations [..., R, B, *obs] from the rows' columns of both."""
        shape = (*indices.shape, *self.obs_shape)
        return before.contiguous().view(shape), after.contiguous().view(shape)


class ImageReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` of images: rows are [N, act|reward|mask], observations are stacks of frames with values from 0 to 255.
    `shift` and `scale` apply to the rows, not to images."""

    gathers_chunks = False  # several batches of stacked images would take gigabytes

    def __init__(self, transitions: Transitions, spec: Spec, together: bool = True):
        """See `ReplayBuffer`; the transitions must have images."""
        super().__init__(transitions, spec, together)
        assert transitions.pixels is not None
        pixels = transitions.pixels
        if self.written:
            own = self.written // spec.runs
            places = [np.asarray(arrival[len(arrival) - own : len(arrival)]) for arrival in self.arrivals]
            self.online = OnlineImages(pixels, places, spec.device)
            self.frames, self.index = self.online.frames, self.online.index
        else:
            self.frames, self.index = (_on_device(each, spec.device) for each in (pixels.frames, pixels.index))
        self._back = torch.arange(pixels.stack - 1, -1, -1, device=spec.device)

    def _observations(
        self, indices: Tensor, before: Tensor, after: Tensor, last: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        first, *newest = self.index.index_select(0, indices.flatten()).unbind(-1)
        if last is not None:
            newest[1] = self.index.index_select(0, last.flatten())[:, 2]
        # [observation and next observation, transition, frame of the stack]
        places = torch.maximum(torch.stack(newest)[..., None] - self._back, first[:, None])
        frames = self.frames.index_select(0, places.flatten())
        observations, next_observations = frames.view(2, *indices.shape, *self.obs_shape).to(before.dtype).unbind(0)
        return observations, next_observations


class PooledReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` of more rows than the device holds: in `rows` are those that the next gradient steps need, see
    `row_pool.RowPool`, and after them the rows that are written while training."""

    capacity = 0  # rows of the pool

    def _tensor(self, together: bool) -> Tensor | None:
        return None  # see `reserve`

    def reserve(self, capacity: int) -> None:
        """Make room for a pool of that many rows."""
        self.capacity = capacity
        self.rows = torch.empty((capacity + self.written, self.host.shape[1]), dtype=self.dtype, device=self.device)
        written = self.host[np.arange(len(self.host) - self.written, len(self.host))]
        self.rows[capacity:] = torch.from_numpy(written).to(self.device)

    def fill(self, pool: Tensor) -> None:
        """Replace the pool by rows [n, D] of the host."""
        assert self.rows is not None
        self.rows[: len(pool)].copy_(pool, non_blocking=True)

    def places(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `ReplayBuffer`; of written rows only."""
        return indices - (len(self.host) - self.written) + self.capacity

    def batch_of(self, indices: NDArray[np.int64], noise: Tensor, shift: Tensor | None, scale: Tensor | None) -> Batch:
        """See `ReplayBuffer`."""
        packed = torch.from_numpy(self.host[indices]).to(self.device)
        return self.unpacked(_scaled(packed, shift, scale), torch.from_numpy(indices).to(self.device), noise)


def is_pooled(nbytes: int, device: torch.device) -> bool:
    """Whether rows of so many bytes stay in the host's memory, or in memory maps, and are gathered from there."""
    return nbytes > (DEVICE_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else LARGE)


def build_replay_buffer(transitions: Transitions, spec: Spec, together: bool = True) -> ReplayBuffer:
    """The replay buffer that suits the transitions, on the device of `spec`; for `together` see `ReplayBuffer`."""
    if transitions.pixels is not None:
        return ImageReplayBuffer(transitions, spec, together)
    pooled = is_pooled(transitions.rows.nbytes, spec.device)
    return (PooledReplayBuffer if pooled else ReplayBuffer)(transitions, spec, together)
