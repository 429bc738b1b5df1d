"""Measures what a gradient step costs on this machine, so that the planner can order and size jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from seqeval_rl.experiments.sweep import Variant
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import common_settings
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.training.batch_sampler import CHUNK
from seqeval_rl.training.device import torch_threads


def cost_of_run(
    variant: Variant, obs_shape: tuple[int, ...], act_dim: int, device: torch.device, known: dict[Any, UpdateCost]
) -> UpdateCost:
    """The cost of one gradient step of one run, measured once for equal settings (`known`); 0 for an algorithm that raises,
    which its own job will report."""
    batch_size = variant.protocol.batch_size
    # Widths and counts change the cost, rates do not.
    key = (variant.entry.reference, common_settings(variant.config), obs_shape, act_dim, batch_size)
    if key not in known:
        try:
            known[key] = cost_of_update(variant.entry, variant.config, obs_shape, act_dim, batch_size, device)
        except Exception:
            known[key] = UpdateCost(0.0, 0)
    return known[key]


def random_batch(spec: Spec, batch_size: int, noise_dim: int) -> Batch:
    """A batch of standard normals (actions in [-1, 1], no terminals) of the right shapes."""
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(spec.runs, batch_size, *shape, generator=rng).to(spec.device)

    return Batch(
        normal(*spec.obs_shape), normal(spec.act_dim).tanh(), normal(), normal(*spec.obs_shape),
        torch.ones(spec.runs, batch_size, device=spec.device), normal(noise_dim),
    )  # fmt: skip


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of `work`, with the device's part."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


class UpdateCost(NamedTuple):
    """The cost of one run of an algorithm."""

    seconds: float  # wall time of one gradient step
    bytes: int  # of the device's memory that a run of a group may take; 0 on a CPU


def cost_of_update(
    entry: AlgorithmEntry, config: Any, obs_shape: tuple[int, ...], act_dim: int, batch_size: int, device: torch.device
) -> UpdateCost:
    """A quick measurement for planning: bare updates of one run, on a CPU on one thread."""
    cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    spec = Spec(obs_shape, act_dim, (0,), device)
    algorithm = entry.build(config, spec)
    batch = random_batch(spec, batch_size, entry.noise_dim(config, spec))
    with torch_threads(1):
        algorithm.update(batch)
        seconds = timed(lambda: [algorithm.update(batch) for _ in range(4)], device) / 4
    if not cuda:
        return UpdateCost(seconds, 0)
    draws = CHUNK * batch_size * (8 + 4 * batch.noise.shape[-1])
    # Twice the peak: a captured graph keeps its own memory in addition to what was allocated before the capture.
    return UpdateCost(seconds, 2 * (torch.cuda.max_memory_allocated(device) - before) + draws)
