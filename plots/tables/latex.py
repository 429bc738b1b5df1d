"""Tables as LaTeX, split over several `table` environments where one would not fit a page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

from seqeval_rl.plots.tables.writers import FormattedRow, FormattedTable

WIDTH = 397  # points: text width of the narrowest common one-column style (NeurIPS, 5.5 in)
HEIGHT = 38  # lines of a table that fit on one page with its caption
_LETTER, _SMALL = 4.4, 3.3  # mean width in points of a letter of \small and of \scriptsize, at 10 points
_CAPITALS = 1.2  # headers with names in capitals are wider by this factor
_GAP = 6.0  # points between two columns
_NAME, _HEADER = 18, 9  # letters after which a name and a header are broken
_FIRST = 2  # columns that every part repeats: algorithm and runs


class _Line(NamedTuple):
    """One line of a cell."""

    text: str
    small: bool = False

    @property
    def width(self) -> float:
        return len(self.text) * (_SMALL if self.small else _LETTER)

    def latex(self, bold: bool) -> str:
        text = latex_cell(self.text)
        return rf"\scriptsize {text}" if self.small else rf"\textbf{{{text}}}" if bold else text


_Cells = list[list[_Line]]  # of a row, by column: algorithm, runs, and the quantities


def latex(table: FormattedTable) -> str:
    """One `table` environment, or as many as width and height of a page require, each with its caption and label."""
    headers = [*table.headers[1:3], *table.headers[4:]]  # datasets and their means are lines of their own
    cells = [_cells(row) for row in table.rows]
    parts = [(columns, rows) for columns in _columns(headers, cells) for rows in _pages(table.rows, cells)]
    label = f"tab:seqeval-{table.name}"
    texts = []
    for number, (columns, rows) in enumerate(parts, 1):
        caption = latex_text(table.caption) + (f" Part 1 of {len(parts)}." if len(parts) > 1 else "")
        if number > 1:
            caption = rf"Part {number} of {len(parts)} of Table~\ref{{{label}}}."
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{{label if number == 1 else f'{label}-{number}'}}}",
            r"\small",
            rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            _header(headers, columns),
            *_body(table, cells, columns, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        texts.append("\n".join(lines))
    return "\n\n".join(texts) + "\n"


def _cells(row: FormattedRow) -> _Cells:
    """The lines of each cell: the algorithm's name, the runs, and all quantities."""
    values = (row.runs, *(cell.parts for cell in row.cells))
    return [
        [_Line(piece) for piece in _pieces(row.algorithm, _NAME)],
        *([_Line(first), *(_Line(text, small=True) for text in others)] for first, *others in values),
    ]


def _header(headers: Sequence[str], columns: Sequence[int]) -> str:
    cells = []
    for column in columns:
        pieces = [latex_cell(piece) for piece in _pieces(headers[column], _HEADER if column >= _FIRST else _NAME)]
        several = r"\begin{tabular}[b]{@{}r@{}}" + r" \\ ".join(pieces) + r"\end{tabular}"
        cells.append(several if len(pieces) > 1 else pieces[0])
    return " & ".join(cells) + r" \\"


def _body(table: FormattedTable, cells: Sequence[_Cells], columns: Sequence[int], rows: Sequence[int]) -> Iterator[str]:
    """Lines of the `tabular`; each dataset's name is under a rule, above its rows."""
    for number, index in enumerate(rows):
        row = table.rows[index]
        if not number or row.dataset != table.rows[index - 1].dataset:
            yield r"\midrule"
            name = row.dataset
            if row.dataset_mean != "–":
                name += f" ({table.headers[3]} {row.dataset_mean})"
            for piece in _pieces(name, int(WIDTH / _LETTER)):
                # No width of its own: it must not widen the first column.
                yield rf"\rlap{{\emph{{{latex_text(piece)}}}}} \\"
        bold = {_FIRST + quantity for quantity in row.bold}
        shown = [cells[index][column] for column in columns]
        for line in range(_height(shown)):
            yield (
                " & ".join(
                    cell[line].latex(bold=not line and column in bold) if line < len(cell) else ""
                    for column, cell in zip(columns, shown, strict=True)
                )
                + r" \\"
            )


def _pieces(text: str, size: int) -> list[str]:
    one_line = " ".join(text.split()).replace(" %", "\N{NO-BREAK SPACE}%")
    return wrap(one_line, size) or [""]


def _height(cells: _Cells) -> int:
    return max(map(len, cells))


def _columns(headers: Sequence[str], cells: Sequence[_Cells]) -> Iterator[list[int]]:
    """Columns of each part: the first ones each time, and as many quantities as fit the width."""
    widths = [
        _GAP + max(
            *(_CAPITALS * _Line(piece).width for piece in _pieces(header, _HEADER)),
            *(line.width for row in cells for line in row[column]),
        )
        for column, header in enumerate(headers)
    ]  # fmt: skip
    first = list(range(_FIRST))
    chosen = list(first)
    for column in range(_FIRST, len(headers)):
        if len(chosen) > _FIRST and sum(widths[each] for each in (*chosen, column)) > WIDTH:
            yield chosen
            chosen = list(first)
        chosen.append(column)
    yield chosen


def _pages(rows: Sequence[FormattedRow], cells: Sequence[_Cells]) -> Iterator[list[int]]:
    """Indices of the rows that fit on each page."""
    page: list[int] = []
    lines = 0
    for index, row in enumerate(rows):
        begins = not page or row.dataset != rows[index - 1].dataset
        if page and lines + begins + _height(cells[index]) > HEIGHT:
            yield page
            page, lines, begins = [], 0, True
        page.append(index)
        lines += begins + _height(cells[index])
    yield page


_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "→": r"$\rightarrow$",
    "…": r"\dots{}",
    "–": r"\textendash{}",
    "ρ": r"$\rho$",
    "−": "$-$",
} | {letter: f"\\{letter}" for letter in "{}$&%#_"}


def latex_text(text: str) -> str:
    """A name or number escaped for LaTeX's text mode; unprintable characters become `?`.

    Letters that pdfLaTeX lacks are kept.
    """
    printable = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    # Two hyphens would become a dash.
    escaped = "".join(_LATEX.get(letter, letter) for letter in printable).replace("--", "-{}-")
    # A minus sign before a number on its own, not a hyphen inside a name.
    return re.sub(r"(?:(?<=[\s\[])|^)-(?=\d)", "$-$", escaped)


def latex_cell(text: str) -> str:
    r"""`latex_text` for the beginning of a cell, where `[` and `*` would belong to the `\\` of the row before."""
    escaped = latex_text(text)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped
