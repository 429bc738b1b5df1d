"""Finds loggers by name, module or file, and keeps those of third parties from stopping a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.interface.loading import load_class
from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun, Logger
from seqeval_rl.utils.text import first_line

GROUP = "seqeval_rl.loggers"


def find_logger(reference: str, where: str = "--logger") -> type[Logger]:
    """A logger's class.

    Args:
        reference: name of an entry point `seqeval_rl.loggers`, `module:Class` or `path/to/file.py:Class`.
        where: where it was found, for messages.

    Raises:
        UsageError: there is no such logger, or it lacks `log` or `close`.
    """
    registered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    if ":" not in reference and reference not in registered:
        raise unknown("logger", reference, registered, where)
    logger = load_class(registered.get(reference, reference))
    for method in ("log", "close"):
        if not callable(getattr(logger, method, None)):
            raise UsageError(
                f"{reference}: expected a method {logger.__name__}.{method}, found none. Add it, see seqeval_rl.results.loggers."
            )
    return logger


class OptionalLoggers:
    """The loggers that a sweep names: one that raises an exception is reported once and not called again."""

    def __init__(self, references: Sequence[str] = (), warn: Callable[[str], None] = lambda _: None):
        """Build them; `warn` takes a line for each that fails."""
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
        except Exception as error:
            self._loggers.pop(reference, None)
            self._warn(f"logger {reference}: {first_line(error)}. It is not called again; metrics.jsonl is complete.")
