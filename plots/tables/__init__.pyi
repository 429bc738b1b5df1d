from .rows import Kind as Kind, Row as Row, make_row as make_row
from .table import Table as Table
