"""The report's list of runs as JSON: status, settings and environment of each run, and in what the runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqeval_rl.plots.analysis.naming import display_name
from seqeval_rl.results.read import differences
from seqeval_rl.utils.text import show

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


# Fields of the manifest that say how a run was made, besides its data, algorithm and seed.
_MADE_WITH = ("suite", "protocol", "precision", "versions", "device", "platform", "processor", "git_revision")
_ABSENT = object()  # a field that the manifest does not have; one that is not set is None


def run_facts(run: RunResult, panel: str, label: str) -> dict[str, Any]:
    """A row of the list of runs: names, status, reason of failure, progress."""
    seconds = [entry["metrics"]["seconds"] for entry in run.evaluations if "seconds" in entry["metrics"]]
    return {
        "run": run.run,
        "panel": panel,
        "dataset": run.dataset,
        "algorithm": label,
        "seed": run.seed,
        "status": run.status,
        "failure": run.failure,
        "evaluations": len(run.evaluations),
        "expected": run.manifest["evaluations_expected"],
        "seconds": float(sum(seconds)) if seconds else None,
        "device": str(run.manifest.get("device", "not recorded")),
        "revision": str(run.manifest.get("git_revision") or "not recorded"),
        "suite": str(run.manifest["suite"]),
        "usesFutureData": bool(run.manifest["uses_future_data"]),
        "damaged": len(run.damaged),
    }


def conditions(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """How the runs were made: for each field of their manifests, the values and the number of runs with each."""
    return _by_name([_made_with(run) for run in results])


def settings_of(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Each algorithm's settings, in the form of `conditions`."""
    return [
        {
            "algorithm": display_name(name),
            "settings": _by_name([run.config for run in results if run.algorithm == name]),
        }
        for name in dict.fromkeys(run.algorithm for run in results)
    ]


def differing(results: Sequence[RunResult]) -> list[str]:
    """For each run, as text: the fields that differ between runs, and the settings that differ between its algorithm's runs."""
    fields = [_made_with(run) for run in results]
    names = {"": differences(fields)}
    for algorithm in {run.algorithm for run in results}:
        names[algorithm] = differences([run.config for run in results if run.algorithm == algorithm])
    return [
        ", ".join(
            f"{name.removeprefix('protocol.')}={show(values.get(name))}"
            for values, which in ((own, names[""]), (run.config, names[run.algorithm]))
            for name in which
        )
        for run, own in zip(results, fields, strict=True)
    ]


def _made_with(run: RunResult) -> dict[str, Any]:
    return _flat({name: run.manifest[name] for name in _MADE_WITH if name in run.manifest})


def _by_name(fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "values": _counted([each.get(name, _ABSENT) for each in fields])}
        for name in dict.fromkeys(name for each in fields for name in each)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _counted(values: Sequence[Any]) -> list[tuple[str, int]]:
    """Each value as text with the number of times it occurs, in order of first appearance."""
    texts = ["not recorded" if value is _ABSENT else show(value) for value in values]
    return [(text, texts.count(text)) for text in dict.fromkeys(texts)]
