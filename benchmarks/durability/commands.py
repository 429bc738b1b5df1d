"""Runs the command again and again in processes of their own, each in a session of its own, and compares what it leaves."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from seqeval_rl.benchmarks.durability.faults import Kind, arm

_PROTOCOL = "initial = 100, batch_size = 16, evaluate_every = 100, episodes = 2, max_episode_steps = 40"
_STREAMS = {
    "offline": '{ name = "one", blocks = ["bundled/hopper/medium:500"] }',
    "mixed": '{ name = "two", blocks = ["bundled/hopper/random:300", "bundled/hopper/medium:300"] }',
    "online": '{ name = "one", blocks = ["bundled/hopper/medium:200"] }',
}
SUITES = tuple(_STREAMS)
# A server imports everything once; each command is a fork of it and begins at once.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["seqeval_rl.benchmarks.durability.preload"])


class Fault(NamedTuple):
    """See `faults.arm`."""

    place: str
    call: int = 1
    kind: Kind = "SIGKILL"


class World:
    """A directory with a suite, a cache, Minari's datasets and results, all of its own."""

    def __init__(self, directory: Path, suite: str, cache: Path | None = None):
        """Of one of `SUITES`; `cache` is a directory of datasets that several share."""
        self.name, self.directory, self.out = suite, directory, directory / "out"
        self.cache = cache or directory / "cache"
        directory.mkdir(parents=True, exist_ok=True)
        online = ", online = 150" if suite == "online" else ""
        self.suite = directory / "suite.toml"
        self.suite.write_text(
            f'algorithms = ["td3_bc"]\nseeds = [0, 1]\nstreams = [{_STREAMS[suite]}]\nprotocol = {{ {_PROTOCOL}{online} }}\n',
            encoding="utf-8",
        )

    def start(self, fault: Fault | None = None, limit: int | None = None, arguments: tuple[str, ...] = ()) -> Any:
        """Begin `seqeval run`, or the command with these arguments; `limit` is the most bytes of a file."""
        command = arguments or ("run", str(self.suite), "--out", str(self.out))
        process = _context.Process(target=_perform, args=(command, self.directory, self.cache, fault, limit))
        process.start()
        return process

    def run(self, fault: Fault | None = None, limit: int | None = None, arguments: tuple[str, ...] = ()) -> int | None:
        """Run it to its end; its exit code, negative for a signal."""
        process = self.start(fault, limit, arguments)
        process.join()
        code: int | None = process.exitcode
        wait_for_session(process.pid)
        return code

    def signal(self, process: Any, kind: Kind) -> None:
        """Send a signal to a command's whole process group, as soon as it has one of its own."""
        while os.getpgid(process.pid) != process.pid:
            time.sleep(0.002)
        os.killpg(process.pid, getattr(signal, kind))

    def printed(self) -> str:
        """What the latest command wrote to standard error and output."""
        return (self.directory / "printed").read_text(encoding="utf-8", errors="replace")

    def files(self) -> set[str]:
        """Every file in results and cache, without the locks, which stay."""
        found = (path for root in {self.directory, self.cache} for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.cache if self.cache in path.parents else self.directory))
                for path in found if not path.name.endswith(".lock")}  # fmt: skip


def metrics(out: Path) -> dict[str, list[str]]:
    """The lines of each `metrics.jsonl`, without the seconds and the checksums, which contain them."""
    return {
        str(path.relative_to(out)): [_without_seconds(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(out.rglob("metrics.jsonl"))
    }


def _without_seconds(line: str) -> str:
    entry = json.loads(line)
    entry.pop("crc32", None)
    entry["metrics"] = {name: value for name, value in entry["metrics"].items() if "seconds" not in name}
    return json.dumps(entry)


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, own = (
                    (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:4]
                )
            except OSError:  # it has just ended
                continue
            if int(own) == leader and state not in "ZX":
                found.append(int(entry.name))
    return found


def wait_for_session(leader: int, seconds: float = 2.0) -> list[int]:
    """The processes that are left of a session after so many seconds at most (orphans); they are killed."""
    last = time.monotonic() + seconds
    while (left := session(leader)) and time.monotonic() < last:
        time.sleep(0.02)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return left


def _perform(command: tuple[str, ...], directory: Path, cache: Path, fault: Fault | None, limit: int | None) -> None:
    """In the process of a command."""
    os.setsid()
    os.environ.update(
        SEQEVAL_CACHE=str(cache), MINARI_DATASETS_PATH=str(cache / "minari"), XDG_CACHE_HOME=str(directory / "xdg")
    )
    target = os.open(directory / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(target, descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored below `nohup`, and in some runners of tests
    import seqeval_rl.experiments.launchers.local as local
    from seqeval_rl.benchmarks.cli import main

    vars(local)["WORTH_A_PROCESS"] = math.inf  # the runs train in this process, which has the fault
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if fault is not None:
        arm(*fault)
    code = main(list(command))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without what a test runner that measures coverage does at the end, which needs room too
