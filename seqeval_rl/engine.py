"""The engine: all gradient steps from one evaluation to the next, in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.algorithm import Algorithm
from seqeval_rl.preprocessing import Preprocessing
from seqeval_rl.replay import Batches


@dataclass
class Engine:
    """Feeds an algorithm its batches; metrics stay tensors until they are asked for."""

    algorithm: Algorithm
    batches: Batches
    preprocessing: Preprocessing

    def train(self, start: int, stop: int, progress: Callable[[int], None]) -> dict[str, NDArray[np.float64]]:
        """Take gradient steps `start` to `stop` (exclusive), telling `progress` now and then how many are done.

        Returns each metric's mean over these gradient steps, [R].
        """
        shift, scale = self.preprocessing.shift, self.preprocessing.scale
        names: list[str] = []
        sums: list[Tensor] = []
        for done, batch in enumerate(self.batches.between(start, stop, shift, scale), start):
            if done % 32 == 0:
                progress(done)
            metrics = self.algorithm.update(batch)
            if not names:
                names = list(metrics)
                sums = [torch.zeros_like(value, dtype=torch.float64) for value in metrics.values()]
            # One call for all metrics; float64, since thousands of values are summed.
            torch._foreach_add_(sums, [metrics[name] for name in names])
        return {name: (value / (stop - start)).cpu().numpy() for name, value in zip(names, sums, strict=True)}

    @torch.no_grad()
    def greedy(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The algorithm's deterministic action for raw observations [R, E, *obs]: [R, E, act_dim] in [-1, 1]."""
        device = self.batches.replay.device
        seen = self.preprocessing.observations(torch.from_numpy(observations).to(device))
        actions: NDArray[np.float32] = self.algorithm.act(seen, None).cpu().numpy()
        return actions
