"""Who may write to a run's directory: one process at a time, on whichever machine.

Two files say so. `.lock` is locked by the system, which knows at once when the process has ended, but on some network disks only
among the processes of one machine, and on some not at all. `.owner` names machine and process, and is touched every few seconds
(a heartbeat). Another machine takes it over when it has seen no heartbeat for a while, by its own clock: clocks may differ.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import SoftFileLease, Timeout

from seqeval_rl.errors import BusyError
from seqeval_rl.results.read import LOCK
from seqeval_rl.utils.files import is_alive, is_locked, try_lock

if TYPE_CHECKING:
    from filelock import FileLock

OWNER = ".owner"
SILENCE = 30.0  # seconds without a heartbeat after which an owner on another machine counts as dead
_HEARTBEAT = 5.0  # seconds from one to the next
_PATIENCE = 3.0  # seconds; workers of a command that was killed end within a second or two
_LOOK = 0.5  # seconds between two looks
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_log = logging.getLogger("seqeval_rl")
# Processes of other machines, by machine, number and start, whose heartbeat was seen to have stopped: not waited for again.
_silent: set[tuple[str, int, int | None]] = set()


class Ownership:
    """A process's right to write to a run's directory, from `take` to `give_up`."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._lock: FileLock | None = None
        self._lease = SoftFileLease(
            directory / OWNER, lease_duration=SILENCE, heartbeat_interval=_HEARTBEAT, thread_local=False
        )

    def take(self) -> None:
        """Become the owner; waits where an owner on another machine may have died.

        Raises:
            BusyError: another process is the owner; it names both.
            OSError: the directory cannot be written.
        """
        locked = False
        try:
            self._lock = try_lock(self._directory / LOCK, _PATIENCE)
            locked = self._lock is None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        # One that holds the lock on this machine lives, whatever its heartbeat: it may be suspended.
        if (locked and self._owner_is_here()) or not self._take_lease():
            owner = self._owner() or "another process"
            self.give_up()
            raise BusyError(
                f"{self._directory}: {owner} is writing to it, so that {_here()} cannot. Wait for it, or choose another --out."
            )

    def check(self) -> None:
        """Raise `BusyError` where another process has taken over, because this one had been suspended, say."""
        for _ in range(4):
            owner = self._lease.owner
            if owner is not None and owner.token == self._lease.token:
                return
            time.sleep(_LOOK / 2)  # a process that tries to take over may move the file for a moment
        raise BusyError(
            f"{self._directory}: {self._owner() or 'another process'} has taken it over from {_here()}, whose heartbeat had "
            "stopped. This process writes nothing more; the other one continues the run."
        )

    def give_up(self) -> None:
        """Let others become the owner."""
        if self._lease.is_locked:
            self._lease.release()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take_lease(self) -> bool:
        """Whether this process holds the lease, after waiting until its holder's heartbeat is seen, or has stopped."""
        with suppress(Timeout):
            self._lease.acquire(
                timeout=2 * _LOOK, poll_interval=_LOOK / 5
            )  # at once where the owner died on this machine
            return True
        owner = self._lease.owner
        if owner is not None and (owner.hostname, owner.pid, owner.start) in _silent:
            self._lease.force_break()
        elif owner is not None:
            _log.warning(
                "%s: %s may be writing to it; waiting up to %.0f s to see whether it does",
                self._directory, self._owner(), SILENCE,
            )  # fmt: skip
        seen, last = self._heartbeat(), time.monotonic() + SILENCE + 2 * _LOOK
        while time.monotonic() < last and self._heartbeat() in (seen, None):
            with suppress(Timeout):
                self._lease.acquire(timeout=_LOOK, poll_interval=_LOOK / 2)
                if owner is not None:
                    _silent.add((owner.hostname, owner.pid, owner.start))
                return True
        return False

    def _heartbeat(self) -> tuple[int, int] | None:
        """Changes with each heartbeat; None where nobody is the owner."""
        try:
            state = (self._directory / OWNER).stat()
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns

    def _owner(self) -> str | None:
        owner = self._lease.owner
        return None if owner is None else f"process {owner.pid} on {_machine(owner.hostname)}"

    def _owner_is_here(self) -> bool:
        """Whether the owner is on this machine, or not known."""
        owner = self._lease.owner
        return owner is None or _machine(owner.hostname) == socket.gethostname()


def is_owned(directory: Path) -> bool | None:
    """Whether a process writes to a run's directory, also on another machine; None where that cannot be told."""
    locked = is_locked(directory / LOCK)
    if locked:
        return True
    owner = SoftFileLease(directory / OWNER, lease_duration=SILENCE).owner
    if owner is None:
        return False
    if _machine(owner.hostname) == socket.gethostname():
        lockless = locked is None or not (directory / LOCK).exists()
        return lockless and is_alive(owner.pid)
    with suppress(OSError):
        # Clocks may differ: what is shown is then wrong, and nothing else.
        return abs(time.time() - (directory / OWNER).stat().st_mtime) < 2 * SILENCE
    return None


def _machine(recorded: str) -> str:
    """The name of a machine, as filelock records it: where processes are numbered apart (containers), with that numbering."""
    return recorded.partition("?pidns-")[0]


def _here() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
