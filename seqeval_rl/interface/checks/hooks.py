"""The contract's check of the optional hooks `values` and `log_prob`, which prequential scores are made of."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqeval_rl.interface.checks.fixtures import (
    ACT_DIM,
    BATCH,
    OBS_DIM,
    SEEDS,
    Failed,
    batches_of,
    build_group,
    describe,
    expect_equal,
    period,
)
from seqeval_rl.interface.state import split_state
from seqeval_rl.seeding import torch_generator

HOOKS = ("values", "log_prob")
_CLOSE = 1e-4  # absolute and relative: a log-density of float32 at an action on the bound is large and has few digits
_Hook = Callable[[Tensor, Tensor], Any]


def check_hooks(algorithm: Any) -> str:
    """`values` and `log_prob`, where there are any, give [R, B] finite numbers without gradient, and leave all as it was.

    Each number is of its own transition and run alone: a run is judged as it is by itself, and in pieces as at once. Logged
    actions may lie on the bounds, -1 and 1, where a log-density has to be finite too. `values` needs a setting `discount`.
    """
    stack, batches = build_group(algorithm), batches_of(algorithm)
    found = [name for name in HOOKS if hasattr(stack, name)]
    if "values" in found and "discount" not in {field.name for field in dataclasses.fields(algorithm.Config)}:
        raise Failed("values: expected a setting discount in Config, without which it is never asked, found none")
    for _ in range(period(stack) + 1):
        stack.update(next(batches))
    observations = torch.randn(len(SEEDS), BATCH, OBS_DIM, generator=torch_generator(3, "contract hooks"))
    actions = torch.randn(len(SEEDS), BATCH, ACT_DIM, generator=torch_generator(4, "contract hooks")).clamp(-1, 1)
    actions[:, 0], actions[:, 1] = 1, -1
    for name in found:
        numbers = _asked(name, stack, observations, actions)
        _own(name, getattr(stack, name), numbers, observations, actions)
        for r, part in enumerate(split_state(stack.state_dict(), len(SEEDS))):
            single = build_group(algorithm, (SEEDS[r],))
            single.load_state_dict(part)
            alone = getattr(single, name)(observations[r : r + 1], actions[r : r + 1])
            _close(f"{name}: run {r} in the stack and alone", numbers[r], alone[0])
    return ", ".join(found) or "has neither values nor log_prob: no scores of values, no nll"


def _asked(name: str, stack: Any, observations: Tensor, actions: Tensor) -> Tensor:
    """What the hook answers, once its form and the absence of side effects are established."""
    kept = observations.clone(), actions.clone()
    state, random = copy.deepcopy(stack.state_dict()), torch.get_rng_state()
    numbers = getattr(stack, name)(observations, actions)
    expected = (len(SEEDS), BATCH)
    if not isinstance(numbers, Tensor) or numbers.shape != expected:
        raise Failed(f"{name}: expected a tensor of shape {expected}, found {describe(numbers)}")
    if numbers.requires_grad:
        raise Failed(
            f"{name}: expected a detached tensor, found one with a gradient. Decorate it with @torch.no_grad()"
        )
    if not numbers.isfinite().all():
        place = (~numbers.isfinite()).nonzero()[0].tolist()
        raise Failed(
            f"{name}: expected finite numbers, found {numbers[*place].item()} at the action {actions[*place].tolist()}"
        )
    for what, now, before in zip(("observations", "actions"), (observations, actions), kept, strict=True):
        if not torch.equal(now, before):
            raise Failed(f"{name}: expected {what} to be left as they were, found them changed in place")
    if not torch.equal(torch.get_rng_state(), random):
        raise Failed(f"{name}: expected no noise, found torch's global generator drawn from")
    expect_equal(state, stack.state_dict(), f"{name}, before and after it is asked")
    return numbers


def _own(name: str, hook: _Hook, numbers: Tensor, observations: Tensor, actions: Tensor) -> None:
    """Fails where a number depends on other transitions of the batch, or on another run."""
    for piece in (slice(0, 1), slice(1, BATCH)):
        part = hook(observations[:, piece], actions[:, piece])
        _close(f"{name}: transitions judged in pieces and at once", numbers[:, piece], part)
    spoilt = observations.clone()
    spoilt[0] = torch.nan
    _close(f"{name}: run 1 beside a healthy and beside a spoilt run 0", numbers[1], hook(spoilt, actions)[1])


def _close(what: str, expected: Tensor, found: Tensor) -> None:
    if not torch.allclose(found, expected, rtol=_CLOSE, atol=_CLOSE):
        raise Failed(f"{what}: expected the same numbers, found them {(found - expected).abs().max():.3g} apart")
