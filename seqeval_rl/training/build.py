"""Builds what a run group trains with: replay buffer, preprocessing, batches, algorithm and the learner that joins them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.data.images import Pixels
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Schedule
from seqeval_rl.training.batch_sampler import BatchSampler
from seqeval_rl.training.cuda_graph_learner import CudaGraphLearner
from seqeval_rl.training.cuda_graphs import Capture
from seqeval_rl.training.learner import Learner
from seqeval_rl.training.normalization import Preprocessing, VisibleMoments
from seqeval_rl.training.replay_buffer import ImageReplayBuffer, ReplayBuffer


class Transitions(NamedTuple):
    """The transitions of R runs."""

    rows: NDArray[np.float32]  # [N, D], packed, see `Dataset.rows`
    pixels: Pixels | None  # their images, where observations are images
    arrivals: list[NDArray[np.int64]]  # [R], each run's row indices in order of arrival


def build_replay_buffer(transitions: Transitions, spec: Spec) -> ReplayBuffer:
    """A replay buffer on the device of `spec`."""
    rows, pixels, arrivals = transitions
    if pixels is None:
        return ReplayBuffer(rows, arrivals, spec.obs_shape, spec.act_dim, spec.device)
    return ImageReplayBuffer(pixels, rows, arrivals, spec.act_dim, spec.device)


def build_learner(
    entry: AlgorithmEntry,
    config: Any,
    spec: Spec,
    replay: ReplayBuffer,
    schedules: Sequence[Schedule],
    visible: int,
    reward_scales: float | NDArray[np.float64] = 1.0,
    capture: Capture | None = None,
) -> Learner:
    """An untrained algorithm with its batches: on CUDA, or where a `capture` is given, a `CudaGraphLearner`.

    Args:
        entry: the algorithm.
        config: its settings.
        spec: of the R runs.
        replay: their transitions.
        schedules: one per run, of one protocol.
        visible: number of transitions that the first statistics of observations are of.
        reward_scales: what rewards are multiplied by, for all runs or [R].
        capture: see `CudaGraphLearner`.
    """
    obs_dim, moments = replay.obs_columns, None
    if obs_dim and getattr(config, "normalise_observations", False):
        moments = VisibleMoments(replay.host, replay.arrivals, obs_dim, schedules[0].protocol.window)
    preprocessing = Preprocessing(moments, obs_dim, spec.act_dim, spec.runs, reward_scales, spec.device)
    preprocessing.refresh(visible)
    algorithm = entry.build(config, spec)
    batches = BatchSampler(replay, schedules, spec.seeds, entry.noise_dim(config, spec))
    if capture is None and spec.device.type != "cuda":
        return Learner(algorithm, batches, preprocessing)
    return CudaGraphLearner(algorithm, batches, preprocessing, capture)
