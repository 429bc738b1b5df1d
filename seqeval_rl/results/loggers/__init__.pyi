from .logger import LoggedPoint as LoggedPoint, LoggedRun as LoggedRun, Logger as Logger, find_logger as find_logger
