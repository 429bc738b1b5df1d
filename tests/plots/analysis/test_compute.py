"""Compute per transition, from what runs record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from seqeval_rl.plots import compute_per_transition, published_results
from seqeval_rl.plots.analysis.compute import hardware

if TYPE_CHECKING:
    from tests.plots.conftest import Results

LOG = (("medium", 0, 10_000, 45.0),)
FLOP = {"update": 3_000.0, "action": 10.0}


def test_training_evaluation_and_interaction_are_apart(results: Results) -> None:
    results.add(
        "iql", blocks=LOG, transitions=[2_000, 10_000, 12_000], scores=[0.0] * 3, gradient_steps=[0, 16_000, 20_000],
        seconds=8.0, protocol={"online": 2_000, "episodes": 5}, flop=FLOP, extra={"length": 100.0, "online/seconds": 1.0},
    )  # fmt: skip
    (run,) = results.read()
    found = compute_per_transition(run)
    assert found is not None
    assert found.gradient_steps == 2
    # 8 seconds for each point, a quarter of it evaluation; in this file each has a second of interaction.
    assert found.training_seconds == pytest.approx((16 - 4 - 2) / 10_000)
    assert found.evaluation_seconds == pytest.approx(4 / 10_000)
    assert found.interaction_seconds == pytest.approx(2 / 10_000)
    assert found.training_flop == 2 * 3_000
    assert found.evaluation_flop == pytest.approx(2 * 5 * 100 * 10 / 10_000)
    assert found.interaction_flop == pytest.approx(2_000 * 10 / 10_000)
    offline = compute_per_transition(run, 10_000)
    assert offline is not None
    assert (offline.gradient_steps, offline.interaction_seconds) == (2, 0)
    assert offline.training_seconds == pytest.approx(6 / 8_000)


def test_on_cuda_evaluation_takes_none_of_the_time(results: Results) -> None:
    results.add(
        "iql", blocks=LOG, points=3, seconds=8.0, device="cuda", device_name="NVIDIA H100", processor="16 x Xeon"
    )
    (run,) = results.read()
    found = compute_per_transition(run)
    assert found is not None
    assert found.training_seconds == pytest.approx(
        8 * (len(run.evaluations) - 1) / (10_000 - run.evaluations[0]["transitions"])
    )
    assert hardware(run) == "cuda (NVIDIA H100) with 16 x Xeon"


def test_what_was_not_recorded_has_no_number(results: Results) -> None:
    results.add("iql", blocks=LOG, transitions=[1_000], scores=[1.0])
    results.add("bc", blocks=LOG, points=3)
    one, other = results.read()
    assert compute_per_transition(one) is None
    found = compute_per_transition(other)
    assert found is not None
    assert math.isnan(found.training_seconds)
    assert math.isnan(found.training_flop)
    assert hardware(other) == "an unknown device"
    assert compute_per_transition(published_results("mixed")[0]) is None


def test_a_static_control_takes_as_many_steps_per_transition_as_the_sequential_run(results: Results) -> None:
    for static in (False, True):
        results.add(
            "iql", blocks=LOG, transitions=[1_000, 4_000, 10_000], scores=[0.0] * 3, gradient_steps=[0, 3_000, 9_000],
            protocol={"static": static},
        )  # fmt: skip
    one, other = (compute_per_transition(run) for run in results.read())
    assert one is not None
    assert other is not None
    assert one.gradient_steps == other.gradient_steps == 1
