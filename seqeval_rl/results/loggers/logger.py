"""What a logger is, how one is found by name, module or file, and what keeps those of third parties from stopping a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.interface.loading import load_class
from seqeval_rl.protocol import EvaluationPoint
from seqeval_rl.utils.text import first_line
from seqeval_rl.utils.tracebacks import placed


@dataclass(frozen=True)
class LoggedRun:
    """The run that an evaluation belongs to."""

    name: str  # its directory relative to the results, `hopper-medium-v2/td3_bc/seed-0`
    directory: Path
    manifest: Mapping[str, Any]  # as in `manifest.json`


@dataclass(frozen=True)
class LoggedPoint(EvaluationPoint):
    """An evaluation point of a run, with what its episodes came to."""

    block: str = ""  # label of the block that the newest visible transition belongs to
    returns: tuple[float, ...] = ()  # [E] of the evaluation episodes
    lengths: tuple[int, ...] = ()  # [E], environment steps


@dataclass(frozen=True)
class SweepSummary:
    """What `seqeval run` shows at its end."""

    results: Path  # the results directory
    figures: tuple[Path, ...]  # PNG files
    markdown: str  # the table of scores; "" where there are none


class Logger(Protocol):
    """Built as `Logger()` in each process that trains; gets the evaluations of many runs, in each run's order.

    It may have two more methods. A class method `check()` is called before anything is trained: the `UsageError` that it raises
    is the command's. `summarize(summary)` is called on a logger of its own at the end of `seqeval run`, with a `SweepSummary`.

    A logger other than that of `metrics.jsonl` may fail: its exception is shown once as a warning, it is not called again, and
    training continues. After an interruption a run resumes from its newest checkpoint, so its last evaluation may be logged
    a second time.
    """

    def log(self, run: LoggedRun, point: LoggedPoint, metrics: Mapping[str, float]) -> None:
        """Take one evaluation of one run.

        Args:
            run: which run.
            point: when: `transitions`, `gradient_steps`, `env_steps`, `phase`, and which evaluation (`index`, 0 = untrained).
            metrics: by name: `score`, `return`, `seconds`, the algorithm's `critic/loss`, …
        """

    def close(self) -> None:
        """Flush and release whatever is open; no evaluation follows."""


GROUP = "seqeval_rl.loggers"
METHODS = "log", "close"


def find_logger(reference: str, where: str = "--logger") -> type[Logger]:
    """A logger's class, by name of an entry point `seqeval_rl.loggers`, `module:Class`, `path/to/file.py:Class`, or
    `path/to/file.py` where that defines one logger.

    Raises:
        UsageError: there is no such logger, or it lacks `log` or `close`.
    """
    registered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    if ":" not in reference and not reference.endswith(".py") and reference not in registered:
        raise unknown("logger", reference, registered, where)
    logger = load_class(registered.get(reference, reference), reference, METHODS)
    for method in METHODS:
        if not callable(getattr(logger, method, None)):
            raise UsageError(
                f"{reference}: expected a method {logger.__name__}.{method}, found none. Add it, see seqeval_rl.results.loggers."
            )
    return logger


def check_logger(reference: str, where: str = "--logger") -> None:
    """Raise `UsageError` where there is no such logger, or where what it needs (its package, a login) is missing."""
    check = getattr(find_logger(reference, where), "check", None)
    if check is not None:
        check()


class OptionalLoggers:
    """The loggers that a sweep names: one that raises an exception is reported once and not called again."""

    def __init__(self, references: Sequence[str] = (), warn: Callable[[str], None] = lambda _: None):
        """`warn` takes a line for each that fails."""
        self._warn = warn
        self._loggers: dict[str, Logger] = {}
        for reference in references:
            with self._guard(reference):
                self._loggers[reference] = find_logger(reference)()

    def log(self, run: LoggedRun, point: LoggedPoint, metrics: Mapping[str, float]) -> None:
        """See `Logger.log`; each logger gets metrics of its own."""
        for reference, logger in list(self._loggers.items()):
            with self._guard(reference):
                logger.log(run, point, dict(metrics))

    def summarize(self, summary: SweepSummary) -> None:
        """Give the sweep's figure and table to those that take them."""
        for reference, logger in list(self._loggers.items()):
            if hasattr(logger, "summarize"):
                with self._guard(reference):
                    logger.summarize(summary)

    def close(self) -> None:
        """See `Logger.close`."""
        for reference, logger in list(self._loggers.items()):
            with self._guard(reference):
                logger.close()
        self._loggers.clear()

    @contextmanager
    def _guard(self, reference: str) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            self._loggers.pop(reference, None)
            why = placed(error, text=first_line(error))
            self._warn(f"logger {reference}: {why}. It is not called again; metrics.jsonl is complete.")
