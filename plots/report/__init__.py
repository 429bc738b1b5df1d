"""The HTML report: `build` computes and writes it with the numbers of `curves`, the scripts draw it.

This package imports `plots.analysis`, `plots.tables` and the line styles of `plots.figures`; only `plots` imports it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
