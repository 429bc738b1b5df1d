from .rows import make_row as make_row
from .table import Kind as Kind, Row as Row, Table as Table
