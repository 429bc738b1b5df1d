"""The manifest: what `manifest.json` says of a run, written once when the run begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seqeval_rl.protocol import Protocol


@dataclass(frozen=True)
class Manifest:
    """A run's resolved settings and where they were run."""

    suite: str
    dataset: Mapping[str, Any]  # name, transitions, SHA-256, shapes, mean score and blocks of the stream
    task: Mapping[str, Any]  # `Task.as_dict`
    algorithm: str
    config: Mapping[str, Any]  # the algorithm's settings
    protocol: Protocol
    seed: int
    precision: str  # of matrix products
    evaluations_expected: int
    citation: str | None  # BibTeX of the algorithm
    provenance: Mapping[str, Any]  # versions, device, hardware and revision, see `describe_provenance`

    def as_dict(self) -> dict[str, Any]:
        """The fields of `manifest.json`, in their order."""
        return {
            "suite": self.suite,
            "dataset": dict(self.dataset),
            "task": dict(self.task),
            "algorithm": {"name": self.algorithm, "config": dict(self.config)},
            "protocol": self.protocol.model_dump(),
            "seed": self.seed,
            "uses_future_data": self.protocol.uses_future_data,
            "precision": self.precision,
            "evaluations_expected": self.evaluations_expected,
            "citation": self.citation,
            **self.provenance,
        }
