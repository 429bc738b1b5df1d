"""Contract checks of the settings: their declaration, and runs of one group that differ in them."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter, ValidationError

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.checks.fixtures import (
    ACT_DIM,
    CPU,
    OBS_DIM,
    SEEDS,
    CheckFailed,
    batches_of,
    expect_equal,
    period,
)
from seqeval_rl.interface.config import grouped_config
from seqeval_rl.interface.per_seed import build
from seqeval_rl.interface.state import join_states


def check_config(algorithm: Any) -> str:
    """`Config` is a frozen dataclass; every field has a default, and every default is within its declared range."""
    config = getattr(algorithm, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise CheckFailed(f"expected a dataclass as {algorithm.__name__}.Config, found {config!r}")
    if not config.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise CheckFailed("expected Config to be frozen: @dataclass(frozen=True)")
    fields = dataclasses.fields(config)
    bare = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    if bare:
        raise CheckFailed(f"expected a default for every field of Config, found none for {', '.join(bare)}")
    try:
        TypeAdapter(config).validate_python(dataclasses.asdict(config()))
    except ValidationError as error:
        raise CheckFailed(f"defaults of Config are out of their own ranges: {error}") from error
    return f"{len(fields)} fields with defaults"


def check_sweep(algorithm: Any) -> str:
    """Float settings may differ between the runs of a group: they arrive as tensors [R], and each run trains as it does alone."""
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
    expect_equal(
        joined, together.state_dict(), f"single runs and a run group that differ in {', '.join(changed)}", 1e-5
    )
    return f"runs may differ in {', '.join(changed)}"
