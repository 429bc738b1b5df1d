"""The engine: all gradient steps from one evaluation to the next, in one call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.interface.algorithm import Algorithm, Batch
from seqeval_rl.training.normalization import Preprocessing
from seqeval_rl.training.replay_buffer import BatchSampler


class Learner:
    """Feeds an algorithm its batches; metrics stay tensors until they are asked for."""

    def __init__(self, algorithm: Algorithm, batches: BatchSampler, preprocessing: Preprocessing):
        """For an algorithm of as many runs as `batches` has."""
        self.algorithm, self.batches, self.preprocessing = algorithm, batches, preprocessing
        self._names: list[str] = []
        self._sums: list[Tensor] = []

    def train(
        self,
        start: int,
        stop: int,
        progress: Callable[[int], None],
        reveal: Callable[[int], None] | None = None,
        per_increment: int = 1,
    ) -> dict[str, NDArray[np.float64]]:
        """Take gradient steps `start` to `stop` (exclusive), telling `progress` now and then how many are done.

        Where `reveal` is given, it is called before each `per_increment` gradient steps with the number of increments that
        must have been seen by then.

        Returns each metric's mean over these gradient steps, [R].
        """
        if start == stop:
            return {}
        for total in self._sums:
            total.zero_()
        if reveal is None:
            self._steps(start, stop, progress)
        else:
            for first in range(start, stop, per_increment):
                reveal(first // per_increment + 1)
                self._steps(first, first + per_increment, progress)
        return {
            name: (value / (stop - start)).cpu().numpy() for name, value in zip(self._names, self._sums, strict=True)
        }

    def _steps(self, start: int, stop: int, progress: Callable[[int], None]) -> None:
        shift, scale = self.preprocessing.shift, self.preprocessing.scale
        for done, batch in enumerate(self.batches.between(start, stop, shift, scale), start):
            if done % 32 == 0:
                progress(done)
            self._update(batch)

    def _update(self, batch: Batch) -> None:
        """One gradient step, its metrics added up."""
        metrics = self.algorithm.update(batch)
        if not self._names:
            self._names = list(metrics)
            self._sums = [torch.zeros_like(value, dtype=torch.float64) for value in metrics.values()]
        # One call for all metrics; float64, since thousands of values are summed.
        torch._foreach_add_(self._sums, [metrics[name] for name in self._names])

    def greedy(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The algorithm's deterministic action for raw observations [R, E, *obs]: [R, E, act_dim] in [-1, 1]."""
        return act(self.algorithm, self.preprocessing.observations, self.batches.replay.device, observations)


@torch.no_grad()
def act(
    algorithm: Algorithm,
    preprocess: Callable[[Tensor], Tensor],
    device: torch.device,
    observations: NDArray[np.float32],
    noise: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The action of an algorithm on `device` for raw observations [R, E, *obs]: [R, E, act_dim] in [-1, 1]; deterministic, or
    with standard normals [R, E, act_dim] exploring."""
    seen = preprocess(torch.from_numpy(observations).to(device))
    actions: NDArray[np.float32] = (
        algorithm.act(seen, None if noise is None else torch.from_numpy(noise).to(device)).cpu().numpy()
    )
    return actions
