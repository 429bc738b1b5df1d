"""The manifest: what `manifest.json` says of a run, with versions, hardware and git revision; written when the run begins."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
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


_PACKAGES = ("seqeval-rl", "torch", "numpy", "gymnasium", "mujoco", "envpool", "minari")


def describe_provenance(device: str) -> dict[str, Any]:
    """Versions, device, machine and revision, for the manifest."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "versions": versions,
        "device": device,
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "git_revision": _revision(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def _revision() -> str | None:
    """The source's git revision, with `+` where files were changed; None for an installed package."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
