"""What a job writes to disk and reports to the display after each evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqeval_rl.experiments.job import PlannedRun
from seqeval_rl.results.read import PREFIX
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.training.evaluation_queue import Outcome
from seqeval_rl.training.prequential import recorded

# Metrics that a run may not have at a point: no exploration episode ended, nothing was about to arrive.
MAY_BE_ABSENT = (PREFIX, "online/")


class Reporter:
    """Records a stack's outcomes run by run, and takes a run that has diverged out of the books."""

    def __init__(
        self,
        runs: Sequence[Recorded],
        divergence_limit: float,
        announce: Callable[[Mapping[int, float], Mapping[int, str], Outcome], None],
    ):
        """For the runs of a stack, whose recorders are open; `announce` takes new scores and failures by run."""
        self._runs, self._limit, self._announce = runs, divergence_limit, announce
        self.failures: dict[int, str] = {}
        self.states: list[dict[str, Any]] = []  # as last reported

    def __call__(self, outcome: Outcome) -> bool:
        """Record and save every run that is still sound; False when none is."""
        self.states = outcome.states
        scores: dict[int, float] = {}
        failures: dict[int, str] = {}
        for r, (_, recorder) in enumerate(self._runs):
            if r in self.failures:
                continue
            failure = self._diverged(outcome, r)
            if failure:
                self.failures[r] = failures[r] = failure
                recorder.event("failed", message=failure, transitions=outcome.point.transitions)
                continue
            entry = event_entry(outcome, r)
            recorder.record(entry, outcome.states[r])
            if "score" in entry["metrics"]:
                scores[r] = entry["metrics"]["score"]
        self._announce(scores, failures, outcome)
        return len(self.failures) < len(self._runs)

    def _diverged(self, outcome: Outcome, r: int) -> str | None:
        """Why run `r` cannot go on, in one line, or None."""
        where = f"at {outcome.point.transitions} transitions"
        limit = self._limit
        for name, values in outcome.metrics.items():
            if name.startswith(MAY_BE_ABSENT):
                continue
            if not np.isfinite(values[r]):
                return f"{name} is {values[r]} {where}: lower the learning rate, or look at the rewards' scale"
            if name.endswith("/q") and abs(values[r]) > limit:
                return (
                    f"exploding Q value: {name} = {values[r]:.3g} {where}, beyond protocol.divergence_limit = {limit:g}"
                )
        if r in outcome.evaluation.failures:
            return f"{outcome.evaluation.failures[r]} {where}"
        return None


def event_entry(outcome: Outcome, r: int) -> dict[str, Any]:
    """One line of `metrics.jsonl`."""
    evaluation, point = outcome.evaluation, outcome.point
    played: dict[str, float] = {}
    if evaluation.scores.size:
        played = {
            "score": float(evaluation.scores[r].mean()),
            "score_std": float(evaluation.scores[r].std()),
            "return": float(evaluation.returns[r].mean()),
            "length": float(evaluation.lengths[r].mean()),
        }
    found = recorded({name: float(values[r]) for name, values in outcome.metrics.items()})
    metrics = {
        **played,
        "seconds": outcome.seconds,
        "evaluation_seconds": evaluation.seconds,
        **{name: value for name, value in found.items() if np.isfinite(value) or not name.startswith(MAY_BE_ABSENT)},
    }
    return {
        "evaluation": point.index,
        "phase": point.phase,
        "block": outcome.blocks[r],
        "transitions": point.transitions,
        "gradient_steps": point.gradient_steps,
        "env_steps": point.env_steps,
        "metrics": metrics,
        "returns": evaluation.returns[r].tolist(),
        "lengths": evaluation.lengths[r].tolist(),
    }


class Recorded(NamedTuple):
    """A run and what writes its files."""

    run: PlannedRun
    recorder: RunRecorder
