"""`run.log`: the plain lines that `seqeval run` writes; and the locks that show which processes work in a results directory."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING

from seqeval_rl.utils.files import is_locked, try_lock

if TYPE_CHECKING:
    from filelock import FileLock

RUN_LOG = "run.log"
_COMMAND = ".command-{}.lock"  # in the results directory; each command holds the first that no other does


class RunLog:
    """Appends plain lines to a file that several commands may write to at once: a line is written in one piece.

    While open it holds a lock, which tells others that a command works in the directory. A log that cannot be written costs
    no run: `complain` is told once, and the runs continue.
    """

    def __init__(self, path: Path, complain: Callable[[str], None]):
        self._path, self._complain = path, complain
        self._file: IO[bytes] | None = None
        self._lock: FileLock | None = None

    def open(self, what: str) -> None:
        """Begin an attempt, with a line that names the machine and the work."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)  # at the end, whatever others have written there
        except OSError as error:
            self._stop(error)
            return
        with suppress(OSError):  # a file system without locks: `seqeval status` goes by the runs alone
            locks = (try_lock(self._path.with_name(_COMMAND.format(number))) for number in count())
            self._lock = next(lock for lock in locks if lock is not None)
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
        why = error.strerror or error
        self._complain(f"{self._path}: cannot be written ({why}). The runs continue without this log.")

    def close(self) -> None:
        """Close the file and release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def at_work(results: Path) -> bool | None:
    """Whether a `seqeval run` works in a results directory; None: unknown."""
    held = [is_locked(path) for path in results.glob(_COMMAND.format("*"))]
    return True if True in held else None if None in held else False
