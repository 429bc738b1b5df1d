"""Tables of results: one module per table, `table` (numbers), `rows` (statistics over seeds), `writers` and `latex` (formats).

A table is one function with the decorator `plots.table`, found by its name in `seqeval table --measures`. This package
imports `plots.analysis` and `plots.registry`; `plots` and `plots.report` import it.
"""

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.plots.tables.rows import make_row as make_row
    from seqeval_rl.plots.tables.table import Kind as Kind
    from seqeval_rl.plots.tables.table import Row as Row
    from seqeval_rl.plots.tables.table import Table as Table

_MODULES = {"Kind": "table", "Row": "table", "Table": "table", "make_row": "rows"}
__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULES)
