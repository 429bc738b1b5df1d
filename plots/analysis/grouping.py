"""Which runs belong together: a panel is one dataset of one task, a group the runs in it that differ only in seed.

Runs of other settings, suites or task versions are never averaged together: they are groups or panels of their own,
named by what differs.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.plots.analysis.naming import by_value, control, display_name, legend_order
from seqeval_rl.results.read import RunResult, differences, hashable
from seqeval_rl.utils.text import show


@dataclass(frozen=True)
class Group:
    """The runs of one algorithm with the same settings on the same data: one curve, one row of a table."""

    algorithm: str
    style: str  # key for `style.line_styles`: the algorithm, with its settings in brackets where it has several; see `control`
    label: str  # for people: display name, what differs from its siblings, whether it uses future data or is a control
    runs: tuple[RunResult, ...]  # by seed

    @property
    def static(self) -> bool:
        """Whether it is the static control, which sees the full dataset from the start."""
        return self.runs[0].static

    @property
    def interleaved(self) -> bool:
        """Whether it is the interleaved control, to which the transitions of all blocks arrive mixed."""
        return self.runs[0].interleaved

    @property
    def control(self) -> bool:
        """Whether it is a control, static or interleaved."""
        return self.static or self.interleaved

    @property
    def metric(self) -> str:
        """What its runs are compared by, see `RunResult.main_metric`."""
        return self.runs[0].main_metric

    @property
    def online(self) -> int:
        """Transitions of the online phase of each run."""
        return self.runs[0].online

    def having(self, status: str) -> list[RunResult]:
        """The runs with that status."""
        return [run for run in self.runs if run.status == status]


@dataclass(frozen=True)
class Block:
    """A part of the stream that comes from one dataset."""

    label: str
    name: str  # of the dataset that it comes from
    start: int  # transitions
    stop: int
    mean_score: float | None  # of the dataset
    change_size: float | None = (
        None  # D of the change from the block before, see `data.change`; None where not recorded
    )


@dataclass(frozen=True)
class Panel:
    """One dataset of one task, and all that ran on it."""

    dataset: str
    title: str  # the dataset, with what differs where several have that name
    task: str
    transitions: int  # of the dataset; 0 for online learning without one
    mean_score: float | None  # of the dataset; None where it has no complete episode
    blocks: tuple[Block, ...]  # none of an interleaved control alone
    groups: tuple[Group, ...]

    @property
    def metric(self) -> str:
        """What the runs are compared by, and `mean_score` is: `score`, or `return` where the task has no reference returns."""
        return self.groups[0].metric

    @property
    def online(self) -> int:
        """Transitions of the longest online phase."""
        return max(group.online for group in self.groups)

    @property
    def extent(self) -> int:
        """Transitions of the dataset and the online phase together."""
        return self.transitions + self.online

    @property
    def spans(self) -> list[tuple[str, int, int]]:
        """Name, begin and end of each block and of the online phase, if there is one."""
        blocks = [(block.label, block.start, block.stop) for block in self.blocks]
        if len(blocks) == 1 or (not blocks and self.transitions):
            blocks = [("offline", 0, self.transitions)]
        return blocks + ([("online", self.transitions, self.extent)] if self.online else [])


def collect(results: Sequence[RunResult]) -> list[Panel]:
    """Panels by dataset and task, each with its groups in the legend's order.

    Raises:
        UsageError: no run, or one seed twice with the same settings.
        DataError: a manifest lacks what figures need.
    """
    for run in results:
        _check(run)
    if not results:
        raise UsageError("results: expected at least one run, found none. Give the directory that `seqeval run` wrote.")
    by_panel: dict[Hashable, list[RunResult]] = defaultdict(list)
    streams: dict[Hashable, Hashable] = {}  # panel by the data, for interleaved controls, whatever their names are
    for run in sorted(results, key=lambda run: run.interleaved):
        settings = panel_settings(run)
        data = hashable(settings | {"name": None})
        panel = hashable(settings)
        if run.interleaved:
            panel = streams.get(data, panel)
        else:
            streams.setdefault(data, panel)
        by_panel[panel].append(run)
    titles = _names({key: (runs[0].dataset, panel_settings(runs[0])) for key, runs in by_panel.items()})

    by_group: dict[tuple[Hashable, str, Hashable], list[RunResult]] = defaultdict(list)
    for panel, runs in by_panel.items():
        for run in runs:
            by_group[panel, run.algorithm, hashable(settings_of(run))].append(run)
    varying = _varying(by_group)

    panels = []
    for key, runs in by_panel.items():
        groups = [
            _group(algorithm, members, varying[algorithm])
            for (panel, algorithm, _), members in by_group.items()
            if panel == key
        ]
        order = {name: place for place, name in enumerate(legend_order(group.algorithm for group in groups))}
        groups.sort(key=lambda group: (order[group.algorithm], by_value(group.label)))
        dataset = runs[0].manifest["dataset"]
        panels.append(
            Panel(
                dataset=runs[0].dataset,
                title=titles[key],
                task=runs[0].manifest["task"]["name"],
                transitions=dataset["transitions"],
                mean_score=_mean_score(dataset),
                blocks=() if runs[0].interleaved else tuple(map(_block, dataset["blocks"])),
                groups=tuple(groups),
            )
        )
    return sorted(panels, key=lambda panel: panel.title)


def _block(block: Mapping[str, Any]) -> Block:
    mean_score, size = _mean_score(block), _finite(block.get("change_size"))
    return Block(block["label"], block["name"], block["start"], block["stop"], mean_score, size)


def _mean_score(data: Mapping[str, Any]) -> float | None:
    """Of a dataset or a block; its mean return where the task has no scores."""
    return _finite(data.get("mean_return", data["mean_score"]))


def _group(algorithm: str, runs: list[RunResult], varying: Sequence[str]) -> Group:
    runs = sorted(runs, key=lambda run: run.seed)
    for run, other in itertools.pairwise(runs):
        if run.seed == other.seed:
            raise UsageError(
                f"results: {other.run} and {run.run} are the same run twice ({run.dataset}, {algorithm}, "
                f"seed {run.seed}, equal settings). Give results that contain each run once."
            )
    settings = settings_of(runs[0])
    shown = [f"{name.rpartition('.')[2]}={show(settings.get(name))}" for name in varying if name != "uses_future_data"]
    shown += ["uses future data"] * settings["uses_future_data"]
    name = display_name(algorithm)
    style = _bracketed(algorithm, shown) if varying and shown else algorithm
    kinds = [kind for kind in ("static", "interleaved") if settings[kind]]
    if kinds:
        style = control(style, kinds[0])
    shown += kinds
    return Group(algorithm, style, _bracketed(name, shown), tuple(runs))


def _bracketed(name: str, shown: Sequence[str]) -> str:
    return name + (f" ({', '.join(shown)})" if shown else "")


# A control differs in these from the sequential run that it belongs to: the static one has no window and no online phase, and
# both may be of another suite.
_OF_CONTROLS = {"suite", "static", "interleaved", "protocol.window", "protocol.online"}


def _varying(groups: Mapping[tuple[Hashable, str, Hashable], list[RunResult]]) -> dict[str, list[str]]:
    """For each algorithm the settings in which its groups on some panel differ, so that labels agree on all panels."""
    siblings: dict[tuple[Hashable, str], list[dict[str, Any]]] = defaultdict(list)
    for (panel, algorithm, _), runs in groups.items():
        siblings[panel, algorithm].append(settings_of(runs[0]))
    varying: dict[str, set[str]] = defaultdict(set)
    for (_, algorithm), settings in siblings.items():
        varying[algorithm] |= set(differences(settings)) - _OF_CONTROLS
        for kind in itertools.product((False, True), repeat=2):
            alike = [each for each in settings if (each["static"], each["interleaved"]) == kind]
            varying[algorithm] |= set(differences(alike))
    return {algorithm: sorted(names) for algorithm, names in varying.items()}


def _names(named: Mapping[Hashable, tuple[str, dict[str, Any]]]) -> dict[Hashable, str]:
    """The datasets' names, with what differs in brackets where several panels have the same name."""
    titles = {}
    for key, (name, settings) in named.items():
        differing = differences([other for other_name, other in named.values() if other_name == name])
        shown = [f"{part}={show(settings.get(part))}" for part in differing if part != "name"]
        titles[key] = _bracketed(name, shown)
    return titles


_NEEDED = {
    "dataset": ("name", "transitions", "sha256", "mean_score", "blocks"),
    "task": ("name", "env_id", "reference_min", "reference_max"),
    "algorithm": ("name", "config"),
    "protocol": ("increment", "evaluate_every"),
    "suite": (),
    "uses_future_data": (),
}


def _check(run: RunResult) -> None:
    for section, names in _NEEDED.items():
        missing = [] if section in run.manifest else [section]
        missing = missing or [f"{section}.{name}" for name in names if name not in run.manifest[section]]
        if missing:
            raise DataError(
                f"{run.path}/manifest.json: expected the key {missing[0]!r}, found none. Move this run out of the results."
            )


# Fields of the task that make a panel its own.
OF_TASK = ("env_id", "reference_min", "reference_max", "action_low", "action_high")


def panel_settings(run: RunResult) -> dict[str, Any]:
    """What runs of one panel have in common: the data, how they were read, and the task."""
    dataset, task = run.manifest["dataset"], run.manifest["task"]
    # The first digits of the hash say as much as all of them, and fit into a title.
    settings = {"name": run.dataset, "transitions": dataset["transitions"], "sha256": str(dataset["sha256"])[:8]}
    settings["mode"] = dataset.get("mode", "native")  # of reading D4RL's files
    settings["clip_actions"] = dataset.get("clip_actions", False)
    return settings | {name: task.get(name) for name in OF_TASK}


def settings_of(run: RunResult) -> dict[str, Any]:
    """What runs of one group have in common besides: `protocol.increment`, `algorithm.alpha`, `precision`, …"""
    manifest = run.manifest
    settings = {
        "uses_future_data": bool(manifest["uses_future_data"]),
        "static": run.static,
        "interleaved": run.interleaved,
        "suite": manifest["suite"],
        "fork": run.fork,
    }
    settings["precision"] = manifest.get("precision", "float32")  # of matrix products
    protocol = {name: value for name, value in run.protocol.items() if name not in settings}
    for section, values in (("protocol", protocol), ("algorithm", manifest["algorithm"]["config"])):
        settings |= {f"{section}.{name}": value for name, value in values.items()}
    return settings


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
