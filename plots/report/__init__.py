"""The HTML report: `build` writes the file, `data`, `curves` and `runs` compute what it shows, the scripts draw it.

This package imports `plots.analysis`, `plots.tables` and the line styles of `plots.figures`; only `plots` imports it.
"""

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.plots.report.build import write_report as write_report

__getattr__, __dir__, __all__ = lazy_exports(__name__, {"write_report": "build"})
