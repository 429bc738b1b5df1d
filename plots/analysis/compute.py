"""Compute per transition of a run: wall time and FLOP of training, evaluation and interaction, and on which hardware."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqeval_rl.results.read import RunResult


@dataclass(frozen=True)
class Compute:
    """Of one run, each per transition that arrives after the first evaluation; NaN where it was not recorded."""

    gradient_steps: float
    training_seconds: float  # wall time, without the other two
    evaluation_seconds: float  # on CUDA in parallel with training
    interaction_seconds: float  # of the online phase
    training_flop: float  # of matrix products, convolutions and attention
    evaluation_flop: float  # of the policy, without the simulator
    interaction_flop: float


def compute_per_transition(run: RunResult, stop: float = np.inf) -> Compute | None:
    """A run's compute from its first evaluation to its last at or before `stop` transitions; None where that is one or none, or
    where no gradient steps were recorded.

    The runs of a run group share their wall time. A static control counts as many transitions as the sequential run had seen
    after as many gradient steps.

    Args:
        run: from `seqeval_rl.read_results`.
        stop: in transitions.
    """
    # Published curves have no gradient steps.
    entries = [each for each in run.evaluations if each["transitions"] <= stop and "gradient_steps" in each]
    if len(entries) < 2:
        return None
    first, last = entries[0], entries[-1]
    steps, env_steps = (last.get(name, 0) - first.get(name, 0) for name in ("gradient_steps", "env_steps"))
    protocol, arrived = run.protocol, last["transitions"] - first["transitions"]
    if run.static:
        arrived = steps * protocol["increment"] / protocol["updates_per_increment"]
    if arrived <= 0:
        return None
    # Of a line that is missing, its seconds and its episodes are too.
    whole = last["evaluation"] - first["evaluation"] == len(entries) - 1

    def total(name: str, missing: float = np.nan) -> float:
        return float(sum(each["metrics"].get(name, missing) for each in entries[1:])) if whole else np.nan

    evaluation = total("evaluation_seconds")
    interaction = total("online/seconds") if env_steps else 0.0
    # On CUDA evaluation is asynchronous and takes none of the time.
    waited = 0.0 if str(run.manifest.get("device")).startswith("cuda") else total("evaluation_seconds", missing=0.0)
    played = protocol["episodes"] * total("length") if protocol.get("episodes") else 0.0
    flop = {"update": np.nan, "action": np.nan} | run.manifest.get("flop", {})
    values = (
        steps, total("seconds") - waited - interaction, evaluation, interaction,
        steps * flop["update"], played * flop["action"], env_steps * flop["action"],
    )  # fmt: skip
    return Compute(*(float(value / arrived) for value in values))


def hardware(run: RunResult) -> str:
    """What the run was timed on: the device, its name where the manifest has it, and the host's processor."""
    device, name, processor = (run.manifest.get(key) for key in ("device", "device_name", "processor"))
    named = [f"{device} ({name})" if name else device, processor]
    return " with ".join(str(part) for part in named if part) or "an unknown device"
