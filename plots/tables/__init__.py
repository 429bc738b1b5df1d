"""Tables of results: one module per table, `table` (numbers), `rows` (statistics over seeds), `writers` and `latex` (formats).

Each table is one function with the decorator `plots.table`, found by its name in `seqeval table --measures`. This package
imports `plots.analysis` and `plots.registry`; `plots.report` imports it.
"""

# ruff: noqa: F401
# mypy: implicit-reexport

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.plots.tables.across import across_table, across_tables, improvement_table
    from seqeval_rl.plots.tables.blocks import block_table
    from seqeval_rl.plots.tables.online import online_table
    from seqeval_rl.plots.tables.published import published_table
    from seqeval_rl.plots.tables.ranking import ranking_table
    from seqeval_rl.plots.tables.reach import reach_table
    from seqeval_rl.plots.tables.rows import make_row
    from seqeval_rl.plots.tables.scores import score_table
    from seqeval_rl.plots.tables.table import Kind, Row, Table

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Kind": "table",
        "Row": "table",
        "Table": "table",
        "across_table": "across",
        "across_tables": "across",
        "block_table": "blocks",
        "improvement_table": "across",
        "make_row": "rows",
        "online_table": "online",
        "published_table": "published",
        "ranking_table": "ranking",
        "reach_table": "reach",
        "score_table": "scores",
    },
)
