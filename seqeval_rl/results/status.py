"""The status of all runs of a results directory, from files that other processes may be writing. Needs no torch."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

import numpy as np

from seqeval_rl.errors import DataError, SeqevalError
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.results.ownership import is_owned
from seqeval_rl.results.read import EVENTS, METRICS, RunResult, damage, scan_results
from seqeval_rl.results.run_log import at_work
from seqeval_rl.results.slurm_job import described
from seqeval_rl.results.status_table import GroupStatus
from seqeval_rl.utils.text import clean, duration, file_name

# In the order in which they are listed.
State = Literal[
    "running",  # a process owns it
    "quiet",  # a process owns it, and the next evaluation is long overdue
    "unclear",  # its lock cannot be tested on this file system
    "interrupted",  # no process owns it; the same command resumes from its last evaluation
    "crashed",  # stopped with an exception, or its process died; the same command tries again
    "failed",  # diverged; it is not run again
    "finished",  # all evaluations are there
]
QUIET = 600.0  # seconds without an evaluation, at least, before a run is called quiet
_OVERDUE = 5.0  # and at least so many times the seconds of the previous evaluation
_LATEST = 3  # evaluations over which updates/s are measured
_ACTIVE = ("running", "quiet", "unclear")


@dataclass(frozen=True)
class RunStatus:
    """The status of one run."""

    result: RunResult
    transitions: int | None  # at the latest evaluation; of a static control, where a sequential run would be by then
    total: int  # transitions at the end, offline and online
    state: State
    reason: str = ""  # why it has failed or crashed
    age: float | None = None  # seconds since its latest evaluation, or its start; None if it has ended
    rate: float | None = None  # updates/s over its latest evaluations; None if it is not running
    left: float | None = None  # seconds to its end at that rate


@dataclass(frozen=True)
class Status:
    """The status of all runs of a directory."""

    runs: tuple[RunStatus, ...]
    damaged: tuple[str, ...]  # runs that cannot be read, where and why
    damaged_lines: tuple[str, ...]
    at_work: bool | None  # whether a `seqeval run` works there; None where that cannot be told
    slurm: str = ""  # the SLURM job that works for it, and what its tasks do

    @property
    def over(self) -> bool:
        """Whether nothing is running."""
        return not self.at_work and not self.slurm and not any(run.state in _ACTIVE for run in self.runs)

    def groups(self) -> list[GroupStatus]:
        """One status for each dataset and algorithm, and swept settings."""
        found: dict[tuple[str, str], list[RunStatus]] = {}
        for run in self.runs:
            found.setdefault((run.result.dataset, _variant(run.result)), []).append(run)
        return [_group_status(runs) for runs in found.values()]

    def each(self) -> list[GroupStatus]:
        """One status for each run."""
        return [_group_status([run]) for run in self.runs]

    def summary(self) -> str:
        """All runs in one line."""
        left = [run.left for run in self.runs if run.left is not None]
        text = f"{len(self.runs)} run{'s' * (len(self.runs) != 1)}: {_states(self.runs)}"
        if left:
            text += f"; {duration(max(left))} left for running ones"
        if self.at_work:
            text += "; a command is working here, and waiting runs have no files yet"
        return f"{text}. {self.slurm}".rstrip(". ") + "."

    def reasons(self, most: int | None = None) -> list[str]:
        """Lines that say why runs failed or crashed, and what is damaged; at most `most` of each kind, the rest counted."""
        bad = tuple(f"{run.result.path}: {run.state}: {run.reason}" for run in self.runs if run.reason)
        kinds = "failed or crashed runs", "damaged runs, left out", "damaged lines, left out"
        lines = []
        for kind, texts in zip(kinds, (bad, self.damaged, self.damaged_lines), strict=True):
            shown = texts[:most]
            lines += [f"{kind}: {len(texts)}"] * bool(texts) + [f"  {clean(text)}" for text in shown]
            if len(shown) < len(texts):
                lines.append(f"  and {len(texts) - len(shown)} more, see --all")
        return lines


def read_status(path: str | Path, now: float | None = None) -> Status:
    """The status of every run under `path`; `now` is in seconds since the epoch, by default the clock's.

    Raises:
        DataError: there is no run, not even a damaged one, and no command works there.
    """
    root = Path(path)
    results = scan_results(root)
    damaged, lines = damage(results)
    busy, slurm = at_work(root), described(root)
    if not results and not damaged and not busy and not slurm:
        found = "no such directory" if not root.is_dir() else "no runs, and no command working there"
        raise DataError(f"{root}: expected results of `seqeval run`, found {found}. Check the path.")
    runs = []
    for result in results:
        try:
            runs.append(_status(result, time.time() if now is None else now))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            damaged.append(f"{result.path}: not a readable run ({type(error).__name__}: {error})")
    return Status(tuple(runs), tuple(damaged), tuple(lines), busy, slurm)


def _status(result: RunResult, now: float) -> RunStatus:
    total = int(result.manifest["dataset"]["transitions"]) + result.online
    transitions = _transitions(result)
    if result.status != "unfinished":
        state: State = "crashed" if result.crashed else result.status
        return RunStatus(result, transitions, total, state, result.failure or "")
    age, owner = _age(result.path, now), is_owned(result.path)
    if owner is False:
        return RunStatus(result, transitions, total, "interrupted", "", age)
    patience = max(QUIET, _OVERDUE * _seconds(result.evaluations[-1:]))
    state = "unclear" if owner is None else "quiet" if (age or 0.0) > patience else "running"
    rate, left = _rate(result, age or 0.0)
    return RunStatus(result, transitions, total, state, "", age, rate, left)


def _transitions(result: RunResult) -> int | None:
    """See `RunStatus.transitions`: a static control sees all of them from the start, which says nothing about its progress."""
    if not result.evaluations:
        return None
    latest = result.evaluations[-1]
    schedule = _schedule(result) if result.static else None
    if schedule is None:
        return int(latest["transitions"])
    return int(schedule.seen(np.array(latest["gradient_steps"] // schedule.protocol.updates_per_increment)))


def _age(directory: Path, now: float) -> float | None:
    """Seconds since the latest evaluation, or since the run began."""
    for name in (METRICS, EVENTS):
        try:
            return max(0.0, now - (directory / name).stat().st_mtime)
        except OSError:
            continue
    return None


def _seconds(evaluations: Iterable[dict[str, Any]]) -> float:
    # With the training before each; 0 where it was not recorded.
    seconds = (entry["metrics"].get("seconds", 0.0) for entry in evaluations)
    return sum(value for value in seconds if isinstance(value, (int, float)) and math.isfinite(value))


def _rate(result: RunResult, age: float) -> tuple[float | None, float | None]:
    """Updates/s over the latest evaluations, and the seconds left at that rate, `age` seconds after the latest of them."""
    latest = result.evaluations[-_LATEST - 1 :]
    if not latest:
        return None, None
    seconds, steps = _seconds(latest[1:]), latest[-1]["gradient_steps"] - latest[0]["gradient_steps"]
    if seconds <= 0 or steps <= 0:
        return None, None
    rate, schedule = steps / seconds, _schedule(result)
    if schedule is None:
        return rate, None
    return rate, max(0.0, (schedule.gradient_steps - latest[-1]["gradient_steps"]) / rate - age)


def _schedule(result: RunResult) -> Schedule | None:
    """The run's schedule; None where its manifest has a protocol that this version does not know."""
    try:
        protocol = Protocol.parse(result.protocol, "the manifest")
        return Schedule(protocol, int(result.manifest["dataset"]["transitions"]))
    except SeqevalError:
        return None


def _variant(result: RunResult) -> str:
    """The algorithm with its swept settings: the name of its directory, see `sweep.variants`."""
    directory, name = result.path.parent.name, result.algorithm
    own = f"{file_name(name)},"
    return f"{name},{directory.removeprefix(own)}" if directory.startswith(own) else name


def _group_status(runs: Sequence[RunStatus]) -> GroupStatus:
    """The status of runs of one dataset and algorithm. t is that of the slowest, among those that are running if any are."""
    running = [run for run in runs if run.state in _ACTIVE]
    behind = min(
        running or [run for run in runs if run.state != "finished"] or runs,
        key=lambda run: -1 if run.transitions is None else run.transitions,
    )
    scores = [found for run in runs if run.state != "failed" and (found := _scores(run.result))]
    rates = [run.rate for run in running if run.rate is not None]
    left = [run.left for run in running if run.left is not None]
    ages = [run.age for run in running or runs if run.age is not None]
    return GroupStatus(
        runs[0].result.dataset, _variant(runs[0].result), tuple(sorted({run.result.seed for run in runs})),
        behind.transitions, behind.total, means(scores),
        fmean(found[max(found)] for found in scores) if scores else None,
        sum(rates) if rates else None, max(left, default=None),
        _states(runs) if len({run.state for run in runs}) > 1 else runs[0].state, min(ages, default=None),
        metric=runs[0].result.main_metric,
    )  # fmt: skip


def _scores(result: RunResult) -> dict[int, float]:
    """Evaluation -> score, or return where the task has no reference returns."""
    scores = ((place, entry["metrics"].get(result.main_metric)) for place, entry in enumerate(result.evaluations))
    return {place: float(score) for place, score in scores if isinstance(score, (int, float))}


def _states(runs: Sequence[RunStatus]) -> str:
    """How many runs are in which state: `2 running, 1 finished`."""
    counts = Counter(run.state for run in runs)
    return (
        ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state]) or "none that can be read"
    )


def means(runs: Sequence[dict[int, float]]) -> tuple[float, ...]:
    """By evaluation, the mean of the runs' scores (evaluation -> score) there."""
    evaluations = sorted({evaluation for scores in runs for evaluation in scores})
    return tuple(fmean(scores[each] for scores in runs if each in scores) for each in evaluations)
