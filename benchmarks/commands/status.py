"""`seqeval status`: prints the status of the runs of a results directory, once or repeatedly."""

from __future__ import annotations

import math
import shutil
import sys
import time

from seqeval_rl.benchmarks.arguments.results import Status as Command
from seqeval_rl.errors import UsageError
from seqeval_rl.results.status import Status, read_status
from seqeval_rl.results.status_table import BLOCKS, table
from seqeval_rl.utils.console import can_show, is_terminal, say

EVERY = 5.0  # seconds between two readings
_NAMED = 10  # failures, damaged runs and damaged lines that are named without --all, of each
_WIDE = 140  # characters of a line that is not written to a terminal


def status(command: Command) -> None:
    """Print the status. Raises `SeqevalError` where there are no runs or the options do not fit."""
    seconds = _interval(command.watch)
    terminal = is_terminal(sys.stdout)
    if seconds is None:
        width = shutil.get_terminal_size().columns if terminal else _WIDE
        say("\n".join(text(read_status(command.results), command.all, width)))
        return
    try:
        if terminal:
            _redraw(command, seconds)
        else:
            _repeat(command, seconds)
    except KeyboardInterrupt:
        pass  # the usual way to end a watch


def text(found: Status, each: bool, width: int, height: int | None = None) -> list[str]:
    """The table, one line for all runs, and what went wrong; the table is shortened to keep within `height` lines."""
    rows = found.each() if each else found.groups()
    below = [found.summary(), *found.reasons(None if each else _NAMED)]
    if height is not None:
        below = below[: max(1, height // 2)]
        # The terminal wraps long lines.
        room = height - 2 - sum(max(1, -(-len(line) // max(1, width))) for line in below)
        left_out = len(rows) - max(1, room)
        if left_out > 0:
            # Finished ones are left out first.
            keep = sorted(range(len(rows)), key=lambda place: rows[place].state == "finished")[: max(1, room)]
            rows = [rows[place] for place in sorted(keep)]
            below.insert(0, f"and {left_out} more lines, see --all without --watch")
    return [*(table(rows, width, can_show(BLOCKS, sys.stdout)) if rows else []), *below]


def _interval(watch: tuple[float, ...] | None) -> float | None:
    """Seconds between two readings; None to read once."""
    if watch is None:
        return None
    seconds = watch[0] if watch else EVERY
    if len(watch) > 1 or not (math.isfinite(seconds) and seconds >= 0.1):
        raise UsageError(
            f"status --watch: expected one number of seconds from 0.1, found {' '.join(map(str, watch))}. Correct it."
        )
    return seconds


def _redraw(command: Command, seconds: float) -> None:
    """Redraw the table on the terminal until nothing is running; the last one stays, in full."""
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
    say("\n".join(text(found, command.all, console.width)))


def _repeat(command: Command, seconds: float) -> None:
    """Print one table after the other to a file or a pipe, until nothing is running."""
    while True:
        found = read_status(command.results)
        print(time.strftime("%Y-%m-%d %H:%M:%S"), *text(found, command.all, _WIDE), sep="\n", flush=True)
        if found.over:
            return
        time.sleep(seconds)
