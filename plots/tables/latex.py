"""Tables as LaTeX, split over several `table` environments where one would not fit a page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

from seqeval_rl.plots.tables.rows import FormattedRow

WIDTH = 397  # points: text width of the narrowest common one-column style (NeurIPS, 5.5 in)
HEIGHT = 38  # lines of a table that fit on one page with its caption
_LETTER, _SMALL = 4.4, 3.3  # mean width in points of a letter of \small and of \scriptsize, at 10 points
_CAPITALS = 1.2  # headers with names in capitals are wider by this factor
_GAP = 6.0  # points between two columns
_NAME, _HEADER = 18, 9  # letters after which a name and a header are broken
_FIRST = 2  # columns that every part repeats: algorithm and runs

_Cells = list[list[str]]  # the lines of a row's cells, by column: algorithm, runs, and the quantities


def latex(name: str, headers: Sequence[str], rows: Sequence[FormattedRow], caption: str) -> str:
    """One `table` environment, or as many as width and height of a page require, each with its caption and label."""
    names = [*headers[1:3], *headers[4:]]  # datasets and their means are lines of their own
    cells = [[_pieces(row.algorithm, _NAME), row.runs, *(cell.parts for cell in row.cells)] for row in rows]
    parts = [(columns, page) for columns in _columns(names, cells) for page in _pages(rows, cells)]
    label = f"tab:seqeval-{name}"
    texts = []
    for number, (columns, page) in enumerate(parts, 1):
        title = latex_text(caption) + (f" Part 1 of {len(parts)}." if len(parts) > 1 else "")
        if number > 1:
            title = rf"Part {number} of {len(parts)} of Table~\ref{{{label}}}."
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{title}}}",
            rf"\label{{{label if number == 1 else f'{label}-{number}'}}}",
            r"\small",
            rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            _line([_header(names[column], column) for column in columns]),
        ]
        for index in page:
            row = rows[index]
            if index == page[0] or row.dataset != rows[index - 1].dataset:
                mean = "" if row.dataset_mean == "–" else f" ({headers[3]} {row.dataset_mean})"
                title_lines = _pieces(row.dataset + mean, int(WIDTH / _LETTER))
                # No width of its own: it must not widen the first column.
                lines += [r"\midrule", *(rf"\rlap{{\emph{{{latex_text(piece)}}}}} \\" for piece in title_lines)]
            lines += _row_lines(row, cells[index], columns)
        texts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(texts) + "\n"


def _header(name: str, column: int) -> str:
    pieces = [_cell(piece) for piece in _pieces(name, _HEADER if column >= _FIRST else _NAME)]
    several = r"\begin{tabular}[b]{@{}r@{}}" + r" \\ ".join(pieces) + r"\end{tabular}"
    return several if len(pieces) > 1 else pieces[0]


def _row_lines(row: FormattedRow, cells: _Cells, columns: Sequence[int]) -> list[str]:
    lines = []
    for column in columns:
        first, *others = map(_cell, cells[column])
        if column - _FIRST in row.bold:
            first = rf"\textbf{{{first}}}"
        lines.append([first, *(rf"\scriptsize {text}" if column else text for text in others)])
    return [_line(texts) for texts in zip_longest(*lines, fillvalue="")]


def _line(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"


def _pieces(text: str, size: int) -> list[str]:
    one_line = " ".join(text.split()).replace(" %", "\N{NO-BREAK SPACE}%")
    return wrap(one_line, size) or [""]


def _columns(headers: Sequence[str], cells: Sequence[_Cells]) -> Iterator[list[int]]:
    """Columns of each part: the first ones each time, and as many quantities as fit the width."""
    widths = []
    for column, header in enumerate(headers):
        lengths = [_CAPITALS * (len(piece) * _LETTER) for piece in _pieces(header, _HEADER)]
        for first, *others in (row[column] for row in cells):
            lengths += [len(first) * _LETTER, *(len(line) * (_SMALL if column else _LETTER) for line in others)]
        widths.append(_GAP + max(lengths))
    chosen = [*range(_FIRST)]
    for column in range(_FIRST, len(headers)):
        if len(chosen) > _FIRST and sum(widths[each] for each in (*chosen, column)) > WIDTH:
            yield chosen
            chosen = [*range(_FIRST)]
        chosen.append(column)
    yield chosen


def _pages(rows: Sequence[FormattedRow], cells: Sequence[_Cells]) -> Iterator[list[int]]:
    """Indices of the rows that fit on each page."""
    page: list[int] = []
    lines = 0
    for index, (row, height) in enumerate(zip(rows, [max(map(len, row)) for row in cells], strict=True)):
        begins = not page or row.dataset != rows[index - 1].dataset
        if page and lines + begins + height > HEIGHT:
            yield page
            page, lines, begins = [], 0, True
        page.append(index)
        lines += begins + height
    yield page


_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "→": r"$\rightarrow$",
    "↓": r"$\downarrow$",
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


def _cell(text: str) -> str:
    r"""`latex_text` for the beginning of a cell, where `[` and `*` would belong to the `\\` of the row before."""
    escaped = latex_text(text)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped
