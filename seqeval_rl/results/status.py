"""The status of the runs in a results directory, read from their files while other processes write them. Needs no torch."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqeval_rl.errors import DataError, SeqevalError
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.results.lines import read_lines
from seqeval_rl.results.read import EVENTS, METRICS, RunResult, damage, scan_results
from seqeval_rl.results.run_log import at_work, owned
from seqeval_rl.results.status_table import GroupStatus
from seqeval_rl.utils.console import clean, duration

State = Literal["running", "quiet", "unclear", "interrupted", "crashed", "failed", "finished"]
# In the order in which they are listed, with their meaning.
STATES: dict[State, str] = {
    "running": "a process owns it",
    "quiet": "a process owns it, and the next evaluation is long overdue",
    "unclear": "its lock cannot be tested on this file system",
    "interrupted": "no process owns it; the same command resumes from its last evaluation",
    "crashed": "stopped with an exception; the same command tries again",
    "failed": "diverged; it stays so",
    "finished": "all evaluations are there",
}
QUIET = 600.0  # seconds without an evaluation, at least, before a run is called quiet
_OVERDUE = 5.0  # and at least so many times the duration of the evaluation before
_LATEST = 3  # evaluations over which updates/s are measured


@dataclass(frozen=True)
class RunStatus:
    """The status of one run."""

    result: RunResult
    transitions: int | None  # at the latest evaluation; of a static control those of a sequential run at that time
    total: int  # transitions at the end, of the datasets and online
    state: State
    reason: str = ""  # why it has failed or crashed
    age: float | None = None  # seconds since its latest evaluation, or its start; None where it has ended
    rate: float | None = None  # updates/s over its latest evaluations; None where it does not run
    left: float | None = None  # seconds, at that pace


@dataclass(frozen=True)
class Status:
    """The status of the runs in a directory."""

    runs: tuple[RunStatus, ...]
    damaged: tuple[str, ...]  # runs that cannot be read, where and why
    damaged_lines: tuple[str, ...]
    at_work: bool | None  # whether a `seqeval run` is working there; None: unknown

    @property
    def over(self) -> bool:
        """Whether nothing runs."""
        return not self.at_work and not any(run.state in ("running", "quiet", "unclear") for run in self.runs)

    def groups(self) -> list[GroupStatus]:
        """One row per dataset and algorithm, with its settings where they were swept."""
        found: dict[tuple[str, str], list[RunStatus]] = {}
        for run in self.runs:
            found.setdefault((run.result.dataset, _variant(run.result)), []).append(run)
        return [_standing(runs) for runs in found.values()]

    def each(self) -> list[GroupStatus]:
        """One row per run."""
        return [_standing([run]) for run in self.runs]

    def summary(self) -> str:
        """All runs in one line."""
        running = [run for run in self.runs if run.state in ("running", "quiet", "unclear")]
        left = [run.left for run in running if run.left is not None]
        text = f"{len(self.runs)} {'run' if len(self.runs) == 1 else 'runs'}: {_states(self.runs)}"
        if left:
            text += f"; {duration(max(left))} left for those that run"
        if self.at_work:
            text += "; a command is at work here, and runs that wait have left no files yet"
        return text + "."

    def reasons(self, most: int | None = None) -> list[str]:
        """Lines that name failed, crashed and damaged runs and the reasons; at most `most` of each kind, the rest counted."""
        bad = [f"{run.result.path}: {run.state}: {run.reason}" for run in self.runs if run.reason]
        lines = []
        for kind, texts in (
            ("failed or crashed runs", bad),
            ("damaged runs, left out", self.damaged),
            ("damaged lines, left out", self.damaged_lines),
        ):
            if texts:
                shown = texts if most is None else texts[:most]
                lines.append(f"{kind}: {len(texts)}")
                lines += [f"  {clean(text)}" for text in shown]
                if len(shown) < len(texts):
                    lines.append(f"  and {len(texts) - len(shown)} more, see --all")
        return lines


def read_status(path: str | Path, now: float | None = None) -> Status:
    """The status of every run under `path`.

    Args:
        path: results directory.
        now: seconds since the epoch; default the clock's.

    Raises:
        DataError: there is no run there, not even a damaged one, and no command at work.
    """
    root = Path(path)
    results = scan_results(root)
    damaged, lines = damage(results)
    busy = at_work(root)
    if not results and not damaged and not busy:
        found = "no such directory" if not root.is_dir() else "no runs, and no command at work"
        raise DataError(f"{root}: expected results of `seqeval run`, found {found}. Check the path.")
    moment = time.time() if now is None else now
    runs = []
    for result in results:
        try:
            runs.append(_status(result, moment))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            damaged.append(f"{result.path}: not a readable run ({type(error).__name__}: {error})")
    return Status(tuple(runs), tuple(damaged), tuple(lines), busy)


def _status(result: RunResult, now: float) -> RunStatus:
    total = int(result.manifest["dataset"]["transitions"]) + result.online
    transitions = _transitions(result)
    if result.status != "unfinished":
        return RunStatus(result, transitions, total, result.status, result.failure or "")
    age = _age(result.path, now)
    owner = owned(result.path)
    if owner is False:
        crash = _crash(result.path)
        return RunStatus(result, transitions, total, "interrupted" if crash is None else "crashed", crash or "", age)
    state: State = "unclear"
    if owner:
        usual = _seconds(result.evaluations[-1:])
        state = "quiet" if age is not None and age > max(QUIET, _OVERDUE * usual) else "running"
    rate, left = _pace(result, age or 0.0)
    return RunStatus(result, transitions, total, state, "", age, rate, left)


def _transitions(result: RunResult) -> int | None:
    """See `RunStatus`; a static control has all data from the start, so its transitions do not measure its progress."""
    if not result.evaluations:
        return None
    latest = result.evaluations[-1]
    schedule = _schedule(result) if result.static else None
    if schedule is None:
        return int(latest["transitions"])
    return int(schedule.seen(np.array(latest["gradient_steps"] // schedule.protocol.updates_per_increment)))


def _age(directory: Path, now: float) -> float | None:
    """Seconds since the latest evaluation, or since the run's start."""
    for name in (METRICS, EVENTS):
        try:
            return max(0.0, now - (directory / name).stat().st_mtime)
        except OSError:
            continue
    return None


def _crash(directory: Path) -> str | None:
    """The message of the exception that ended the latest attempt, or None."""
    try:
        latest = read_lines(directory / EVENTS)[-1]
        return str(latest.get("message", "")) if latest["event"] == "crashed" else None
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError):
        return None  # damaged lines are reported as damage


def _seconds(evaluations: Iterable[dict[str, Any]]) -> float:
    """Wall time of these evaluations and of the training before each; 0 where it was not recorded."""
    seconds = (entry["metrics"].get("seconds", 0.0) for entry in evaluations)
    return sum(value for value in seconds if isinstance(value, (int, float)) and math.isfinite(value))


def _pace(result: RunResult, age: float) -> tuple[float | None, float | None]:
    """Updates/s over the latest evaluations, and the seconds left at that pace, `age` after the latest of them."""
    latest = result.evaluations[-_LATEST - 1 :]
    if len(latest) < 2:
        return None, None
    seconds, steps = _seconds(latest[1:]), latest[-1]["gradient_steps"] - latest[0]["gradient_steps"]
    if seconds <= 0 or steps <= 0:
        return None, None
    rate, schedule = steps / seconds, _schedule(result)
    if schedule is None:
        return rate, None
    return rate, max(0.0, (schedule.gradient_steps - latest[-1]["gradient_steps"]) / rate - age)


def _schedule(result: RunResult) -> Schedule | None:
    """The run's schedule; None where its manifest does not describe one that this version knows."""
    return _schedule_of(json.dumps(result.protocol, sort_keys=True), int(result.manifest["dataset"]["transitions"]))


@lru_cache(maxsize=256)
def _schedule_of(protocol: str, log: int) -> Schedule | None:
    try:
        return Schedule(Protocol.parse(json.loads(protocol), "the manifest"), log)
    except SeqevalError:
        return None


def _variant(result: RunResult) -> str:
    """The algorithm, with its settings where they were swept: the name of its directory, see `experiments.sweep`."""
    directory, name = result.path.parent.name, result.algorithm
    return directory if directory.startswith(f"{name},") else name


def _standing(runs: Sequence[RunStatus]) -> GroupStatus:
    """Runs of one dataset and algorithm; t is that of the run farthest behind, among running ones if there are any."""
    running = [run for run in runs if run.state in ("running", "quiet", "unclear")]
    behind = min(
        running or [run for run in runs if run.state != "finished"] or runs,
        key=lambda run: -1 if run.transitions is None else run.transitions,
    )
    scores = [found for run in runs if run.state != "failed" and (found := _scores(run.result))]
    rates = [run.rate for run in running if run.rate is not None]
    left = [run.left for run in running if run.left is not None]
    ages = [run.age for run in running or runs if run.age is not None]
    return GroupStatus(
        runs[0].result.dataset,
        _variant(runs[0].result),
        tuple(sorted({run.result.seed for run in runs})),
        behind.transitions,
        behind.total,
        means(scores),
        mean([found[max(found)] for found in scores]) if scores else None,
        sum(rates) if rates else None,
        max(left, default=None),
        _states(runs) if len(runs) > 1 and len({run.state for run in runs}) > 1 else runs[0].state,
        min(ages, default=None),
    )


def _scores(result: RunResult) -> dict[int, float]:
    """Evaluation -> score."""
    scores = ((place, entry["metrics"].get("score")) for place, entry in enumerate(result.evaluations))
    return {place: float(score) for place, score in scores if isinstance(score, (int, float))}


def _states(runs: Sequence[RunStatus]) -> str:
    """Counts by state: `2 running, 1 finished`."""
    counts = Counter(run.state for run in runs)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "none that can be read"


def means(runs: Sequence[dict[int, float]]) -> tuple[float, ...]:
    """By evaluation, the mean of the runs' scores (evaluation -> score) there."""
    evaluations = sorted({evaluation for scores in runs for evaluation in scores})
    return tuple(mean([scores[each] for scores in runs if each in scores]) for each in evaluations)


def mean(numbers: Sequence[float]) -> float:
    """Of one number or more."""
    return sum(numbers) / len(numbers)
