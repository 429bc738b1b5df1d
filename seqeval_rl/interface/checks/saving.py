"""Contract checks of `state_dict` and `load_state_dict`: resuming, and one state per run."""

from __future__ import annotations

import io
from typing import Any

import torch

from seqeval_rl.interface.checks.fixtures import (
    EPISODES,
    OBS_DIM,
    SEEDS,
    CheckFailed,
    batches_of,
    build_group,
    expect_equal,
    period,
)
from seqeval_rl.interface.state import join_states, split_state
from seqeval_rl.seeding import torch_generator


def check_resume(algorithm: Any) -> str:
    """Saved to a file, loaded into a new run group with other seeds and continued, training equals uninterrupted training.

    Finds a target network, an optimizer or a counter that is missing in `state_dict`, and a state that torch cannot load
    with `weights_only=True`.
    """
    group, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(2 * period(group) + 1):  # ends within a period
        group.update(next(batches))
    file = io.BytesIO()
    torch.save(group.state_dict(), file)
    file.seek(0)
    other = build_group(algorithm, tuple(seed + 1000 for seed in SEEDS))
    other.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(2 * period(group) + 1):
        batch = next(batches)
        group.update(batch)
        other.update(batch)
    expect_equal(group.state_dict(), other.state_dict(), "uninterrupted and resumed")
    observations = torch.ones(len(SEEDS), EPISODES, OBS_DIM)
    if not torch.equal(group.act(observations, None), other.act(observations, None)):
        raise CheckFailed(
            "expected the same actions from the uninterrupted and the resumed run group, found different ones"
        )
    return "resumed equals uninterrupted"


def check_state(algorithm: Any) -> str:
    """A run group's state splits into states of single runs, which act as in the group, and joins again unchanged."""
    group, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(period(group) + 1):
        group.update(next(batches))
    state = group.state_dict()
    parts = split_state(state, len(SEEDS))
    expect_equal(join_states(parts), state, "state split and joined")
    observations = torch.randn(len(SEEDS), EPISODES, OBS_DIM, generator=torch_generator(2, "contract act"))
    with torch.no_grad():
        actions = group.act(observations, None)
        for r, part in enumerate(parts):
            single = build_group(algorithm, (SEEDS[r] + 1000,))
            single.load_state_dict(part)
            gap = (single.act(observations[r : r + 1], None)[0] - actions[r]).abs().max()
            if gap > 1e-5:
                raise CheckFailed(f"expected run {r} to act alone as in the run group, found actions {gap:.3g} apart")
    return "splits by run and joins"
