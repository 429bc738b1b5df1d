"""Builds what a group of runs trains with: the transitions of its streams, its reward scales, its learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.data.arrival import Arrival, Concatenated, Logged
from seqeval_rl.data.images import join
from seqeval_rl.data.packed_rows import PackedRows
from seqeval_rl.data.stream import Stream, first_rows
from seqeval_rl.environments.patience import UPDATE, within_limits
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.batch_sampler import BatchSampler
from seqeval_rl.training.cuda_graph_learner import CudaGraphLearner
from seqeval_rl.training.cuda_graphs import Capture
from seqeval_rl.training.learner import Learner
from seqeval_rl.training.n_step import NStepTransitions
from seqeval_rl.training.normalization import Preprocessing, VisibleMoments
from seqeval_rl.training.replay_buffer import ReplayBuffer, Transitions
from seqeval_rl.training.sequences import Sequences


def build_transitions(streams: Sequence[Stream], seeds: Sequence[int], protocol: Protocol) -> Transitions:
    """The transitions of all runs' streams, and each run's order of arrival; of one stream alone, its memory maps themselves.

    With M online transitions each run has M rows of its own after those of the datasets. Raises `ValueError` where streams of
    unequal length precede an online phase.
    """
    different = {id(stream): stream for stream in streams}.values()
    parts = [rows for stream in different for rows in stream.rows()]
    arrivals: list[Arrival] = []
    own = sum(len(stream) for stream in different)  # first row of the next run's own
    for stream, seed, first in zip(streams, seeds, first_rows(streams), strict=True):
        order = stream.arrival(protocol.order, seed)
        segments: list[tuple[Arrival, int]] = [(order, first)] if len(order) else []
        if protocol.online:
            segments.append((Logged(protocol.online), own))
            own += protocol.online
        whole = Concatenated(segments)
        arrivals.append(whole.array() if isinstance(order, np.ndarray) else whole)
    written = len(streams) * protocol.online
    if protocol.online:
        if len({len(stream) for stream in streams}) > 1:
            raise ValueError("streams of a run group with an online phase: expected equal lengths")
        parts.append(np.zeros((written, streams[0].width), parts[0].dtype if parts else np.float32))
    images = [pixels for stream in different if (pixels := stream.pixels()) is not None]
    return Transitions(PackedRows(parts), join(images) if images else None, arrivals, written)


def check_images(algorithm: str, stream: str, config: Any) -> None:
    """Raise `UsageError` for settings that do not suit a dataset of images."""
    if getattr(config, "normalise_observations", False):
        raise UsageError(
            f"{algorithm}.normalise_observations: expected false for images, found true on {stream}. Set it to "
            "false; images come with values from 0 to 255, and scaling them is the algorithm's."
        )


def reward_scale(stream: Stream, config: Any, protocol: Protocol) -> float:
    """What rewards are multiplied by, so that the task's reference returns are `return_range` apart; 1 where that is not set.

    Where the protocol uses future data, as published, the returns of the full dataset take the place of the reference returns.
    Without either rewards are not scaled, which the planner says.
    """
    span, references = getattr(config, "return_range", None), stream.task.return_references
    if span is None:
        return 1.0
    width = span if references is None else references[1] - references[0]
    if protocol.uses_future_data and len(stream):
        width = float(np.ptp(stream.returns()))
        if width <= 0:
            raise DataError(
                f"stream {stream.name!r}: expected episodes of different returns to scale rewards by, found one return. "
                "Leave out --paper, or set return_range=none."
            )
    return float(span / width)


def by_run(value: Any, runs: int) -> list[Any]:
    """A setting of each run: that of all, or those of a tensor [R]."""
    return value.tolist() if isinstance(value, torch.Tensor) else [value] * runs


def build_learner(
    entry: AlgorithmEntry,
    config: Any,
    spec: Spec,
    replay: ReplayBuffer,
    schedules: Sequence[Schedule],
    visible: int,
    reward_scales: float | NDArray[np.float64] = 1.0,
    capture: Capture | None = None,
    sequences: Sequences | NStepTransitions | None = None,
) -> Learner:
    """An untrained algorithm with its batches and preprocessing, for R runs with a schedule each, of one protocol.

    The first statistics of observations are of `visible` transitions; `reward_scales`, one for all runs or [R], multiply
    rewards. For `capture` see `CudaGraphLearner`; none: on CUDA a CUDA graph, elsewhere nothing is captured. With `sequences`
    batches are of what these make.
    """
    obs_dim, moments = replay.obs_columns, None
    if obs_dim and getattr(config, "normalise_observations", False):
        moments = VisibleMoments(replay.host, replay.arrivals, obs_dim, schedules[0].protocol.window)
    preprocessing = Preprocessing(moments, obs_dim, spec, reward_scales)
    preprocessing.refresh(visible)
    with within_limits(UPDATE):
        algorithm = entry.build(config, spec)
    shares = by_run(getattr(config, "dataset_share", None), spec.runs)
    batches = BatchSampler(replay, schedules, spec.seeds, entry.noise_dim(config, spec), sequences, shares)
    if capture is None and spec.device.type != "cuda":
        return Learner(algorithm, batches, preprocessing)
    return CudaGraphLearner(algorithm, batches, preprocessing, capture)
