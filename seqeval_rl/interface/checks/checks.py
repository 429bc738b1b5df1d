"""What every algorithm must hold to: `seqeval check module:Class` runs this on anybody's algorithm, the tests run it on ours.

Each check builds the algorithm anew with its default settings, as the harness would, and is explained by its docstring; that of
the optional hooks is in `contract_hooks`. That an algorithm cannot peek at data still to come holds by construction: `Spec`
and `Batch` carry neither N nor the phase.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.checks.fixtures import (
    ACT_DIM,
    BATCH,
    CPU,
    EPISODES,
    OBS_DIM,
    SEEDS,
    Failed,
    HostReads,
    batches_of,
    build_group,
    describe,
    expect_equal,
    period,
)
from seqeval_rl.interface.checks.hooks import check_hooks
from seqeval_rl.interface.checks.toy_problem import learn
from seqeval_rl.interface.config import grouped_config
from seqeval_rl.interface.per_seed import build
from seqeval_rl.interface.state import join_states, split_state
from seqeval_rl.seeding import torch_generator


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    passed: bool
    detail: str  # what was found; for a failed check also what was expected


def check_algorithm(algorithm: type) -> list[CheckResult]:
    """Runs every check of `CHECKS` on an algorithm class, plain or stacked, on the CPU.

    An exception inside the algorithm fails the check that met it and is named in its detail.
    """
    results = []
    for name, check in CHECKS.items():
        try:
            results.append(CheckResult(name, True, check(algorithm)))
        except Failed as failure:
            results.append(CheckResult(name, False, str(failure)))
        except Exception as error:
            results.append(CheckResult(name, False, f"{type(error).__name__}: {error}"))
    return results


def check_config(algorithm: Any) -> str:
    """`Config` is a frozen dataclass whose fields all have a default, and the defaults are within their declared ranges."""
    config = getattr(algorithm, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise Failed(f"expected a dataclass as {algorithm.__name__}.Config, found {config!r}")
    if not config.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Failed("expected Config to be frozen: @dataclass(frozen=True)")
    fields = dataclasses.fields(config)
    bare = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    if bare:
        raise Failed(f"expected a default for every field of Config, found none for {', '.join(bare)}")
    try:
        TypeAdapter(config).validate_python(dataclasses.asdict(config()))
    except ValidationError as error:
        raise Failed(f"defaults of Config are out of their own ranges: {error}") from error
    return f"{len(fields)} fields with defaults"


def check_metrics(algorithm: Any) -> str:
    """`update` returns the same metrics every time: names like `critic/loss`, finite, one number per run, without gradient."""
    stack, batches = build_group(algorithm), batches_of(algorithm)
    first: set[str] | None = None
    for _ in range(2 * period(stack) + 1):
        metrics = stack.update(next(batches))
        if first is not None and set(metrics) != first:
            raise Failed(
                f"expected the same metrics at every update, found {sorted(first ^ set(metrics))} in some only"
            )
        first = set(metrics)
        for name, value in metrics.items():
            if "/" not in name:
                raise Failed(f"expected names like critic/loss, found {name!r}")
            if not isinstance(value, Tensor) or value.shape != (len(SEEDS),):
                raise Failed(f"{name}: expected a tensor of shape {(len(SEEDS),)}, found {describe(value)}")
            if value.requires_grad:
                raise Failed(f"{name}: expected a detached tensor, found one with a gradient")
            if not value.isfinite().all():
                raise Failed(f"{name}: expected finite numbers, found {value.tolist()}")
    if not first:
        raise Failed("expected at least one metric, such as actor/loss, found none")
    return ", ".join(sorted(first))


def check_act(algorithm: Any) -> str:
    """`act` gives finite actions [R, E, act_dim] in [-1, 1], greedy and exploring; the greedy ones are always the same."""
    stack, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(stack)):
        stack.update(next(batches))
    observations = 10 * torch.randn(len(SEEDS), EPISODES, OBS_DIM, generator=torch_generator(0, "contract act"))
    noise = 3 * torch.randn(len(SEEDS), EPISODES, ACT_DIM, generator=torch_generator(1, "contract act"))
    with torch.no_grad():
        for kind, actions in {
            "greedy": stack.act(observations, None),
            "exploring": stack.act(observations, noise),
        }.items():
            expected = (len(SEEDS), EPISODES, ACT_DIM)
            if actions.shape != expected:
                raise Failed(f"{kind} actions: expected shape {expected}, found {tuple(actions.shape)}")
            if not actions.isfinite().all():
                raise Failed(f"{kind} actions: expected finite numbers, found NaN or infinite ones")
            if actions.abs().max() > 1:
                raise Failed(f"{kind} actions: expected them in [-1, 1], found {actions.abs().max():.4g}")
        if not torch.equal(stack.act(observations, None), stack.act(observations, None)):
            raise Failed("greedy actions: expected the same ones at the same observations, found two answers")
    return "shape, range, and greedy actions repeat"


def check_inputs(algorithm: Any) -> str:
    """`update` and `act` leave what they are given untouched: the harness uses the same memory again."""
    stack, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(stack)):
        batch = next(batches)
        kept = Batch(*(column.clone() for column in batch))
        stack.update(batch)
        stack.act(batch.observations, torch.zeros(len(SEEDS), BATCH, ACT_DIM))
        for name, now, before in zip(Batch._fields, batch, kept, strict=True):
            if not torch.equal(now, before):
                raise Failed(f"expected {name} to be left as it was, found it changed in place")
    return "inputs unchanged"


def check_randomness(algorithm: Any) -> str:
    """Weights come from the seeds, noise from the batch: torch's global generator has no influence and is left as it was.

    A plain algorithm may draw from the global generator: the harness puts one of the run's own in its place.
    """
    finals = []
    for global_seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            stack, batches = build_group(algorithm), batches_of(algorithm)
            for _ in range(period(stack)):
                stack.update(next(batches))
            stack.act(torch.zeros(len(SEEDS), EPISODES, OBS_DIM), torch.ones(len(SEEDS), EPISODES, ACT_DIM))
            if not torch.equal(before, torch.get_rng_state()):
                raise Failed("expected all noise from batch.noise and seeds, found torch's global generator drawn from")
        finals.append(stack.state_dict())
    expect_equal(finals[0], finals[1], "same seeds and batches, other global generator")
    return "a function of seeds and inputs"


def check_seeds(algorithm: Any) -> str:
    """Runs with different seeds start from different weights."""
    with torch.no_grad():
        actions = build_group(algorithm).act(torch.ones(len(SEEDS), 1, OBS_DIM), None)
    if torch.equal(actions[0], actions[1]):
        raise Failed(f"expected runs of seeds {SEEDS} to act differently at the start, found the same action")
    return "weights follow the seed"


def check_resume(algorithm: Any) -> str:
    """Saved to a file, loaded into a newly built stack of other seeds, and continued: exactly as if never interrupted.

    Finds a target network, an optimiser or a counter that the state lacks, and a state that torch cannot load safely.
    """
    stack, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(2 * period(stack) + 1):  # ends within a period
        stack.update(next(batches))
    file = io.BytesIO()
    torch.save(stack.state_dict(), file)
    file.seek(0)
    other = build_group(algorithm, tuple(seed + 1000 for seed in SEEDS))
    other.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(2 * period(stack) + 1):
        batch = next(batches)
        stack.update(batch)
        other.update(batch)
    expect_equal(stack.state_dict(), other.state_dict(), "uninterrupted and resumed")
    observations = torch.ones(len(SEEDS), EPISODES, OBS_DIM)
    if not torch.equal(stack.act(observations, None), other.act(observations, None)):
        raise Failed("expected the same actions from the uninterrupted and the resumed stack, found others")
    return "resumed equals uninterrupted"


def check_isolation(algorithm: Any) -> str:
    """Runs do not touch each other: NaN in the batches of run 0 leaves run 1 exactly as it would have been."""
    finals = []
    for spoil in (False, True):
        stack, batches = build_group(algorithm), batches_of(algorithm)
        for _ in range(2 * period(stack)):
            batch = next(batches)
            if spoil:
                for column in batch:
                    column[0] = torch.nan
            stack.update(batch)
        finals.append(split_state(stack.state_dict(), len(SEEDS))[1])
    expect_equal(finals[0], finals[1], "run 1 beside a healthy and beside a spoilt run 0")
    return "run 1 unaffected by run 0"


def check_group(algorithm: Any) -> str:
    """A stack of two equals two single runs: the same weights at the start, within 1e-5 after some updates."""
    together, batches = build_group(algorithm), batches_of(algorithm)
    alone = [build_group(algorithm, (seed,)) for seed in SEEDS]
    for stage in ("at the start", "after some updates"):
        joined = join_states([single.state_dict() for single in alone])
        expect_equal(
            joined, together.state_dict(), f"single runs and stack {stage}", 0 if stage == "at the start" else 1e-5
        )
        for _ in range(5 * period(together)):
            batch = next(batches)
            together.update(batch)
            for r, single in enumerate(alone):
                single.update(Batch(*(column[r : r + 1] for column in batch)))
    return "a stack equals its runs"


def check_sweep(algorithm: Any) -> str:
    """Float settings may differ between the runs of a stack: each arrives as a tensor [R], and each run is as it is alone."""
    default = algorithm.Config()
    floats = {f.name: getattr(default, f.name) for f in dataclasses.fields(default)}
    changed = {name: 0.9 * value for name, value in floats.items() if isinstance(value, float) and value}
    if not changed:
        return "no float settings"
    configs = (default, dataclasses.replace(default, **changed))
    spec = Spec((OBS_DIM,), ACT_DIM, SEEDS, CPU)
    together, batches = build(algorithm, grouped_config(configs), spec), batches_of(algorithm)
    alone = [
        build(algorithm, config, dataclasses.replace(spec, seeds=(seed,)))
        for config, seed in zip(configs, SEEDS, strict=True)
    ]
    for _ in range(5 * period(together)):
        batch = next(batches)
        together.update(batch)
        for r, single in enumerate(alone):
            single.update(Batch(*(column[r : r + 1] for column in batch)))
    joined = join_states([single.state_dict() for single in alone])
    expect_equal(joined, together.state_dict(), f"single runs and a stack that differ in {', '.join(changed)}", 1e-5)
    return f"runs may differ in {', '.join(changed)}"


def check_state(algorithm: Any) -> str:
    """The state of a stack splits into states of single runs, each of which acts as in the stack, and joins again unchanged."""
    stack, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(stack) + 1):
        stack.update(next(batches))
    state = stack.state_dict()
    parts = split_state(state, len(SEEDS))
    expect_equal(join_states(parts), state, "state split and joined")
    observations = torch.randn(len(SEEDS), EPISODES, OBS_DIM, generator=torch_generator(2, "contract act"))
    with torch.no_grad():
        actions = stack.act(observations, None)
        for r, part in enumerate(parts):
            single = build_group(algorithm, (SEEDS[r] + 1000,))
            single.load_state_dict(part)
            gap = (single.act(observations[r : r + 1], None)[0] - actions[r]).abs().max()
            if gap > 1e-5:
                raise Failed(f"expected run {r} to act alone as in the stack, found actions {gap:.3g} apart")
    return "splits by run and joins"


def check_capture(algorithm: Any) -> str:
    """A stacked `update` reads no tensor back to the host and has no shape that depends on data, so it can be captured.

    Seen are `.item()`, `float()`, `bool()`, a Python branch on a tensor, and boolean indexing; an optimiser that reads its
    step counter (torch's Adam that is neither fused nor capturable) counts too.
    """
    if not getattr(algorithm, "vectorized", False):
        return "not asked of a plain algorithm: it runs uncaptured"
    stack, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(stack)):
        stack.update(next(batches))
    with HostReads() as reads:
        for _ in range(period(stack)):
            stack.update(next(batches))
    if reads.found:
        raise Failed(f"expected no host synchronisation in update, found {', '.join(sorted(reads.found))}")
    return "no host synchronisation"


def check_learning(algorithm: Any) -> str:
    """On a small known problem (`tiny_problem`) the greedy policy ends no worse than the log; untrained it is far worse."""
    score = learn(algorithm)
    if not score > -0.1:
        raise Failed(f"expected a score of at least 0, the log's own, less 0.1; found {score:.2f} (the best is 1)")
    return f"score {score:.2f}, where the log has 0 and the best policy 1"


CHECKS: dict[str, Callable[[Any], str]] = {
    "config": check_config,
    "metrics": check_metrics,
    "act": check_act,
    "inputs": check_inputs,
    "randomness": check_randomness,
    "seeds": check_seeds,
    "resume": check_resume,
    "isolation": check_isolation,
    "stack": check_group,
    "sweep": check_sweep,
    "state": check_state,
    "capture": check_capture,
    "hooks": check_hooks,
    "learning": check_learning,
}
