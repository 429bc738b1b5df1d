"""The learner: draws batches, takes gradient steps and averages the algorithm's metrics, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.environments.patience import UPDATE, Alarm, within_limits
from seqeval_rl.interface.algorithm import Algorithm, Spec
from seqeval_rl.interface.returns import check_actions, check_metrics
from seqeval_rl.training.batch_sampler import CHUNK, BatchSampler
from seqeval_rl.training.history import Memory, Remembering
from seqeval_rl.training.normalization import Preprocessing

Policy = Callable[..., NDArray[np.float32]]
"""Raw observations [R, E, *obs], and noise to explore, to actions [R, E, act_dim]; `Remembering`, if it acts on a history."""


class Learner:
    """Trains an algorithm of R runs on its batches."""

    def __init__(self, algorithm: Algorithm, batches: BatchSampler, preprocessing: Preprocessing):
        self.algorithm, self.batches, self.preprocessing = algorithm, batches, preprocessing
        self._acted: set[bool] = set()  # whether it has acted greedily (True) and exploring (False)
        # By metric, in order, of each run over gradient steps; empty before the first update.
        self._sums: dict[str, list[float]] = {}
        self._steps = 0  # gradient steps that the sums are over

    def train(self, start: int, stop: int, progress: Callable[[int], None]) -> None:
        """Take gradient steps `start` to `stop` (exclusive); `progress` takes now and then the number of those taken so far."""
        shift, scale = self.preprocessing.shift, self.preprocessing.scale
        self._steps += stop - start
        with Alarm(UPDATE) as alarm:
            for batches in self.batches.between(start, stop, shift, scale):
                if start % CHUNK == 0:
                    progress(start)
                for step, batch in enumerate(batches, start):
                    alarm.begin(step)
                    self._add(self.algorithm.update(batch))
                alarm.end()
                start += len(batches)
                del batch, batches  # the next ones take their memory

    def _add(self, metrics: dict[str, Tensor]) -> None:
        if not (self._sums and isinstance(metrics, dict) and metrics.keys() == self._sums.keys()):
            self._check(metrics)
        for name, sums in self._sums.items():
            # As numbers of Python: operations on small tensors take three times as long.
            for r, value in enumerate(metrics[name].tolist()):
                sums[r] += value

    def _check(self, metrics: dict[str, Tensor]) -> None:
        check_metrics(self.algorithm, metrics, (len(self.batches.seeds),), self._sums.keys() or None)
        if not self._sums:
            self._sums = {name: [] for name in metrics}
            self._reset_sums()

    def _reset_sums(self) -> None:
        self._sums = {name: [0.0] * len(self.batches.seeds) for name in self._sums}

    def _means(self, steps: int) -> NDArray[np.float64]:
        return np.array(list(self._sums.values())) / steps

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """Each metric's mean [R] over the gradient steps since last asked; empty where none were taken. Waits for the device."""
        steps, self._steps = self._steps, 0
        if not steps:
            return {}
        means = dict(zip(self._sums, self._means(steps), strict=True))
        self._reset_sums()
        return means

    def policy(self) -> Policy:
        """`act`, for an algorithm that acts on a history with a memory of its own."""
        replay, length = self.batches.replay, getattr(self.algorithm, "history_length", None)
        if length is None:
            return self.act
        return Remembering(self.act, length, len(self.batches.seeds), replay.obs_shape, replay.act_dim)

    def act(
        self, observations: NDArray[np.float32] | Memory, noise: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Actions [R, E, act_dim] for raw observations [R, E, *obs] or histories, see the function `act`."""
        replay, bounded = self.batches.replay, (noise is None) not in self._acted
        self._acted.add(noise is None)
        preprocess, scale = self.preprocessing.now(replay.device), self.preprocessing.reward_scale
        return act(self.algorithm, preprocess, replay.device, replay.spec, bounded, observations, noise, scale)


@torch.no_grad()
def act(
    algorithm: Algorithm,
    preprocess: Callable[[Tensor], Tensor],
    device: torch.device,
    spec: Spec,
    bounded: bool,
    observations: NDArray[np.float32] | Memory,
    noise: NDArray[np.float32] | None = None,
    reward_scale: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """The action of an algorithm on `device` for raw observations [R, E, *obs], or histories whose rewards are multiplied by
    `reward_scale` [R]: [R, E, act_dim] in [-1, 1]; deterministic, or with standard normals [R, E, n], n =
    `spec.act_noise_dim`, exploring. Of discrete actions, their numbers [R, E, 1].

    Raises:
        WrongReturn: it is no tensor of that shape, or, if it is to be `bounded`, not in that range.
    """
    seen: Any
    if isinstance(observations, Memory):
        assert reward_scale is not None
        seen = observations.history(preprocess, reward_scale, device)
    else:
        seen = preprocess(torch.from_numpy(observations).to(device))
    given = None if noise is None else torch.from_numpy(noise).to(device)
    with within_limits(UPDATE):
        actions = algorithm.act(seen, given)
    check_actions(algorithm, actions, (*observations.shape[:2], spec.act_dim), bounded, spec.action_classes)
    if spec.action_classes is not None:
        return actions.unsqueeze(-1).cpu().numpy().astype(np.float32)
    return actions.cpu().numpy()
