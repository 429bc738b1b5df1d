"""Contract checks of what an algorithm class has: `Config`, `update`, `act`, and the hooks `values` and `log_prob`."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from seqeval_rl.interface import returns
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.checks.fixtures import (
    BATCH,
    EPISODES,
    SEEDS,
    CheckFailed,
    HostReads,
    act,
    batches_of,
    build_group,
    expect,
    expect_equal,
    newest,
    observations,
    period,
    spec_of,
    trained_group,
)
from seqeval_rl.interface.state import split_state
from seqeval_rl.seeding import torch_generator

_CLOSE = 1e-4  # absolute and relative: a float32 log-density at an action on the bound is large and has few digits


def check_config(algorithm: Any) -> str:
    """`Config` is a frozen dataclass; every field has a default, and every default is within its declared range."""
    config: Any = getattr(algorithm, "Config", None)
    is_dataclass = isinstance(config, type) and dataclasses.is_dataclass(config)
    expect(is_dataclass, f"expected a dataclass as {algorithm.__name__}.Config, found {config!r}")
    expect(config.__dataclass_params__.frozen, "expected Config to be frozen: @dataclass(frozen=True)")
    fields = dataclasses.fields(config)
    bare = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    expect(not bare, f"expected a default for every field of Config, found none for {', '.join(bare)}")
    try:
        TypeAdapter(config).validate_python(dataclasses.asdict(config()))
    except ValidationError as error:
        raise CheckFailed(f"defaults of Config are out of their own ranges: {error}") from error
    return f"{len(fields)} fields with defaults"


def check_metrics(algorithm: Any) -> str:
    """Every `update` returns the same metrics: named like `critic/loss`, finite, detached, one number per run."""
    group, batches = build_group(algorithm), batches_of(algorithm)
    names: frozenset[str] = frozenset()
    for _ in range(2 * period(group) + 1):
        metrics = group.update(next(batches))
        returns.check_metrics(group, metrics, (len(SEEDS),), names or None)
        names = names or frozenset(metrics)
        for name, value in metrics.items():
            expect(value.isfinite().all(), f"{name}: expected finite numbers, found {value.tolist()}")
    return ", ".join(sorted(names))


def check_act(algorithm: Any) -> str:
    """`act` returns finite actions [R, E, act_dim] in [-1, 1], greedy and exploring; greedy actions are deterministic.

    Discrete actions are int64 [R, E] from 0 to `action_classes` - 1.
    """
    group, _ = trained_group(algorithm)
    spec = spec_of(algorithm)
    seen = observations(spec, "contract act", scale=10.0)
    noise = 3 * torch.randn(len(SEEDS), EPISODES, spec.act_noise_dim, generator=torch_generator(1, "contract act"))
    for kind, given in (("greedy", None), ("exploring", noise)):
        finite = act(group, seen, given, spec).isfinite().all()
        expect(finite, f"{kind} actions: expected finite numbers, found NaN or infinity")
    repeated = torch.equal(act(group, seen, None, spec), act(group, seen, None, spec))
    expect(repeated, "greedy actions: expected the same for the same observations, found different ones")
    return "shape, range, and greedy actions repeat"


def check_inputs(algorithm: Any) -> str:
    """`update` and `act` do not change their arguments in place: the harness reuses the memory."""
    group, batches, spec = build_group(algorithm), batches_of(algorithm), spec_of(algorithm)
    for _ in range(period(group)):
        batch = next(batches)
        kept = batch.each(torch.clone)
        group.update(batch)
        act(group, newest(batch), torch.zeros(len(SEEDS), BATCH, spec.act_noise_dim), spec)
        for name, now, before in zip(batch._fields, batch, kept, strict=True):
            same = now is before or torch.allclose(now, before, rtol=0, atol=0, equal_nan=True)
            expect(same, f"expected {name} to be unchanged, found it changed in place")
    return "inputs unchanged"


def check_randomness(algorithm: Any) -> str:
    """Weights depend on the seeds alone and noise comes from the batch: torch's global generator is neither used nor changed.

    A single-run algorithm may draw from the global generator, which the harness replaces by one of the run's own.
    """
    finals, spec = [], spec_of(algorithm)
    ones = torch.ones(len(SEEDS), EPISODES, spec.act_noise_dim)
    for global_seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            group, _ = trained_group(algorithm)
            act(group, torch.zeros(len(SEEDS), EPISODES, *spec.obs_shape), ones, spec)
            same = torch.equal(before, torch.get_rng_state())
            expect(same, "expected all noise from batch.noise and seeds, found torch's global generator drawn from")
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
    group, batches = trained_group(algorithm)
    with HostReads() as reads:
        for _ in range(period(group)):
            group.update(next(batches))
    found = ", ".join(sorted(reads.operations))
    expect(not found, f"expected no host synchronisation in update, found {found}")
    return "no host synchronisation"


def check_hooks(algorithm: Any) -> str:
    """`values` and `log_prob`, where defined, return finite detached numbers [R, B] and change nothing.

    Each number depends on its own transition and run alone: not on the rest of the batch, nor on other runs. A dataset's
    actions may equal the bounds -1 and 1, where a log-density must be finite too. `values` needs a setting `discount`.
    """
    group, _ = trained_group(algorithm, more=1)
    defined = [name for name in ("values", "log_prob") if hasattr(group, name)]
    if "values" in defined and "discount" not in {field.name for field in dataclasses.fields(algorithm.Config)}:
        raise CheckFailed("values: expected a setting discount in Config, without which it is never called, found none")
    seen = observations(spec_of(algorithm), "contract hooks", BATCH, seed=3)
    actions = _logged_actions(spec_of(algorithm))
    for name in defined:
        numbers = _result(name, group, seen, actions)
        for piece in (slice(0, 1), slice(1, BATCH)):
            part = getattr(group, name)(seen[:, piece], actions[:, piece])
            _close(f"{name}: transitions in two batches and in one", numbers[:, piece], part)
        with_nan = seen.clone()
        with_nan[0] = torch.nan
        what = f"{name}: run 1 while the observations of run 0 are finite and while they are NaN"
        _close(what, numbers[1], getattr(group, name)(with_nan, actions)[1])
        for r, part in enumerate(split_state(group.state_dict(), len(SEEDS))):
            single = build_group(algorithm, (SEEDS[r],))
            single.load_state_dict(part)
            alone = getattr(single, name)(seen[r : r + 1], actions[r : r + 1])
            _close(f"{name}: run {r} in the run group and alone", numbers[r], alone[0])
    return ", ".join(defined) or "has neither values nor log_prob: no scores from values, no nll"


def _logged_actions(spec: Spec) -> Tensor:
    """Actions [R, B, A] with both bounds among them, or discrete ones [R, B]."""
    generator = torch_generator(4, "contract hooks")
    if spec.action_classes is not None:
        return torch.randint(spec.action_classes, (len(SEEDS), BATCH), generator=generator)
    actions = torch.randn(len(SEEDS), BATCH, spec.act_dim, generator=generator).clamp(-1, 1)
    actions[:, 0], actions[:, 1] = 1, -1
    return actions


def _result(name: str, group: Any, observations: Tensor, actions: Tensor) -> Tensor:
    """The hook's result, after checking its shape and that the call has no side effects."""
    kept = observations.clone(), actions.clone()
    state, random = copy.deepcopy(group.state_dict()), torch.get_rng_state()
    numbers = getattr(group, name)(observations, actions)
    returns.check_numbers(group, name, numbers, (len(SEEDS), BATCH))
    if not numbers.isfinite().all():
        place = (~numbers.isfinite()).nonzero()[0].tolist()
        raise CheckFailed(
            f"{name}: expected finite numbers, found {numbers[*place].item()} at the action {actions[*place].tolist()}"
        )
    for what, now, before in zip(("observations", "actions"), (observations, actions), kept, strict=True):
        expect(torch.equal(now, before), f"{name}: expected {what} to be unchanged, found them changed in place")
    same = torch.equal(torch.get_rng_state(), random)
    expect(same, f"{name}: expected no noise, found torch's global generator drawn from")
    expect_equal(state, group.state_dict(), f"{name}, state before and after the call")
    return numbers


def _close(what: str, expected: Tensor, found: Tensor) -> None:
    close = torch.allclose(found, expected, rtol=_CLOSE, atol=_CLOSE)
    expect(close, f"{what}: expected the same numbers, found them {(found - expected).abs().max():.3g} apart")
