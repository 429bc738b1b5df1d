"""Normalizes observations and scales rewards before an algorithm sees them, by statistics of the visible transitions alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data.arrival import Arrival
from seqeval_rl.data.packed_rows import PackedRows
from seqeval_rl.interface.algorithm import Spec

EPSILON = 1e-3  # added to the standard deviation, as TD3+BC's authors do


class VisibleMoments:
    """Running mean and standard deviation of each run's visible window; the cost is that of the newly visible transitions."""

    def __init__(
        self, rows: NDArray[np.float32] | PackedRows, arrivals: Sequence[Arrival], width: int, window: int | None
    ):
        """Over the first `width` columns of rows [N, D], for arrival orders [R][N]."""
        self._rows, self._arrivals, self._width, self._window = rows, list(arrivals), width, window
        self._visible = 0
        # Sums are of differences to the first transition: with a mean far from 0, E[x²] - E[x]² would cancel.
        self._origin = np.stack([rows[arrival[0]][:width].astype(np.float64) for arrival in self._arrivals])
        self._sum, self._square = np.zeros_like(self._origin), np.zeros_like(self._origin)

    def advance(self, transitions: int) -> None:
        """Add what became visible up to `transitions`, and subtract what left the window."""
        oldest = 0 if self._window is None else max(transitions - self._window, 0)
        previous = 0 if self._window is None else max(self._visible - self._window, 0)
        for r, arrival in enumerate(self._arrivals):
            for sign, start, stop in ((1.0, self._visible, transitions), (-1.0, previous, oldest)):
                # In pieces, so that a large dataset is not copied as a whole.
                for piece in range(start, stop, 65_536):
                    chosen = arrival[piece : min(piece + 65_536, stop)]
                    values = self._rows[chosen][:, : self._width].astype(np.float64) - self._origin[r]
                    self._sum[r] += sign * values.sum(0)
                    self._square[r] += sign * np.square(values).sum(0)
        self._visible = transitions

    def mean_and_std(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each [R, width]."""
        count = self._visible if self._window is None else min(self._visible, self._window)
        centred = self._sum / count
        variance = np.maximum(self._square / count - np.square(centred), 0.0)
        return self._origin + centred, np.sqrt(variance)

    def state_dict(self) -> dict[str, Any]:
        """Sums with the run axis first, and the count."""
        sums = {"origin": self._origin, "sum": self._sum, "square": self._square}
        return {"visible": self._visible, **{name: torch.from_numpy(value.copy()) for name, value in sums.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._visible = state["visible"]
        self._origin, self._sum, self._square = (state[key].numpy().copy() for key in ("origin", "sum", "square"))


class Preprocessing:
    """One affine map of packed rows per run: observations to mean 0 and standard deviation 1, rewards to a given scale."""

    def __init__(
        self, moments: VisibleMoments | None, obs_dim: int, spec: Spec, reward_scale: float | NDArray[np.float64]
    ):
        """For rows with observations of `obs_dim` numbers. Without `moments` observations are not changed; `reward_scale`, one
        for all runs or [R], multiplies rewards."""
        self._moments, self._obs_dim = moments, obs_dim
        shape = (spec.runs, 1, 2 * obs_dim + spec.act_dim + 2)
        self._scale, self._shift = np.ones(shape), np.zeros(shape)
        self._scale[:, 0, obs_dim + spec.act_dim] = reward_scale
        self.scale: Tensor | None = None  # [R, 1, D]; None: rows are not changed
        self.shift: Tensor | None = None
        if moments is not None or np.any(np.asarray(reward_scale) != 1.0):
            self.scale, self.shift = (torch.empty(shape, device=spec.device) for _ in range(2))
            self._upload()

    def _upload(self) -> None:
        if self.scale is not None and self.shift is not None:
            # In place: captured CUDA graphs read these tensors.
            self.scale.copy_(torch.from_numpy(self._scale))
            self.shift.copy_(torch.from_numpy(self._shift))

    def refresh(self, transitions: int) -> None:
        """Use the statistics of the window that ends at `transitions`."""
        if self._moments is None:
            return
        self._moments.advance(transitions)
        mean, std = self._moments.mean_and_std()
        for columns in (slice(0, self._obs_dim), slice(-self._obs_dim, None)):
            self._scale[:, 0, columns] = 1.0 / (std + EPSILON)
            self._shift[:, 0, columns] = -mean / (std + EPSILON)
        self._upload()

    def now(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """A function from observations [R, E, *obs] on `device` to these as the algorithm sees them, with the statistics in use
        now."""
        if self._moments is None or self.scale is None or self.shift is None:
            return lambda observations: observations
        scale, shift = (t[..., : self._obs_dim].to(device, copy=True) for t in (self.scale, self.shift))
        return lambda observations: torch.addcmul(shift, observations.flatten(2), scale).view(observations.shape)

    @property
    def reward_scale(self) -> NDArray[np.float64]:
        """What rewards are multiplied by, [R]."""
        return self._scale[:, 0, -self._obs_dim - 2] if self._obs_dim else self._scale[:, 0, -2]

    def state_dict(self) -> dict[str, Any]:
        """Statistics in use, with the run axis first."""
        moments = {} if self._moments is None else self._moments.state_dict()
        return {"moments": moments, "scale": torch.from_numpy(self._scale), "shift": torch.from_numpy(self._shift)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        if self._moments is not None:
            self._moments.load_state_dict(state["moments"])
        self._scale, self._shift = state["scale"].numpy().copy(), state["shift"].numpy().copy()
        self._upload()
