"""Sweeps that are struck again and again and must end as if nothing had happened, and what went wrong with them."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seqeval_rl.benchmarks.durability.commands import Fault, World, metrics, wait_for_session
from seqeval_rl.benchmarks.durability.faults import STRUCK, Kind

PROMPT = 10.0  # seconds from a signal to the end of the command
_EXPECTED = {"SIGKILL": -signal.SIGKILL, "full": 74}  # exit codes; of other signals 75


@dataclass
class Report:
    """What was done, and what went wrong; all of it counted."""

    strikes: int = 0
    missed: list[str] = field(default_factory=list)  # faults that never struck
    wrong_exits: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    left_files: list[str] = field(default_factory=list)
    differing_runs: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)  # seconds from each signal to the end of the command

    def problems(self) -> list[str]:
        """All that went wrong."""
        lists = self.missed, self.wrong_exits, self.orphans, self.left_files, self.differing_runs
        late = [f"a signal took {delay:.1f} s" for delay in self.delays if delay > PROMPT]
        return [problem for each in lists for problem in each] + late

    def judge_exit(self, what: str, code: int | None, expected: int, world: World) -> None:
        """Count a strike, and its exit code and processes."""
        self.strikes += 1
        if code == 0:
            self.missed.append(what)
        elif code != expected:
            self.wrong_exits.append(f"{what}: exit {code}, {world.printed()[-400:]!r}")

    def judge_end(self, what: str, world: World, whole: World) -> None:
        """Finish the sweep, and compare it with one that nothing struck."""
        code = world.run()
        if code != 0:
            self.wrong_exits.append(f"{what}, at last: exit {code}, {world.printed()[-400:]!r}")
        self.compare(what, world, whole)

    def compare(self, what: str, world: World, whole: World) -> None:
        """Compare a finished sweep with one that nothing struck."""
        expected, found = metrics(whole.out), metrics(world.out)
        self.differing_runs += [f"{what}: {run}" for run in expected if found.get(run) != expected[run]]
        self.left_files += [f"{what}: {name}" for name in sorted(world.files() - whole.files())]


def strike_at(world: World, whole: World, faults: Sequence[Fault], report: Report) -> None:
    """Run the sweep once for each fault, each resuming what the one before has left, then to its end."""
    for fault in faults:
        what, process = f"{fault.kind} at {fault.place} {fault.call}", world.start(fault)
        process.join(120)
        ended = time.monotonic()
        struck = world.printed().rpartition(STRUCK)[2] if STRUCK in world.printed() else ""
        report.delays += [round(ended - float(moment), 3) for moment in struck.split()[:1]]
        report.judge_exit(what, process.exitcode, _EXPECTED.get(fault.kind, 75), world)
        left = wait_for_session(process.pid, 1.0)
        report.orphans += [f"{what}: process {each}" for each in left]
        if fault.kind == "full" and str(world.directory) not in world.printed().splitlines()[-1]:
            report.wrong_exits.append(f"{what}: no path in {world.printed()[-400:]!r}")
        if fault.kind not in _EXPECTED:
            report.left_files += _unfinished(what, world)
    report.judge_end("chain", world, whole)


def strike_at_random(
    world: World, whole: World, strikes: int, kind: Kind, span: float, generator: random.Random, report: Report
) -> None:
    """Send a signal to the whole process group after random times up to `span` seconds, so many times.

    A sweep that ends by itself is compared with the whole one, and another is begun."""
    left = strikes
    number = 0
    while left:
        number += 1
        each = World(world.directory / str(number), world.name, world.cache)
        while left:
            process = each.start()
            process.join(generator.uniform(0.05, span))
            if not process.is_alive():
                break
            started = time.monotonic()
            each.signal(process, kind)
            process.join(2 * PROMPT)
            seconds = time.monotonic() - started
            what, code = f"{kind} in {each.directory.name}", process.exitcode
            if code == 0:  # it had just ended
                break
            left -= 1
            report.judge_exit(what, code, _EXPECTED.get(kind, 75), each)
            report.orphans += [f"{what}: process {found}" for found in wait_for_session(process.pid, 1.0)]
            if kind != "SIGKILL":
                report.delays.append(round(seconds, 3))
                report.left_files += _unfinished(what, each)
        report.judge_end(f"{kind} in {each.directory.name}", each, whole)


def race(directory: Path, whole: World, report: Report) -> None:
    """Start a sweep twice at once: one process writes, the other is refused and names it."""
    world = World(directory, whole.name, whole.cache)
    other = World(directory.with_name(f"{directory.name}-other"), whole.name, whole.cache)
    other.out, other.suite = world.out, world.suite
    both = [world.start(), other.start()]
    for process in both:
        process.join()
    codes = sorted(process.exitcode for process in both)
    report.strikes += 1
    if codes not in ([0, 76], [0, 0]):  # the second may come when the first has ended
        report.wrong_exits.append(f"race in {directory.name}: exits {codes}")
    report.compare(f"race in {directory.name}", world, whole)


def _unfinished(what: str, world: World) -> list[str]:
    """Temporary files that a process left which could have deleted them."""
    return [f"{what}: {name}" for name in sorted(world.files()) if ".partial" in name or "/." in name]
