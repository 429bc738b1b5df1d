"""What `seqeval run` shows while it runs: a live table on a terminal, else plain lines; and `run.log`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seqeval_rl.experiments.job import Progress
from seqeval_rl.experiments.tracker import Totals, Tracker
from seqeval_rl.results.run_log import RunLog
from seqeval_rl.results.status_table import BLOCKS, GroupStatus, table
from seqeval_rl.utils.console import can_show, error_stream, is_terminal
from seqeval_rl.utils.text import clean, duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from seqeval_rl.experiments.job import Job, RunEnd


# Plain lines are written at evaluations: for each run group at most one in `SPACING` seconds, and in all at most four a minute,
# so that three hours are 720 lines.
SPACING = 30.0  # seconds
BETWEEN = 15.0  # seconds, times the run groups that train
SILENCE = 300.0  # seconds after which a line is written for a run group without an evaluation
_ENDS_SHOWN = 3


class Display:
    """Shows the progress of jobs on standard error and writes it to a log file."""

    def __init__(
        self,
        jobs: Sequence[Job],
        shown: bool = True,
        log: Path | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Nothing is shown before the context is entered; plain lines are appended to the file `log`, also where nothing is to be
        `shown`. `console`: default standard error, where that is a terminal. `clock` gives seconds."""
        self.tracker = Tracker(jobs, clock)
        self._jobs, self._shown = jobs, shown
        self._log = RunLog(log, self._say) if log is not None else None
        self._written = [clock()] * len(jobs)  # when the latest plain line was written
        self._failures_shown: set[Path] = set()
        self._warned: set[str] = set()
        self._ended: list[GroupStatus] = []  # the latest few
        self._live = None
        if shown and (console is not None or is_terminal(sys.stderr)):
            from rich.console import Console as RichConsole
            from rich.live import Live

            console = console or RichConsole(stderr=True)
            if not console.is_dumb_terminal:  # one that cannot move its cursor gets plain lines
                self._live = Live(
                    console=console,
                    get_renderable=lambda: self,
                    refresh_per_second=1,  # drawing takes time from a job that trains in this process
                    transient=True,
                    redirect_stdout=is_terminal(sys.stdout),
                    vertical_overflow="crop",
                )

    def __enter__(self) -> Display:
        if self._log is not None:
            self._log.open(f"{self.tracker.totals().runs} runs in {len(self._jobs)} run groups")
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._live, totals = None, self.tracker.totals()
        word = "done" if error[0] is None else "stopped"
        self._line(f"{word}: {totals.done} of {totals.runs} runs have ended, {duration(totals.elapsed)} taken")
        if self._log is not None:
            self._log.close()

    def update(self, progress: Progress) -> None:
        """Take in a job's progress."""
        self.tracker.update(progress)
        for run, reason in progress.failures:
            self._failure(self._jobs[progress.job].runs[run].directory, "failed", reason)
        for text in progress.warnings:
            # A logger that fails does so in each job, in words that may name the run: it is shown once.
            about = text.partition(": ")[0] if text.startswith("logger ") else text
            if about not in self._warned:
                self._warned.add(about)
                self._line(text, style="yellow")
                if not self._shown:
                    logging.getLogger("seqeval_rl").warning("%s", text)
        now, last = self.tracker.clock(), self._written[progress.job]
        spacing = max(SPACING, BETWEEN * self.tracker.totals().running)
        if now - last >= (spacing if progress.scores else max(SILENCE, spacing)):
            self._written[progress.job] = now
            self._line(self.tracker.status(progress.job).plain(), on_terminal=False)

    def say(self, text: str) -> None:
        """Show a line about all jobs together."""
        self._line(text, style="yellow")

    def job_ended(self, number: int, ends: Sequence[RunEnd]) -> None:
        """A job is done."""
        self.tracker.end(number, ends)
        for end in ends:
            if end.status != "finished":
                self._failure(end.directory, end.status, end.message)
        counts = {status: sum(end.status == status for end in ends) for status in ("finished", "failed", "crashed")}
        how = ", ".join(f"{count} {status}" if len(ends) > 1 else status for status, count in counts.items() if count)
        status = self.tracker.status(number)
        self._line(f"{how}: {status.plain()}, {duration(self.tracker.elapsed(number))} taken", on_terminal=False)
        self._ended = [*self._ended, replace(status, end=how)][-_ENDS_SHOWN:]

    def _failure(self, directory: Path, status: str, reason: str) -> None:
        if directory not in self._failures_shown:
            self._failures_shown.add(directory)
            self._line(f"{directory}: {status}: {reason}", style="red")

    def _line(self, text: str, on_terminal: bool = True, style: str = "") -> None:
        text = clean(text)
        if self._log is not None:
            self._log.write(text)
        if on_terminal or self._live is None:
            self._say(text, style)

    def _say(self, text: str, style: str = "") -> None:
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text(text, style=style), soft_wrap=True)
        elif self._shown:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=error_stream(), flush=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table: run groups that train, the latest that ended, and the totals; never higher than the terminal."""
        from rich.text import Text

        running, ended, totals = self.tracker.running(), self._ended, self.tracker.totals()
        # The other four: the head, what is left out, the totals, and the cursor's.
        rows = max(0, options.size.height - 4)
        listed, over = running[:rows], max(0, len(running) - rows)
        tail = ended[len(ended) - min(len(ended), rows - len(listed)) :]
        shown = [*tail, *listed]
        # One column is left free: some terminals begin a new line when the last is written to.
        width = max(20, options.max_width - 1)
        lines: list[tuple[str, str]] = []
        if shown:
            # Not every terminal's encoding has the characters of a sparkline.
            sparks = can_show(BLOCKS, console)
            head, *body = table(shown, width, sparks)
            styles = ["dim"] * len(tail) + [""] * len(listed)
            lines = [(head, "bold"), *zip(body, styles, strict=True)]
        if over and rows:
            lines.append((f"and {over} more running", "dim"))
        lines.append((totals_text(totals, width), "bold"))
        for line, style in lines:
            yield Text(line, style=style, no_wrap=True, overflow="crop", end="\n")


def totals_text(totals: Totals, width: int) -> str:
    """All jobs in one line of at most `width` characters; the least important part is left out first."""
    left = "" if totals.left is None else f", {duration(totals.left)} left"
    groups = f"; {totals.running} run group{'s' * (totals.running != 1)} running, {totals.waiting} waiting"
    done = f"{totals.done} of {totals.runs} runs done, {duration(totals.elapsed)} taken"
    short = f"{totals.done}/{totals.runs} runs{left}"
    texts = (
        f"{done}{left}{groups}. Ctrl-C saves and stops.",
        f"{done}{left}; {totals.waiting} waiting. Ctrl-C saves.",
        f"{short}; {totals.waiting} waiting. Ctrl-C saves.",
        f"{short}. Ctrl-C saves.",
    )
    return next((text for text in texts if len(text) <= width), short[:width])
