"""Which reference results belong with a user's runs: only those that differ from them in nothing but their seeds.

Data (SHA-256), task, protocol, precision and use of future data must be equal; where the user ran the algorithm too, so must its
settings. Whatever is left out is said in one line, with the field that differs and both values.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.grouping import OF_TASK, Group, Panel, collect, panel_settings, settings_of
from seqeval_rl.plots.analysis.naming import display_name
from seqeval_rl.results.read import RunResult, hashable
from seqeval_rl.results.reference import read_reference
from seqeval_rl.utils.text import show, some

_log = logging.getLogger(__name__)
_TIMES = ("seconds", "evaluation_seconds")
Difference = tuple[str, Any, Any]  # a setting's name, and its value in the user's runs and in the reference


def reference_groups(panels: Sequence[Panel]) -> list[list[Group]]:
    """Of each panel the reference results that fit it, in the legend's order, as groups that look like the user's they belong to.

    What does not fit is logged, a line for each reason.
    """
    suites: dict[str, list[RunResult]] = defaultdict(list)  # a suite's variants are no others' variants
    for run in read_reference():
        suites[run.manifest["suite"]].append(run)
    references = [panel for runs in suites.values() for panel in collect(runs)]
    return [_fitting(panel, references) for panel in panels]


def check_comparable(metric: str | None, x: str) -> None:
    """Raise `UsageError` where a figure is of wall time, which is compared on equal hardware only."""
    if x == "wall_time" or metric in _TIMES:
        raise UsageError(
            f"reference results: expected a figure without wall time, found {x if x == 'wall_time' else metric}. Times are "
            "compared on equal hardware only. Leave out the reference or choose another axis."
        )


def with_reference(panels: Sequence[Panel], wanted: bool) -> tuple[list[tuple[Panel, Group]], str]:
    """Every group with its panel, with the reference results after it if they are `wanted`; and a sentence for the caption."""
    references = reference_groups(panels) if wanted else [[] for _ in panels]
    pairs = []
    for panel, fitting in zip(panels, references, strict=True):
        rest = list(fitting)
        for group in panel.groups:
            own = [each for each in rest if each.label == _label(group)]
            pairs += [(panel, each) for each in (group, *own)]
            rest = [each for each in rest if each not in own]
        pairs += [(panel, each) for each in rest]
    return pairs, reference_sentence([group for fitting in references for group in fitting]) if wanted else ""


def reference_sentence(groups: Iterable[Group], what: str = "Reference:") -> str:
    """Whose results the reference is, with versions and hardware, for a caption."""
    made = dict.fromkeys(_made_with(group.runs[0].manifest) for group in groups)
    return f"{what} runs of this project ({some(list(made))})." if made else "No reference results fit."


def _made_with(manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions", {})
    packages = [f"{name} {versions[name]}" for name in ("seqeval-rl", "torch") if name in versions]
    hardware = manifest.get("processor") if manifest.get("device") == "cpu" else manifest.get("device")
    return ", ".join([*packages, *([str(hardware)] if hardware else [])])


def _label(group: Group) -> str:
    return f"{group.label}, reference"


def _fitting(panel: Panel, references: Sequence[Panel]) -> list[Group]:
    """The panel's reference groups; logs why others are left out."""
    data = panel.groups[0].runs[0].manifest["dataset"]["sha256"]
    candidates = [each for each in references if each.groups[0].runs[0].manifest["dataset"]["sha256"] == data]
    candidates = candidates or [each for each in references if each.dataset == panel.dataset]
    if not candidates:
        there = some(sorted(reference.title for reference in references))
        _log.warning(
            "reference results: none of the data of %s; there are those of %s. None are shown.", panel.title, there
        )
        return []
    fitting, left_out = [], defaultdict(list)
    for reference in (group for candidate in candidates for group in candidate.groups):
        own = [group for group in panel.groups if group.algorithm == reference.algorithm]
        if own:
            differing, nearest = min(
                ((_differing(group, reference), group) for group in own), key=lambda it: len(it[0])
            )
        else:  # its settings are its own, all else must be that of every run that it is shown with
            others = [group for group in panel.groups if not group.control] or panel.groups
            differing = max((_differing(group, reference, False) for group in others), key=len)
            nearest = reference
        if not differing:
            fitting.append(replace(reference, label=_label(nearest), style=nearest.style))
        else:
            left_out[_reason(differing)].append(display_name(reference.algorithm))
    for reason, names in left_out.items():
        _log.warning("reference results: %s on %s not shown: %s.", ", ".join(dict.fromkeys(names)), panel.title, reason)
    return fitting


def _reason(differing: Sequence[Difference]) -> str:
    name, own, theirs = differing[0]
    more = len(differing) - 1
    others = f" ({more} more setting{'s differ' if more > 1 else ' differs'})" if more else ""
    return f"{name} is {show(own)} in these runs and {show(theirs)} in the reference{others}"


def _differing(own: Group, reference: Group, algorithms: bool = True) -> list[Difference]:
    """The settings in which two groups differ, those of the algorithm only if asked for."""
    one, other = (_settings(group.runs[0], algorithms) for group in (own, reference))
    names = [*one, *(name for name in other if name not in one)]
    return [
        (name, one.get(name), other.get(name)) for name in names if hashable(one.get(name)) != hashable(other.get(name))
    ]


def _settings(run: RunResult, algorithms: bool) -> dict[str, Any]:
    """All that results depend on but the seed, by name."""
    data = {name: value for name, value in panel_settings(run).items() if name not in ("name", *OF_TASK)}
    settings = {f"dataset.{name}": value for name, value in data.items()}
    settings |= {f"task.{name}": value for name, value in run.manifest["task"].items() if name != "name"}
    for name, value in settings_of(run).items():
        of_algorithm = name.startswith("algorithm.")
        if name != "suite" and (algorithms or not of_algorithm):
            settings[f"{run.algorithm}.{name.removeprefix('algorithm.')}" if of_algorithm else name] = value
    return settings
