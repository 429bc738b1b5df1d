"""What a logger is: it takes the metrics of each evaluation as it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seqeval_rl.protocol import EvaluationPoint


@dataclass(frozen=True)
class LoggedRun:
    """The run that an evaluation belongs to."""

    name: str  # its directory relative to the results, `hopper-medium-v2/td3_bc/seed-0`
    directory: Path
    manifest: Mapping[str, Any]  # as in `manifest.json`


@dataclass(frozen=True)
class LoggedPoint(EvaluationPoint):
    """An evaluation point of a run, with what its episodes came to."""

    block: str = ""  # label of the block that the newest visible transition belongs to
    returns: tuple[float, ...] = ()  # [E] of the evaluation episodes
    lengths: tuple[int, ...] = ()  # [E], environment steps


class Logger(Protocol):
    """Built as `Logger()` in each process that trains; gets the evaluations of many runs, in each run's order.

    A logger other than that of `metrics.jsonl` may fail: its exception is shown once as a warning, it is not called again, and
    training continues. After an interruption a run resumes from its newest checkpoint, so its last evaluation may be logged
    a second time.
    """

    def log(self, run: LoggedRun, point: LoggedPoint, metrics: Mapping[str, float]) -> None:
        """Take one evaluation of one run.

        Args:
            run: which run.
            point: when: `transitions`, `gradient_steps`, `env_steps`, `phase`, and which evaluation (`index`, 0 = untrained).
            metrics: by name: `score`, `return`, `seconds`, the algorithm's `critic/loss`, …
        """

    def close(self) -> None:
        """Flush and release whatever is open; no evaluation follows."""
