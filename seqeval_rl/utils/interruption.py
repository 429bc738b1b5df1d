"""Signals that end a command: each interrupts it like Ctrl-C, and a command that does not end soon afterwards is ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from seqeval_rl.utils.files import discard_unfinished

# Of Ctrl-C, of schedulers, of a terminal that closes, and of schedulers that warn before they preempt.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
_PATIENCE = 8.0  # seconds from a signal to the end of the command; many schedulers kill after ten or more
_inside = False  # a context of `signals_interrupt`
_since: float | None = None  # when the latest signal came, inside of that context


@contextmanager
def signals_interrupt(exit_code: int | None = None) -> Iterator[None]:
    """Inside of this context each of `SIGNALS` raises `KeyboardInterrupt` in the main thread.

    A second signal within some seconds is ignored, since the first is being answered: schedulers and terminals send several.
    Signals that were ignored before (`nohup`) stay so. A library may raise another exception in its place, as torch does while it
    writes: that, too, leaves the context as `KeyboardInterrupt`. In another thread than the main one this does nothing.

    Args:
        exit_code: a process that has not left the context some seconds after a signal (it may be inside of a library) ends with
            it. What is on disk is complete at any moment.
    """
    global _inside, _since
    if _inside or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    _inside, _since = True, None
    try:
        for number in taken:
            signal.signal(number, _interrupt)
        with nullcontext() if exit_code is None else _ending_when_late(exit_code):
            yield
    except Exception as error:
        if was_interrupted():
            raise KeyboardInterrupt from error
        raise
    finally:
        for number in taken:
            signal.signal(number, before[number])
        _inside = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _since
    if _since is None or time.monotonic() - _since > _PATIENCE:
        _since = time.monotonic()
        raise KeyboardInterrupt(signal.Signals(number).name)


def was_interrupted() -> bool:
    """Whether a signal has come inside of the present context of `signals_interrupt`."""
    return _inside and _since is not None


@contextmanager
def _ending_when_late(exit_code: int) -> Iterator[None]:
    """See `signals_interrupt`. A thread learns of signals also while the main thread is inside of a library."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    left = threading.Event()

    def watch() -> None:
        while number := os.read(reading, 1):
            if number[0] in SIGNALS and not left.wait(_PATIENCE):
                _end_now(exit_code)
        os.close(reading)

    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=watch, name="signals", daemon=True).start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writing)


def _end_now(exit_code: int) -> None:
    """End this process and its children without waiting for anything."""
    for process in multiprocessing.active_children():
        process.kill()
    discard_unfinished()
    os.write(2, b"seqeval: interrupted; completed work is kept, the same command resumes.\n")
    os._exit(exit_code)


def leave_signals_to_parent() -> None:
    """In a worker process: signals reach the whole process group, and the parent decides.

    At SIGTERM, by which the parent ends it, it deletes the files that it has not finished and ends.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_worker)


def _end_worker(number: int, frame: FrameType | None) -> None:
    discard_unfinished()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
