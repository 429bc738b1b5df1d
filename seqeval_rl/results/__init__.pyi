from .export import LONG_COLUMNS as LONG_COLUMNS, algorithm_names as algorithm_names, long_rows as long_rows
from .loggers.logger import (
    LoggedPoint as LoggedPoint,
    LoggedRun as LoggedRun,
    Logger as Logger,
    SweepSummary as SweepSummary,
    find_logger as find_logger,
)
from .manifest import Manifest as Manifest
from .read import Results as Results, RunResult as RunResult, read_results as read_results
from .reference import read_exported as read_exported
from .status import RunStatus as RunStatus, Status as Status, read_status as read_status
from .write import RunRecorder as RunRecorder
