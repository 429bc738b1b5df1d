"""`run.log`: what `seqeval run` tells, in plain lines; and the locks that say who is at work in a results folder."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from seqeval_rl.results.read import EVENTS
from seqeval_rl.utils.files import try_lock

RUN_LOG = "run.log"


class RunLog:
    """Appends plain lines to a file that several commands may write to at once: a line is written whole.

    While open it holds a shared lock on the file, which tells others that a command is at work in the folder. A log that
    cannot be written costs no run: that is said once, and the runs go on.
    """

    def __init__(self, path: Path, complain: Callable[[str], None]):
        """For that file; nothing is touched before `open`."""
        self._path, self._complain = path, complain
        self._file: IO[bytes] | None = None

    def open(self, what: str) -> None:
        """Begin an attempt: a line that says where and what."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)  # at the end, whatever others have written there
        except OSError as error:
            self._stop(error)
            return
        with suppress(OSError):  # a file system without locks: `seqeval status` goes by the runs alone
            fcntl.flock(self._file, fcntl.LOCK_SH)
        self.write(f"--- attempt on {socket.gethostname()}, process {os.getpid()}: {what}")

    def write(self, text: str) -> None:
        """Append a line with the time and the process, which tells lines of several commands apart."""
        if self._file is None:
            return
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {os.getpid()} {text}\n"
        try:
            self._file.write(line.encode(errors="backslashreplace"))
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        self.close()
        self._complain(f"{self._path}: cannot be written ({error.strerror or error}). The runs go on without this log.")

    def close(self) -> None:
        """Give the file up."""
        if self._file is not None:
            self._file.close()
            self._file = None


def at_work(results: Path) -> bool | None:
    """Whether a `seqeval run` is at work in a results folder, going by its log's lock; None where that cannot be told."""
    return try_lock(results / RUN_LOG, fcntl.LOCK_EX)


def owned(run: Path) -> bool | None:
    """Whether a process owns a run's directory, see `recording.RunRecorder`; None where that cannot be told."""
    return try_lock(run / EVENTS, fcntl.LOCK_SH)
