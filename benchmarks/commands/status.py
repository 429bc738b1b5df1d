"""`seqeval status`: how the runs of a results directory stand, once or again and again."""

from __future__ import annotations

import math
import shutil
import sys
import time

from seqeval_rl.benchmarks.arguments.results import Status as Command
from seqeval_rl.errors import UsageError
from seqeval_rl.results.status import Status, read_status
from seqeval_rl.results.status_table import table

EVERY = 5.0  # seconds between two looks
_NAMED = 10  # failures, damaged runs and damaged lines, each, where not all are asked for
_WIDE = 140  # letters of a line that goes to a file


def status(command: Command) -> None:
    """Print how the runs stand. Raises `SeqevalError` where there is nothing, or the options do not fit."""
    seconds = _interval(command.watch)
    # A terminal or a pipe that lacks a letter gets a question mark.
    getattr(sys.stdout, "reconfigure", lambda **_: None)(errors="replace")
    terminal = sys.stdout.isatty()
    if seconds is None:
        width = shutil.get_terminal_size().columns if terminal else _WIDE
        print("\n".join(text(read_status(command.results), command.all, width)))
        return
    try:
        if terminal:
            _redraw(command, seconds)
        else:
            _repeat(command, seconds)
    except KeyboardInterrupt:
        pass  # how a watch is left: nothing is lost by it


def text(found: Status, each: bool, width: int, height: int | None = None) -> list[str]:
    """The table, one line for all runs, and what went wrong; at most `height` lines, of which the table gives way."""
    standings = found.each() if each else found.groups()
    below = [found.summary(), *found.reasons(None if each else _NAMED)]
    if height is not None:
        below = below[: max(1, height // 2)]
        # A long line is broken by the terminal, and each part takes a line of it.
        room = height - 2 - sum(max(1, -(-len(line) // max(1, width))) for line in below)
        left_out = len(standings) - max(1, room)
        if left_out > 0:
            # Those that have ended give way to those that have not.
            keep = sorted(range(len(standings)), key=lambda place: standings[place].state == "finished")[: max(1, room)]
            standings = [standings[place] for place in sorted(keep)]
            below.insert(0, f"and {left_out} more lines, see --all without --watch")
    return [*(table(standings, width) if standings else []), *below]


def _interval(watch: tuple[float, ...] | None) -> float | None:
    """Seconds between two looks; None to look once."""
    if watch is None:
        return None
    seconds = watch[0] if watch else EVERY
    if len(watch) > 1 or not (math.isfinite(seconds) and seconds >= 0.1):
        raise UsageError(
            f"status --watch: expected one number of seconds from 0.1, found {' '.join(map(str, watch))}. Correct it."
        )
    return seconds


def _redraw(command: Command, seconds: float) -> None:
    """In one place of the terminal, until nothing runs; the last look stays there, whole."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()

    def drawn(found: Status) -> Text:
        lines = text(found, command.all, console.width - 1, console.height - 1)
        return Text("\n".join(lines))

    found = read_status(command.results)
    with Live(drawn(found), console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        while not found.over:
            time.sleep(seconds)
            found = read_status(command.results)
            live.update(drawn(found), refresh=True)
    print("\n".join(text(found, command.all, console.width)))


def _repeat(command: Command, seconds: float) -> None:
    """Into a file or a pipe, one look below the other, until nothing runs."""
    while True:
        found = read_status(command.results)
        print(time.strftime("%Y-%m-%d %H:%M:%S"), *text(found, command.all, _WIDE), sep="\n", flush=True)
        if found.over:
            return
        time.sleep(seconds)
