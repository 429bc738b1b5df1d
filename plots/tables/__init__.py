"""Tables of results: one module per table, `rows` (numbers and their text), `table` and `latex` (formats).

A table is one function with the decorator `plots.table`, found by its name in `seqeval table --measures`. This package
imports `plots.analysis` and `plots.registry`; `plots` and `plots.report` import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
