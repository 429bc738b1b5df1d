"""The manifest: what `manifest.json` says of a run, with versions, hardware and git revision; written when the run begins.

Its last field is the SHA-256 of the others. Manifests of earlier versions have neither it nor a `format`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seqeval_rl.protocol import Protocol
from seqeval_rl.results.legacy import modern_manifest
from seqeval_rl.results.lines import require

FORMAT = 2  # of a run's files


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
    source_sha256: str | None  # of the file that defines the algorithm
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
            "algorithm_sha256": self.source_sha256,
            **self.provenance,
        }


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """What is written to `manifest.json`."""
    fields = {"format": FORMAT, **manifest}
    return json.dumps({**fields, "sha256": _digest(fields)}, indent=1) + "\n"


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest as the present version would have written it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged; in words.
    """
    try:
        fields = json.loads(path.read_bytes())
        if not isinstance(fields, dict):
            raise ValueError(f"expected an object of fields, found {type(fields).__name__}")
        digest = fields.pop("sha256", None)
        if ("format" in fields or digest is not None) and digest != _digest(fields):
            raise ValueError("its checksum is not that of its contents")
        manifest = modern_manifest(fields)
        _check_form(manifest)
    except (ValueError, RecursionError) as error:
        problem = f"not JSON, {error}" if isinstance(error, (json.JSONDecodeError, UnicodeError)) else str(error)
        raise ValueError(f"{path.name} is damaged: {problem}") from error
    return manifest


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _check_form(manifest: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a field that readers use is missing or of another type."""
    dataset, algorithm = (require(manifest, name, dict) for name in ("dataset", "algorithm"))
    require(dataset, "name", str, "dataset.")
    require(dataset, "transitions", int, "dataset.")
    for place, block in enumerate(require({"blocks": [], **dataset}, "blocks", list, "dataset.")):
        require({"block": block}, "block", dict, f"dataset.blocks[{place}] as ")
    require(algorithm, "name", str, "algorithm.")
    require(algorithm, "config", dict, "algorithm.")
    for name in ("task", "protocol"):
        require({name: {}, **manifest}, name, dict)
    require({"online": 0, **manifest.get("protocol", {})}, "online", int, "protocol.")
    fork = require({"forked_from": {}, **manifest}, "forked_from", dict)
    if fork:
        require(fork, "id", str, "forked_from.")
        require(fork, "evaluation", int, "forked_from.")
    require(manifest, "seed", int)
    require(manifest, "evaluations_expected", int)


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
