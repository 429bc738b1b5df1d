"""How long an environment or an algorithm may take for a call, and what ends one that takes longer."""

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
    """Seconds that an environment, or an algorithm, may take."""

    step: float = 300.0  # for one environment step, for a reset, to open and to close
    episode: float = 3600.0  # for all environment steps of an episode together
    update: float = 3600.0  # for a gradient step of a run group, and each other call of an algorithm
    grace: float = 30.0  # more than for a call, after which a process is ended in which it cannot be interrupted

    def __post_init__(self) -> None:
        """Raise `UsageError` for a limit that is not positive."""
        for name, option in (("step", STEP), ("episode", EPISODE), ("update", UPDATE)):
            if not getattr(self, name) > 0:
                raise UsageError(f"{option}: expected seconds above 0, found {getattr(self, name):g}. Correct it.")


STEP, EPISODE, UPDATE = "--step-timeout", "--episode-timeout", "--update-timeout"  # options of the command
WHO = {STEP: "an environment", UPDATE: "its algorithm"}  # by the limit of a single call, whose it is
DEFAULT = Patience()
_current = DEFAULT
_shared: Any = None  # of a worker process: numbers that its parent reads, see `share`
# For each limit of `WHO`, when the calls should be ended that the threads of this process are at, by the `Alarm`'s id.
_calls: list[dict[int, float]] = [{} for _ in WHO]
_lock = threading.Lock()  # for `_calls` and `_shared`
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


def share(values: Any) -> None:
    """Keep in `values` when (of `time.monotonic`) another process should end this one, for each limit of `WHO`, in its order;
    infinite while no such call is made."""
    global _shared
    _shared = values
    values[:] = [math.inf] * len(WHO)


class OverdueError(TimeoutError):
    """An environment or an algorithm took longer than it may."""


class Alarm:
    """Inside of its context, calls that take too long are interrupted by `OverdueError`.

    That is possible in the main thread, and not inside of a library. Elsewhere `share` helps.
    """

    def __init__(self, option: str = STEP) -> None:
        """For calls whose limit is that of `option`, one of `WHO`."""
        self._limits, self._until, self._begun, self._armed = patience(), math.inf, 0.0, False
        self._option, self._place = option, list(WHO).index(option)
        self._limit = self._limits.step if option == STEP else self._limits.update
        self._outer: Alarm | None = None
        self._step: int | None = None  # the gradient step that is taken, if any

    def __enter__(self) -> Alarm:
        global _active, _installed
        if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            if not _installed:
                signal.signal(signal.SIGALRM, _ring)
                _installed = True
            self._outer, _active, self._armed = _active, self, True
            signal.setitimer(signal.ITIMER_REAL, self._limit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _active
        self.end()
        if self._armed:
            _active, self._armed = self._outer, False
            signal.setitimer(signal.ITIMER_REAL, 0.0 if _active is None else _AGAIN)

    def begin(self, step: int | None = None) -> None:
        """A call begins, in which an algorithm takes the gradient step of that number, if one is given."""
        self._step, self._begun = step, time.monotonic()
        self._until = self._begun + self._limit
        if _shared is not None:
            with _lock:
                calls = _calls[self._place]
                calls[id(self)] = self._until + self._limits.grace
                _shared[self._place] = min(calls.values())

    def end(self) -> float:
        """The call has ended; the seconds that it took."""
        self._until = math.inf
        if _shared is not None:
            with _lock:
                calls = _calls[self._place]
                calls.pop(id(self), None)
                _shared[self._place] = min(calls.values(), default=math.inf)
        return time.monotonic() - self._begun

    def check_episode(self, seconds: float) -> None:
        """Raise `OverdueError` where the steps of an episode have taken longer than they may."""
        if seconds > self._limits.episode:
            raise OverdueError(f"an episode took longer than {EPISODE} = {self._limits.episode:g} s")

    def ring(self) -> None:
        """The timer has run out."""
        left = self._until - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, min(left, self._limit) if left > 0 else _AGAIN)
        if left <= 0:
            where = "" if self._step is None else f" in gradient step {self._step}"
            raise OverdueError(f"no answer within {self._option} = {self._limit:g} s{where}")


@contextlib.contextmanager
def within_limits(option: str = STEP) -> Iterator[None]:
    """Inside of this block one call may take as long as the limit of `option`, one of `WHO`."""
    with Alarm(option) as alarm:
        alarm.begin()
        yield


def _ring(number: int, frame: FrameType | None) -> None:
    if _active is not None:
        _active.ring()
