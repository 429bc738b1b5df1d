"""The `seqeval` command, the suites, and measurements of speed. Imports every other package; none imports it."""

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.benchmarks.commands.run import run as run
    from seqeval_rl.benchmarks.suite import build_sweep as build_sweep, suite_names as suite_names

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"build_sweep": "suite", "run": "commands.run", "suite_names": "suite"}
)
