"""Loggers: one file for each place that evaluations are written to. Imported by `experiments` and `collection`.

`metrics.jsonl` is always written and the only source of scores; others are found by entry point `seqeval_rl.loggers`.
"""

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.results.loggers.logger import LoggedPoint as LoggedPoint
    from seqeval_rl.results.loggers.logger import LoggedRun as LoggedRun
    from seqeval_rl.results.loggers.logger import Logger as Logger
    from seqeval_rl.results.loggers.registry import find_logger as find_logger

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {"LoggedPoint": "logger", "LoggedRun": "logger", "Logger": "logger", "find_logger": "registry"},
)
