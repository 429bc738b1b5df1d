"""Named places of a run at which a fault can strike: the process group is killed, a signal arrives, or the disk is full."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

STRUCK = "struck at "  # before the time of a signal, in what a command prints
Kind = Literal["SIGKILL", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT", "full"]


class Place(NamedTuple):
    """A call of a function, and where the fault strikes: before it, after it, or in the middle of the line that it appends."""

    function: str  # module:name
    moment: Literal["before", "after", "amid"] = "before"


PLACES = {
    "owner": Place("seqeval_rl.results.ownership:Ownership.take", "after"),
    "manifest": Place("seqeval_rl.results.write:atomic_write"),
    "before fsync": Place("seqeval_rl.utils.files:sync"),
    "before rename": Place("pathlib:Path.replace"),
    "after rename": Place("pathlib:Path.replace", "after"),
    "mid-append": Place("seqeval_rl.results.loggers.jsonl:append_line", "amid"),
    "after append": Place("seqeval_rl.results.loggers.jsonl:append_line", "after"),
    "mid-checkpoint": Place("seqeval_rl.results.checkpoint:_HashingWriter.write"),
    "after checkpoint": Place("seqeval_rl.results.checkpoint:prune"),
    "old checkpoint": Place("pathlib:Path.unlink", "after"),
    "mid-growth": Place("seqeval_rl.training.trainer:Trainer.reveal", "after"),
    "mid-update": Place("seqeval_rl.training.trainer:Trainer.update"),
    "mid-evaluation": Place("seqeval_rl.training.evaluation:attempt"),
    "mid-online-episode": Place("seqeval_rl.training.online:Interaction._advance", "after"),
    "mid-build": Place("seqeval_rl.data.rollouts:play_episodes", "after"),
    "mid-cache": Place("numpy:save"),
    "between directories": Place("pathlib:Path.rename"),
    "export": Place("seqeval_rl.results.export:_write_parquet", "after"),
    "figure": Place("matplotlib.figure:Figure.savefig", "after"),
}
# Of these, those that a run whose dataset is in the cache passes through, and those of the building of a dataset.
BUILDING = ("mid-build", "mid-cache", "between directories")
ONLINE = ("mid-online-episode",)


def arm(place: str, call: int, kind: Kind) -> None:
    """Let the fault strike at that call (from 1) in this process."""
    name, _, attribute = PLACES[place].function.partition(":")
    *outer, last = attribute.split(".")
    owner: Any = import_module(name)
    for each in outer:
        owner = getattr(owner, each)
    original, moment, calls = getattr(owner, last), PLACES[place].moment, 0

    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != call:
            return original(*arguments, **named)
        if moment == "amid":
            append_half(original, *arguments)
        result = original(*arguments, **named) if moment == "after" else None
        strike(kind, arguments)
        return result if moment == "after" else original(*arguments, **named)

    setattr(owner, last, armed)


def append_half(append: Callable[[Path, Any], None], path: Path, entry: Any) -> None:
    """Append the first half of a line."""
    other = path.with_name("whole-line")
    append(other, entry)
    line = other.read_bytes()
    other.unlink()
    with path.open("ab") as file:
        file.write(line[: len(line) // 2])


def strike(kind: Kind, arguments: tuple[Any, ...]) -> None:
    """The fault itself; a full disk is an `OSError` about the first path among a call's arguments."""
    if kind == "SIGKILL":
        os.killpg(0, signal.SIGKILL)
    elif kind == "full":
        paths = [str(value) for value in arguments if isinstance(value, Path)]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *paths[:1])
    else:
        os.write(2, f"{STRUCK}{time.monotonic()}\n".encode())  # one clock for all processes
        os.kill(os.getpid(), getattr(signal, kind))
