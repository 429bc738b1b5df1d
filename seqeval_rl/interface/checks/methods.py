"""Contract checks of `update` and `act`: what they return, and what they may not touch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.interface.checks.fixtures import (
    ACT_DIM,
    BATCH,
    EPISODES,
    OBS_DIM,
    SEEDS,
    CheckFailed,
    HostReads,
    batches_of,
    build_group,
    describe,
    expect_equal,
    period,
)
from seqeval_rl.seeding import torch_generator


def check_metrics(algorithm: Any) -> str:
    """Every `update` returns the same metrics: named like `critic/loss`, finite, detached, one number per run."""
    group, batches = build_group(algorithm), batches_of(algorithm)
    first: set[str] | None = None
    for _ in range(2 * period(group) + 1):
        metrics = group.update(next(batches))
        if first is not None and set(metrics) != first:
            raise CheckFailed(
                f"expected the same metrics at every update, found {sorted(first ^ set(metrics))} in some only"
            )
        first = set(metrics)
        for name, value in metrics.items():
            if "/" not in name:
                raise CheckFailed(f"expected names like critic/loss, found {name!r}")
            if not isinstance(value, Tensor) or value.shape != (len(SEEDS),):
                raise CheckFailed(f"{name}: expected a tensor of shape {(len(SEEDS),)}, found {describe(value)}")
            if value.requires_grad:
                raise CheckFailed(f"{name}: expected a detached tensor, found one with a gradient")
            if not value.isfinite().all():
                raise CheckFailed(f"{name}: expected finite numbers, found {value.tolist()}")
    if not first:
        raise CheckFailed("expected at least one metric, such as actor/loss, found none")
    return ", ".join(sorted(first))


def check_act(algorithm: Any) -> str:
    """`act` returns finite actions [R, E, act_dim] in [-1, 1], greedy and exploring; greedy actions are deterministic."""
    group, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(group)):
        group.update(next(batches))
    observations = 10 * torch.randn(len(SEEDS), EPISODES, OBS_DIM, generator=torch_generator(0, "contract act"))
    noise = 3 * torch.randn(len(SEEDS), EPISODES, ACT_DIM, generator=torch_generator(1, "contract act"))
    with torch.no_grad():
        for kind, actions in {
            "greedy": group.act(observations, None),
            "exploring": group.act(observations, noise),
        }.items():
            expected = (len(SEEDS), EPISODES, ACT_DIM)
            if actions.shape != expected:
                raise CheckFailed(f"{kind} actions: expected shape {expected}, found {tuple(actions.shape)}")
            if not actions.isfinite().all():
                raise CheckFailed(f"{kind} actions: expected finite numbers, found NaN or infinity")
            if actions.abs().max() > 1:
                raise CheckFailed(f"{kind} actions: expected them in [-1, 1], found {actions.abs().max():.4g}")
        if not torch.equal(group.act(observations, None), group.act(observations, None)):
            raise CheckFailed(
                "greedy actions: expected the same actions for the same observations, found different ones"
            )
    return "shape, range, and greedy actions repeat"


def check_inputs(algorithm: Any) -> str:
    """`update` and `act` do not change their arguments in place: the harness reuses the memory."""
    group, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(group)):
        batch = next(batches)
        kept = Batch(*(column.clone() for column in batch))
        group.update(batch)
        group.act(batch.observations, torch.zeros(len(SEEDS), BATCH, ACT_DIM))
        for name, now, before in zip(Batch._fields, batch, kept, strict=True):
            if not torch.equal(now, before):
                raise CheckFailed(f"expected {name} to be unchanged, found it changed in place")
    return "inputs unchanged"


def check_randomness(algorithm: Any) -> str:
    """Weights depend on the seeds alone and noise comes from the batch: torch's global generator is neither used nor changed.

    A single-run algorithm may draw from the global generator, which the harness replaces by one of the run's own.
    """
    finals = []
    for global_seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            group, batches = build_group(algorithm), batches_of(algorithm)
            for _ in range(period(group)):
                group.update(next(batches))
            group.act(torch.zeros(len(SEEDS), EPISODES, OBS_DIM), torch.ones(len(SEEDS), EPISODES, ACT_DIM))
            if not torch.equal(before, torch.get_rng_state()):
                raise CheckFailed(
                    "expected all noise from batch.noise and seeds, found torch's global generator drawn from"
                )
        finals.append(group.state_dict())
    expect_equal(finals[0], finals[1], "same seeds and batches, different global generators")
    return "a function of seeds and inputs"


def check_capture(algorithm: Any) -> str:
    """A vectorized `update` copies no tensor to the host and has no data-dependent shapes, so a CUDA graph can capture it.

    Detected are `.item()`, `float()`, `bool()`, a Python branch on a tensor, boolean indexing, and an optimizer that reads its
    step counter (torch's Adam without `fused` and `capturable`).
    """
    if not getattr(algorithm, "vectorized", False):
        return "not required of a single-run algorithm: it is not captured"
    group, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(group)):
        group.update(next(batches))
    with HostReads() as reads:
        for _ in range(period(group)):
            group.update(next(batches))
    if reads.operations:
        raise CheckFailed(f"expected no host synchronisation in update, found {', '.join(sorted(reads.operations))}")
    return "no host synchronisation"
