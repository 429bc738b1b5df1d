"""How long an environment may take for a step and for an episode, and what ends one that takes longer."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from seqeval_rl.errors import UsageError

_AGAIN = 1.0  # seconds between two interruptions of an environment that catches the first


@dataclass(frozen=True)
class Patience:
    """Seconds that an environment may take."""

    step: float = 300.0  # for one environment step, for a reset, to open and to close
    episode: float = 3600.0  # for all environment steps of an episode together
    grace: float = 30.0  # more than for a step, after which a process is ended whose environment cannot be interrupted

    def __post_init__(self) -> None:
        """Raise `UsageError` for a limit that is not positive."""
        for name, option in (("step", STEP), ("episode", EPISODE)):
            if not getattr(self, name) > 0:
                raise UsageError(f"{option}: expected seconds above 0, found {getattr(self, name):g}. Correct it.")


STEP, EPISODE = "--step-timeout", "--episode-timeout"  # options of the command
DEFAULT = Patience()
_current = DEFAULT
_shared: Any = None  # of a worker process: a number that its parent reads, see `share`
_active: Alarm | None = None
_installed = False


def patience() -> Patience:
    """What is in force in this process."""
    return _current


@contextlib.contextmanager
def with_patience(given: Patience) -> Iterator[None]:
    """Environments may take so long inside of this block."""
    global _current
    before, _current = _current, given
    try:
        yield
    finally:
        _current = before


def share(value: Any) -> None:
    """Keep in `value.value` when (of `time.monotonic`) another process should end this one; infinite while no environment
    works."""
    global _shared
    _shared = value
    value.value = math.inf


class OverdueError(TimeoutError):
    """An environment took longer than it may."""


class Alarm:
    """Inside of its context, calls of environments that take too long are interrupted by `OverdueError`.

    That is possible in the main thread, and not inside of a library. Elsewhere `share` helps.
    """

    def __init__(self) -> None:
        self._limits, self._until, self._begun, self._armed = patience(), math.inf, 0.0, False
        self._outer: Alarm | None = None

    def __enter__(self) -> Alarm:
        global _active, _installed
        if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            if not _installed:
                signal.signal(signal.SIGALRM, _ring)
                _installed = True
            self._outer, _active, self._armed = _active, self, True
            signal.setitimer(signal.ITIMER_REAL, self._limits.step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _active
        if self._armed:
            _active, self._armed = self._outer, False
            signal.setitimer(signal.ITIMER_REAL, 0.0 if _active is None else _AGAIN)

    def begin(self) -> None:
        """A call of an environment begins."""
        self._begun = time.monotonic()
        self._until = self._begun + self._limits.step
        if _shared is not None:
            _shared.value = self._until + self._limits.grace

    def end(self) -> float:
        """The call has ended; the seconds that it took."""
        self._until = math.inf
        if _shared is not None:
            _shared.value = math.inf
        return time.monotonic() - self._begun

    def check_episode(self, seconds: float) -> None:
        """Raise `OverdueError` where the steps of an episode have taken longer than they may."""
        if seconds > self._limits.episode:
            raise OverdueError(f"an episode took longer than {EPISODE} = {self._limits.episode:g} s")

    def ring(self) -> None:
        """The timer has run out."""
        left = self._until - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, min(left, self._limits.step) if left > 0 else _AGAIN)
        if left <= 0:
            raise OverdueError(f"no answer within {STEP} = {self._limits.step:g} s")


@contextlib.contextmanager
def within_limits() -> Iterator[None]:
    """Inside of this block one call of an environment may take as long as a step."""
    with Alarm() as alarm:
        alarm.begin()
        try:
            yield
        finally:
            alarm.end()


def _ring(number: int, frame: FrameType | None) -> None:
    if _active is not None:
        _active.ring()
