"""Contract checks of a run group: each of its runs is the run that it would be alone."""

from __future__ import annotations

from typing import Any

import torch

from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.interface.checks.fixtures import (
    OBS_DIM,
    SEEDS,
    CheckFailed,
    batches_of,
    build_group,
    expect_equal,
    period,
)
from seqeval_rl.interface.state import join_states, split_state


def check_seeds(algorithm: Any) -> str:
    """Runs with different seeds start from different weights."""
    with torch.no_grad():
        actions = build_group(algorithm).act(torch.ones(len(SEEDS), 1, OBS_DIM), None)
    if torch.equal(actions[0], actions[1]):
        raise CheckFailed(f"expected runs of seeds {SEEDS} to act differently at the start, found the same action")
    return "weights depend on the seed"


def check_isolation(algorithm: Any) -> str:
    """Runs are independent: NaN in the batches of run 0 does not change run 1 by a bit."""
    finals = []
    for with_nan in (False, True):
        group, batches = build_group(algorithm), batches_of(algorithm)
        for _ in range(2 * period(group)):
            batch = next(batches)
            if with_nan:
                for column in batch:
                    column[0] = torch.nan
            group.update(batch)
        finals.append(split_state(group.state_dict(), len(SEEDS))[1])
    expect_equal(finals[0], finals[1], "run 1 while the batches of run 0 are finite and while they are NaN")
    return "run 1 unaffected by run 0"


def check_group(algorithm: Any) -> str:
    """A group of two runs equals two single runs: the same initial weights, and within 1e-5 after some updates."""
    together, batches = build_group(algorithm), batches_of(algorithm)
    alone = [build_group(algorithm, (seed,)) for seed in SEEDS]
    for stage in ("at the start", "after some updates"):
        joined = join_states([single.state_dict() for single in alone])
        expect_equal(
            joined, together.state_dict(), f"single runs and run group {stage}", 0 if stage == "at the start" else 1e-5
        )
        for _ in range(5 * period(together)):
            batch = next(batches)
            together.update(batch)
            for r, single in enumerate(alone):
                single.update(Batch(*(column[r : r + 1] for column in batch)))
    return "a run group equals its runs"
