"""The report's list of runs: what each was made with and how it ended, and what all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqeval_rl.plots.analysis.naming import display_name
from seqeval_rl.results.read import differences
from seqeval_rl.utils.text import show

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


# Of the manifest: what a run was made with, beside its data, its algorithm and its seed.
_MADE_WITH = ("suite", "protocol", "precision", "versions", "device", "platform", "processor", "git_revision")
_ABSENT = object()  # a manifest says "none" of what is not set; this is what it does not say


def facts(run: RunResult, panel: str, label: str) -> dict[str, Any]:
    """A run's row: names, status, reason of failure, how far it got."""
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
        "uses_future_data": bool(run.manifest["uses_future_data"]),
        "damaged": len(run.damaged),
    }


def conditions(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """What the runs were made with, by name: each value that occurs, and in how many runs."""
    return _by_name([_made_with(run) for run in results])


def settings_of(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Each algorithm's settings, as `conditions`."""
    return [
        {
            "algorithm": display_name(name),
            "settings": _by_name([run.config for run in results if run.algorithm == name]),
        }
        for name in dict.fromkeys(run.algorithm for run in results)
    ]


def differing(results: Sequence[RunResult]) -> list[str]:
    """For each run its values of what is not the same in all runs, and of the settings in which its algorithm's runs differ."""
    made = [_made_with(run) for run in results]
    names = {"": differences(made)}
    for algorithm in {run.algorithm for run in results}:
        names[algorithm] = differences([run.config for run in results if run.algorithm == algorithm])
    return [
        ", ".join(
            f"{name.removeprefix('protocol.')}={show(values.get(name))}"
            for values, which in ((of, names[""]), (run.config, names[run.algorithm]))
            for name in which
        )
        for run, of in zip(results, made, strict=True)
    ]


def _made_with(run: RunResult) -> dict[str, Any]:
    return _flat({name: run.manifest[name] for name in _MADE_WITH if name in run.manifest})


def _by_name(made: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "values": _counted([each.get(name, _ABSENT) for each in made])}
        for name in dict.fromkeys(name for each in made for name in each)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _counted(values: Sequence[Any]) -> list[tuple[str, int]]:
    """Each value as text with how often it occurs, in the order in which they appear."""
    texts = ["not recorded" if value is _ABSENT else show(value) for value in values]
    return [(text, texts.count(text)) for text in dict.fromkeys(texts)]
