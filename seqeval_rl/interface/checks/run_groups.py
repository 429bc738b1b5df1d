"""Contract checks of a run group: each of its runs is the run that it would be alone, also after saving and with own settings."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import torch

from seqeval_rl.interface.algorithm import Algorithm
from seqeval_rl.interface.checks.fixtures import (
    EPISODES,
    SEEDS,
    CheckFailed,
    act,
    batches_of,
    build_group,
    expect,
    expect_equal,
    observations,
    period,
    spec_of,
    trained_group,
)
from seqeval_rl.interface.config import grouped_config
from seqeval_rl.interface.state import join_states, split_state


def check_seeds(algorithm: Any) -> str:
    """Runs with different seeds start from different weights."""
    spec = spec_of(algorithm)
    seen = observations(spec_of(algorithm, SEEDS[:1]), "contract act", 64, seed=5)
    actions = act(build_group(algorithm), seen.expand(len(SEEDS), *seen.shape[1:]).contiguous(), None, spec)
    differ = not torch.equal(actions[0], actions[1])
    expect(differ, f"expected runs of seeds {SEEDS} to act differently at the start, found the same actions")
    return "weights depend on the seed"


def check_resume(algorithm: Any) -> str:
    """Saved to a file, loaded into a new run group with other seeds and continued, training equals uninterrupted training.

    Finds a target network, an optimizer or a counter that is missing in `state_dict`, and a state that torch cannot load
    with `weights_only=True`.
    """
    group, batches = trained_group(algorithm, periods=2, more=1)  # ends within a period
    file = io.BytesIO()
    torch.save(group.state_dict(), file)
    file.seek(0)
    other = build_group(algorithm, tuple(seed + 1000 for seed in SEEDS))
    other.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(2 * period(group) + 1):
        batch = next(batches)
        group.update(batch)
        other.update(batch)
    try:
        expect_equal(group.state_dict(), other.state_dict(), "uninterrupted and resumed")
    except CheckFailed as error:
        raise CheckFailed(
            f"{error}. Save and load in state_dict and load_state_dict every network, target network, optimizer and counter"
        ) from None
    spec = spec_of(algorithm)
    seen = torch.ones(len(SEEDS), EPISODES, *spec.obs_shape)
    same = torch.equal(act(group, seen, None, spec), act(other, seen, None, spec))
    expect(same, "expected the same actions from the uninterrupted and the resumed run group, found different ones")
    return "resumed equals uninterrupted"


def check_isolation(algorithm: Any) -> str:
    """Runs are independent: NaN in the batches of run 0 does not change run 1 by a bit."""
    finals = []
    for with_nan in (False, True):
        group, batches = build_group(algorithm), batches_of(algorithm)
        for _ in range(2 * period(group)):
            batch = next(batches)
            if with_nan:
                for column in batch:
                    if column is not None and column.is_floating_point():
                        column[0] = torch.nan
            group.update(batch)
        finals.append(split_state(group.state_dict(), len(SEEDS))[1])
    expect_equal(finals[0], finals[1], "run 1 while the batches of run 0 are finite and while they are NaN")
    return "run 1 unaffected by run 0"


def check_group(algorithm: Any) -> str:
    """A group of two runs equals two single runs: the same initial weights, and within 1e-5 after some updates."""
    together, alone = build_group(algorithm), [build_group(algorithm, (seed,)) for seed in SEEDS]
    joined = join_states([single.state_dict() for single in alone])
    expect_equal(joined, together.state_dict(), "single runs and run group at the start")
    _expect_equal_training(algorithm, together, alone, "single runs and run group after some updates")
    return "a run group equals its runs"


def check_sweep(algorithm: Any) -> str:
    """Float settings may differ between the runs of a group: they arrive as tensors [R], and each run trains as it does alone."""
    default = algorithm.Config()
    floats = {f.name: getattr(default, f.name) for f in dataclasses.fields(default)}
    changed = {name: 0.9 * value for name, value in floats.items() if isinstance(value, float) and value}
    if not changed:
        return "no float settings"
    configs = (default, dataclasses.replace(default, **changed))
    together = build_group(algorithm, config=grouped_config(configs))
    alone = [build_group(algorithm, (seed,), config) for config, seed in zip(configs, SEEDS, strict=True)]
    names = ", ".join(changed)
    _expect_equal_training(algorithm, together, alone, f"single runs and a run group that differ in {names}")
    return f"runs may differ in {names}"


def _expect_equal_training(algorithm: Any, together: Algorithm, alone: Sequence[Algorithm], what: str) -> None:
    batches = batches_of(algorithm)
    for _ in range(5 * period(together)):
        batch = next(batches)
        together.update(batch)
        for r, single in enumerate(alone):
            single.update(batch.each(lambda column, r=r: column[r : r + 1]))
    joined = join_states([single.state_dict() for single in alone])
    expect_equal(joined, together.state_dict(), what, 1e-5)


def check_state(algorithm: Any) -> str:
    """A run group's state splits into states of single runs, which act as in the group, and joins again unchanged."""
    group, _ = trained_group(algorithm, more=1)
    state = group.state_dict()
    parts = split_state(state, len(SEEDS))
    expect_equal(join_states(parts), state, "state split and joined")
    spec = spec_of(algorithm)
    seen = observations(spec, "contract act", seed=2)
    actions = act(group, seen, None, spec)
    for r, part in enumerate(parts):
        single = build_group(algorithm, (SEEDS[r] + 1000,))
        single.load_state_dict(part)
        gap = (act(single, seen[r : r + 1], None, spec)[0] - actions[r]).abs().max().double()
        expect(gap <= 1e-5, f"expected run {r} to act alone as in the run group, found actions {gap:.3g} apart")
    return "splits by run and joins"
