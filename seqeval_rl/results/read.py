"""Reading the files of runs: manifest, metrics and events. Needs neither torch nor environments."""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.errors import DataError
from seqeval_rl.results.evaluations import Evaluations
from seqeval_rl.results.lines import Lines, read_lines, require
from seqeval_rl.results.manifest import read_manifest

MANIFEST, METRICS, EVENTS = "manifest.json", "metrics.jsonl", "events.jsonl"
SECOND_EVALUATIONS = "second_evaluations.jsonl"  # what `seqeval evaluate` adds to a finished run
CHECKPOINTS = "checkpoint"  # directory of the newest checkpoints
LOCK = ".lock"  # in a run's directory, held by the process that writes to it, see `ownership`
PREQUENTIAL = "prequential/"  # before the names of prequential scores and of the two counts
# Of transitions: all that arrived, which scores are means over, and those with an observed return, which scores of values are.
COUNT, VALUE_COUNT = "count", "value_count"
COUNTS = (COUNT, VALUE_COUNT)
_OF_VALUES = ("value_gap", "value_error")
_NUMBERS = {int, float}
Curve = tuple[NDArray[np.int64], NDArray[np.float64]]
_log = logging.getLogger("seqeval_rl")


@dataclass(frozen=True, repr=False)
class RunResult:
    """One run, read from its files."""

    run: str  # directory relative to the results
    path: Path
    manifest: dict[str, Any]
    status: Literal["finished", "failed", "unfinished"]
    failure: str | None  # why it failed
    evaluations: Evaluations  # lines of `metrics.jsonl`, in order
    damaged: tuple[str, ...] = ()  # unreadable lines of its files, which are left out: where, and why
    crashed: bool = False  # it failed with an exception, so the same command tries again; else it diverged

    def __repr__(self) -> str:
        """One line: which run, how it ended, and its latest score."""
        scores = self.curve()[1]
        latest = f", latest score {scores[-1]:.1f}" if len(scores) else ""
        count = len(self.evaluations)
        return f"<RunResult {self.run}: {self.status}, {count} evaluation{'s' * (count != 1)}{latest}>"

    @property
    def dataset(self) -> str:
        """Name of the stream."""
        return str(self.manifest["dataset"]["name"])

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return str(self.manifest["algorithm"]["name"])

    @property
    def config(self) -> dict[str, Any]:
        """The algorithm's settings."""
        return dict(self.manifest["algorithm"]["config"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.manifest["seed"])

    @property
    def protocol(self) -> dict[str, Any]:
        """The protocol's settings."""
        return {"online": 0, "static": False, **self.manifest.get("protocol", {})}

    @property
    def static(self) -> bool:
        """Whether it is the static control, which sees the full dataset from the start."""
        return bool(self.protocol["static"])

    @property
    def interleaved(self) -> bool:
        """Whether it is the interleaved control, to which the transitions of all blocks arrive mixed."""
        return bool(self.manifest["dataset"].get("interleave", False))

    @property
    def online(self) -> int:
        """Transitions that the policy gathers after the dataset; 0 where there is no online phase."""
        return int(self.protocol["online"])

    @property
    def fork(self) -> str | None:
        """What tells it from the run that it was forked from, see `results.fork`; None: it was not."""
        found: str | None = self.manifest.get("forked_from", {}).get("id")
        return found

    @property
    def main_metric(self) -> str:
        """What runs on its task are compared by: `score`, or `return` where the task has no reference returns."""
        return main_metric(self.manifest)

    def curve(self, metric: str | None = None) -> Curve:
        """Transitions [P] and the metric [P] at the evaluations that have it; None: its `main_metric`."""
        name = metric or self.main_metric
        return self._curve(self.evaluations.metric(name), self.evaluations.recorded(name))

    def prequential(self, name: str) -> Curve:
        """A prequential score (`td_error`, `nll`, …) summed over all transitions that arrived so far.

        Returns:
            Transitions [P] at the evaluations that have the score, and its sum up to there [P]; for `count` and
            `value_count` the number of transitions that scores, or scores of values, are summed over.
        """
        return self._curve(self.cumulated(name)[0], self.evaluations.recorded(PREQUENTIAL + name))

    def prequential_mean(self, name: str) -> Curve:
        """`prequential`, divided by the number of transitions that it sums over."""
        total, over = self.cumulated(name)
        return self._curve(total / over, self.evaluations.recorded(PREQUENTIAL + name))

    def prequential_scores(self) -> list[str]:
        """Names of the prequential scores that the run has, by alphabet, without the counts."""
        names = {name.removeprefix(PREQUENTIAL) for name in self.evaluations.metrics if name.startswith(PREQUENTIAL)}
        return sorted(names - set(COUNTS))

    def cumulated(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A prequential score summed over all transitions up to each evaluation [P], and their number [P]; NaN where it was not
        recorded."""
        score = self.evaluations.metric(PREQUENTIAL + name)
        over_values = name in (*_OF_VALUES, VALUE_COUNT)
        count = self.evaluations.metric(PREQUENTIAL + (VALUE_COUNT if over_values else COUNT))
        recorded = self.evaluations.recorded(PREQUENTIAL + name)
        total, over = np.full((2, len(score)), np.nan)
        total[recorded] = np.cumsum(score[recorded] if name in COUNTS else (score * count)[recorded])
        over[recorded] = np.cumsum(count[recorded])
        return total, over

    def _curve(self, values: NDArray[np.float64], recorded: NDArray[np.bool_]) -> Curve:
        """Transitions and values [P] where they were recorded [P]."""
        transitions = self.evaluations.counter("transitions") if len(self.evaluations) else np.zeros(0, np.int64)
        return transitions[recorded], values[recorded]


def main_metric(manifest: Mapping[str, Any]) -> str:
    """See `RunResult.main_metric`."""
    references = manifest.get("task", {}).get("reference_min", 0.0)
    return "score" if references is not None else "return"


class Results(list[RunResult]):
    """Runs that were read, and the directories that could not be."""

    def __init__(self, runs: Iterable[RunResult] = (), damaged: Iterable[str] = ()):
        super().__init__(runs)
        self.damaged = tuple(damaged)  # for each run that is left out, its directory and why

    def __repr__(self) -> str:
        """One line: how many runs, and how they ended."""
        ends = ", ".join(f"{count} {status}" for status, count in Counter(run.status for run in self).items())
        numbers = {"run": len(self)} | {
            name: len({getattr(run, name) for run in self}) for name in ("algorithm", "dataset")
        }
        counts = [f"{number} {name}{'s' * (number != 1)}" for name, number in numbers.items()]
        return f"<{type(self).__name__}: {counts[0]} of {counts[1]} on {counts[2]}{ends and f', {ends}'}>"


def damage(results: Sequence[RunResult]) -> tuple[list[str], list[str]]:
    """What could not be read: runs that are left out, and lines of the runs that are not; each with where and why."""
    runs = list(results.damaged) if isinstance(results, Results) else []
    return runs, [text for run in results for text in run.damaged]


def read_results(path: str | Path) -> Results:
    """Every run under `path`, sorted by directory; damaged runs and lines are left out with a warning, see `damage`.

    Raises:
        DataError: there is no run.
    """
    root = Path(path)
    results = scan_results(root)
    for text in itertools.chain(*damage(results)):
        _log.warning("%s; left out", text)
    if not results:
        found = "no such directory" if not root.is_dir() else f"no {MANIFEST} that can be read"
        raise DataError(f"{root}: expected results of `seqeval run`, found {found}. Check the path.")
    return results


def scan_results(root: Path) -> Results:
    """As `read_results`, without warnings, and without an error where there is no run."""
    runs, damaged = [], []
    for manifest in _manifests(root):
        try:
            runs.append(_read_run(root, manifest.parent))
        except (OSError, ValueError) as error:
            damaged.append(f"{manifest.parent}: not a readable run ({error})")
    return Results(runs, damaged)


def _manifests(root: Path) -> list[Path]:
    """Of every run under a directory, sorted; a run that is there only behind a link is found, too."""
    found = {manifest.parent.resolve(): manifest for manifest in root.rglob(MANIFEST)}
    visited: set[str] = set()
    for directory, below, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(directory)) in visited:  # links may form a circle
            below.clear()
            continue
        visited.add(real)
        if MANIFEST in files:
            found.setdefault(Path(real), Path(directory, MANIFEST))
    return sorted(found.values())


def _read_run(root: Path, directory: Path) -> RunResult:
    manifest = read_manifest(directory / MANIFEST)
    lines = read_lines(directory / METRICS, check_evaluation)
    events = read_lines(directory / EVENTS, lambda event: require(event, "event", str))
    status, failure, crashed = _how_it_ended(directory, manifest, lines, events.sound())
    name = directory.name if directory == root else directory.relative_to(root).as_posix()
    damaged = (*lines.damaged, *events.damaged)
    return RunResult(name, directory, manifest, status, failure, Evaluations(lines.sound()), damaged, crashed)


def check_evaluation(entry: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a line of `metrics.jsonl` does not have the form that readers expect."""
    for name in ("transitions", "gradient_steps", "env_steps"):
        require(entry, name, int)
    for name in ("phase", "block"):
        require(entry, name, str)
    metrics = require(entry, "metrics", dict)
    if not _NUMBERS.issuperset(map(type, metrics.values())):
        name, value = next((name, value) for name, value in metrics.items() if type(value) not in _NUMBERS)
        raise ValueError(f"expected metrics.{name} to be a number, found {str(value)[:40]!r}")


def _how_it_ended(
    directory: Path, manifest: Mapping[str, Any], lines: Lines, events: Sequence[Mapping[str, Any]]
) -> tuple[Literal["finished", "failed", "unfinished"], str | None, bool]:
    """A run's status, why it failed, and whether by an exception.

    It is finished when its last evaluation is recorded and the checkpoint after it was saved: either that checkpoint or the event
    that followed is there. Results that were kept without a directory of checkpoints are judged by their evaluations.
    """
    expected = manifest["evaluations_expected"]
    finished = len(lines.entries) >= expected and lines.entries[-1:] != [None]
    if finished and (directory / CHECKPOINTS).is_dir():
        saved = directory / CHECKPOINTS / checkpoint_name(expected - 1)
        finished = saved.exists() or any(event["event"] == "finished" for event in events)
    attempts = [place for place, event in enumerate(events) if event["event"] == "attempt"]
    latest = events[attempts[-1] :] if attempts else events
    diverged = [event for event in latest if event["event"] == "failed"][-1:]
    crashed = [event for event in events[-1:] if event["event"] == "crashed" and not finished]  # else tried again since
    failures = [str(event.get("message", "no reason recorded")) for event in diverged or crashed]
    status: Literal["finished", "failed", "unfinished"] = (
        "failed" if failures else "finished" if finished else "unfinished"
    )
    return status, failures[0] if failures else None, bool(crashed and not diverged)


def checkpoint_name(evaluation: int) -> str:
    """The file name of the checkpoint after that evaluation."""
    return f"evaluation-{evaluation:06d}.pt"


def evaluation_share(results: Iterable[RunResult]) -> float | None:
    """Seconds of evaluation over seconds between evaluations, all runs together; None where nothing was timed.

    On a CPU the rest is training. On CUDA evaluation is asynchronous, and costs nothing as long as the share is below 1. The
    runs of a group share their seconds, so each counts as often as the group has runs, in both sums.
    """
    total = part = 0.0
    for result in results:
        seconds, own = (result.evaluations.metric(name) for name in ("seconds", "evaluation_seconds"))
        timed = ~np.isnan(seconds + own)
        total += float(seconds[timed].sum())
        part += float(own[timed].sum())
    return part / total if total else None


def hashable(value: Any) -> Hashable:
    """A JSON value as a dictionary key. Keys are equal where values are, including 1 and 1.0, and NaN and NaN."""
    if isinstance(value, Mapping):
        return frozenset((name, hashable(item)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(hashable(item) for item in value)
    return "NaN" if value != value else value


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that are not the same in all, in alphabetical order; a missing one counts as None."""
    names = sorted({name for each in settings for name in each})
    return [name for name in names if len({hashable(each.get(name)) for each in settings}) > 1]
