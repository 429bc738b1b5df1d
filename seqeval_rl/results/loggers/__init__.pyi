from .logger import LoggedPoint as LoggedPoint, LoggedRun as LoggedRun, Logger as Logger
from .registry import find_logger as find_logger
