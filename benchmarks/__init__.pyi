from .commands.run import run as run
from .suite import build_sweep as build_sweep, suite_names as suite_names
