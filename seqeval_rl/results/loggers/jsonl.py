"""The logger of `metrics.jsonl`: one flushed line for each evaluation, the only source of scores."""

from __future__ import annotations

from collections.abc import Mapping

from seqeval_rl.results.lines import append_line
from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun
from seqeval_rl.results.read import METRICS


class JsonlLogger:
    """Appends each evaluation to `metrics.jsonl` in its run's directory."""

    def log(self, run: LoggedRun, point: LoggedPoint, metrics: Mapping[str, float]) -> None:
        """Append one line. Raises `FileError`."""
        entry = {
            "evaluation": point.index,
            "phase": point.phase,
            "block": point.block,
            "transitions": point.transitions,
            "gradient_steps": point.gradient_steps,
            "env_steps": point.env_steps,
            "metrics": dict(metrics),
            "returns": list(point.returns),
            "lengths": list(point.lengths),
        }
        append_line(run.directory / METRICS, entry)

    def close(self) -> None:
        """Nothing stays open between evaluations."""
