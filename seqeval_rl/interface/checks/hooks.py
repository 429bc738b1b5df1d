"""Contract check of the optional hooks `values` and `log_prob`, which prequential scores are computed from."""

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
    CheckFailed,
    batches_of,
    build_group,
    describe,
    expect_equal,
    period,
)
from seqeval_rl.interface.state import split_state
from seqeval_rl.seeding import torch_generator

HOOKS = ("values", "log_prob")
_CLOSE = 1e-4  # absolute and relative: a float32 log-density at an action on the bound is large and has few digits
_Hook = Callable[[Tensor, Tensor], Any]


def check_hooks(algorithm: Any) -> str:
    """`values` and `log_prob`, where defined, return finite detached numbers [R, B] and change nothing.

    Each number depends on its own transition and run alone: not on the rest of the batch, nor on other runs. A dataset's
    actions may equal the bounds -1 and 1, where a log-density must be finite too. `values` needs a setting `discount`.
    """
    group, batches = build_group(algorithm), batches_of(algorithm)
    defined = [name for name in HOOKS if hasattr(group, name)]
    if "values" in defined and "discount" not in {field.name for field in dataclasses.fields(algorithm.Config)}:
        raise CheckFailed("values: expected a setting discount in Config, without which it is never called, found none")
    for _ in range(period(group) + 1):
        group.update(next(batches))
    observations = torch.randn(len(SEEDS), BATCH, OBS_DIM, generator=torch_generator(3, "contract hooks"))
    actions = torch.randn(len(SEEDS), BATCH, ACT_DIM, generator=torch_generator(4, "contract hooks")).clamp(-1, 1)
    actions[:, 0], actions[:, 1] = 1, -1
    for name in defined:
        numbers = _result(name, group, observations, actions)
        _check_independence(name, getattr(group, name), numbers, observations, actions)
        for r, part in enumerate(split_state(group.state_dict(), len(SEEDS))):
            single = build_group(algorithm, (SEEDS[r],))
            single.load_state_dict(part)
            alone = getattr(single, name)(observations[r : r + 1], actions[r : r + 1])
            _close(f"{name}: run {r} in the run group and alone", numbers[r], alone[0])
    return ", ".join(defined) or "has neither values nor log_prob: no scores from values, no nll"


def _result(name: str, group: Any, observations: Tensor, actions: Tensor) -> Tensor:
    """The hook's result, after checking its shape and that the call has no side effects."""
    kept = observations.clone(), actions.clone()
    state, random = copy.deepcopy(group.state_dict()), torch.get_rng_state()
    numbers = getattr(group, name)(observations, actions)
    expected = (len(SEEDS), BATCH)
    if not isinstance(numbers, Tensor) or numbers.shape != expected:
        raise CheckFailed(f"{name}: expected a tensor of shape {expected}, found {describe(numbers)}")
    if numbers.requires_grad:
        raise CheckFailed(
            f"{name}: expected a detached tensor, found one with a gradient. Decorate it with @torch.no_grad()"
        )
    if not numbers.isfinite().all():
        place = (~numbers.isfinite()).nonzero()[0].tolist()
        raise CheckFailed(
            f"{name}: expected finite numbers, found {numbers[*place].item()} at the action {actions[*place].tolist()}"
        )
    for what, now, before in zip(("observations", "actions"), (observations, actions), kept, strict=True):
        if not torch.equal(now, before):
            raise CheckFailed(f"{name}: expected {what} to be unchanged, found them changed in place")
    if not torch.equal(torch.get_rng_state(), random):
        raise CheckFailed(f"{name}: expected no noise, found torch's global generator drawn from")
    expect_equal(state, group.state_dict(), f"{name}, state before and after the call")
    return numbers


def _check_independence(name: str, hook: _Hook, numbers: Tensor, observations: Tensor, actions: Tensor) -> None:
    """Raises `CheckFailed` where a number depends on other transitions of the batch or on another run."""
    for piece in (slice(0, 1), slice(1, BATCH)):
        part = hook(observations[:, piece], actions[:, piece])
        _close(f"{name}: transitions in two batches and in one", numbers[:, piece], part)
    with_nan = observations.clone()
    with_nan[0] = torch.nan
    what = f"{name}: run 1 while the observations of run 0 are finite and while they are NaN"
    _close(what, numbers[1], hook(with_nan, actions)[1])


def _close(what: str, expected: Tensor, found: Tensor) -> None:
    if not torch.allclose(found, expected, rtol=_CLOSE, atol=_CLOSE):
        raise CheckFailed(f"{what}: expected the same numbers, found them {(found - expected).abs().max():.3g} apart")
