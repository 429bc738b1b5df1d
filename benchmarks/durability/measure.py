"""Measures what is lost when sweeps are killed, interrupted and out of room.

`python -m seqeval_rl.benchmarks.durability.measure --out FILE.json`, over an offline, a mixed and an online sweep: kills of the
process group at random moments and at every named place; signals while datasets are built, while runs train and while they are
evaluated; races of two starters; full disks (a small tmpfs, for root); limits of file sizes. Nothing should go wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seqeval_rl.benchmarks.durability.chains import Report, race, strike_at, strike_at_random
from seqeval_rl.benchmarks.durability.commands import SUITES, Fault, World, metrics
from seqeval_rl.benchmarks.durability.faults import BUILDING, ONLINE, PLACES, Kind
from seqeval_rl.utils.files import atomic_write
from seqeval_rl.utils.processes import available_cores

_WARNINGS: tuple[Kind, ...] = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT")
_LIMITS = (5_000, 10_000, 50_000, 100_000, 200_000)  # bytes of a file
_DISKS = (1_000_000, 1_200_000, 1_500_000, 2_000_000, 3_000_000)  # bytes


def measure(directory: Path, share: float, seed: int, only: str | None = None) -> dict[str, Any]:
    """All parts or that one, each as often as said below times `share`; see the module."""
    generator = random.Random(seed)
    whole = {name: World(directory / "whole" / name, name) for name in SUITES}
    spans: dict[str, float] = {}
    for name, world in whole.items():
        assert world.run() == 0, world.printed()
        again, started = World(directory / "timed" / name, name, world.cache), time.monotonic()
        assert again.run() == 0, again.printed()
        spans[name] = time.monotonic() - started

    def often(count: int) -> int:
        return max(1, round(count * share))

    def places(report: Report) -> None:
        for name, world in whole.items():
            chosen = [*BUILDING, *(place for place in PLACES if place not in BUILDING)]
            faults = [Fault(place) for place in chosen if place not in ONLINE or name == "online"]
            strike_at(World(directory / "places" / name, name), world, faults, report)
            last = Fault("after checkpoint", sum(len(lines) for lines in metrics(world.out).values()))
            strike_at(World(directory / "finished" / name, name, world.cache), world, [last], report)

    def kills(report: Report) -> None:
        for name, world in whole.items():
            place = World(directory / "kills" / name, name, world.cache)
            strike_at_random(place, world, often(34), "SIGKILL", spans[name], generator, report)

    def signals(place: str, most: int) -> Callable[[Report], None]:
        def strike(report: Report) -> None:
            # Each on a sweep of its own: one that resumes may end before the call at which the next signal comes.
            for number in range(often(20)):
                fault = Fault(place, generator.randint(1, most), _WARNINGS[number % 4])
                cache = None if place in BUILDING else whole["online"].cache
                strike_at(World(directory / place / str(number), "online", cache), whole["online"], [fault], report)

        return strike

    def races(report: Report) -> None:
        for number in range(often(50)):
            race(directory / "races" / str(number), whole["offline"], report)

    def full(report: Report) -> None:
        chosen = ("mid-cache", "manifest", "mid-checkpoint", "before fsync", "before rename")
        strike_at(
            World(directory / "full", "online"), whole["online"], [Fault(each, 1, "full") for each in chosen], report
        )

    def limits(report: Report) -> None:
        for limit in _LIMITS:
            _out_of_room(World(directory / "limits" / str(limit), "online"), whole["online"], limit, report)

    def disks(report: Report) -> None:
        for size in _DISKS if os.geteuid() == 0 else ():
            _small_disk(directory / "disks" / str(size), whole["online"], size, report)

    parts: dict[str, Callable[[Report], None]] = {
        "kills at named places": places, "kills at random": kills, "signals while a dataset is built": signals("mid-build", 1),
        "signals in training": signals("mid-update", 3), "signals in evaluation": signals("mid-evaluation", 100),
        "races": races, "full disk at named places": full, "limits of file sizes": limits, "small disks": disks,
    }  # fmt: skip
    results: dict[str, Any] = {}
    for name, part in parts.items():
        if only not in (None, name):
            continue
        report, started = Report(), time.monotonic()
        part(report)
        results[name] = {**asdict(report), "problems": len(report.problems()), "seconds": time.monotonic() - started}
        print(
            f"{name}: {report.strikes}, {len(report.problems())} problems, {results[name]['seconds']:.0f} s", flush=True
        )
        print(*report.problems(), sep="\n", end="\n" * bool(report.problems()))
    return results


def _out_of_room(
    world: World, whole: World, limit: int | None, report: Report, room: Callable[[], None] = lambda: None
) -> None:
    """Run a sweep where there is too little room, then where there is enough."""
    code = world.run(limit=limit)
    report.strikes += 1
    if code not in (0, 74) or (code == 74 and str(world.directory) not in world.printed().splitlines()[-1]):
        report.wrong_exits.append(f"{world.directory.name} bytes: exit {code}, {world.printed()[-400:]!r}")
    room()
    report.judge_end(f"{world.directory.name} bytes", world, whole)


def _small_disk(directory: Path, whole: World, size: int, report: Report) -> None:
    directory.mkdir(parents=True)

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(directory)], check=True)

    mount(f"size={size}")
    try:
        world = World(directory / "world", "online", whole.cache)
        _out_of_room(world, whole, None, report, lambda: mount("remount", "size=100M"))
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def main() -> None:
    """The command; ends with 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a .json file")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the strikes (1: 100 kills, 50 races, 20 of each signal)"
    )
    parser.add_argument(
        "--only", metavar="PART", help="one part, for example 'races'; the others in --out stay as they are"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="seqeval-durability-") as directory:
        results = measure(Path(directory), chosen.share, chosen.seed, chosen.only)
    if chosen.only and chosen.out.exists():
        results = {**json.loads(chosen.out.read_text(encoding="utf-8"))["parts"], **results}
    seconds = sum(part["seconds"] for part in results.values())
    about = {"cores": available_cores(), "python": platform.python_version(), "seconds": seconds}
    atomic_write(chosen.out, json.dumps({**about, "seed": chosen.seed, "parts": results}, indent=1) + "\n")
    raise SystemExit(any(part["problems"] for part in results.values()))


if __name__ == "__main__":
    main()
