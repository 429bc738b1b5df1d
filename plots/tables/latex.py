"""Tables as LaTeX; one that does not fit a page is split over several `table` environments, or a `longtable`."""

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
_NAME, _HEADER = 18, 11  # letters after which a name and a header are broken
_FIRST = 2  # columns that every part repeats: algorithm and runs

_Cells = list[list[str]]  # the lines of a row's cells, by column: algorithm, runs, and the quantities


def latex(name: str, headers: Sequence[str], rows: Sequence[FormattedRow], caption: str, long: bool = False) -> str:
    """One `table` environment, or as many as width and height of a page require, each with its caption and label.

    Args:
        name: part of the label.
        headers: of dataset, algorithm, runs, dataset mean, and the quantities.
        rows: of the table, those of a dataset in succession.
        caption: in plain text.
        long: what is higher than a page is a `longtable`, which breaks across pages and needs the package of that name.
    """
    names = [*headers[1:3], *headers[4:]]  # datasets and their means are lines of their own
    cells = [[_pieces(row.algorithm, _NAME), row.runs, *(cell.parts for cell in row.cells)] for row in rows]
    pages = list(_pages(rows, cells))
    environment = "longtable" if long and len(pages) > 1 else "table"
    together = ""
    if environment == "longtable":
        pages, together = [[*range(len(rows))]], "*"  # no page ends after a line that this ends
    parts = [(columns, page) for columns in _columns(names, cells) for page in pages]
    label = f"tab:seqeval-{name}"
    texts = []
    for number, (columns, page) in enumerate(parts, 1):
        title = latex_text(caption) + (f" Part 1 of {len(parts)}." if len(parts) > 1 else "")
        if number > 1:
            title = rf"Part {number} of {len(parts)} of Table~\ref{{{label}}}."
        head = rf"\caption{{{title}}}", rf"\label{{{label if number == 1 else f'{label}-{number}'}}}"
        header = _line([_header(names[column], column) for column in columns])
        body = []
        for index in page:
            row = rows[index]
            if index == page[0] or row.dataset != rows[index - 1].dataset:
                mean = "" if row.dataset_mean == "–" else f" ({headers[3]} {row.dataset_mean})"
                title_lines = _pieces(row.dataset + mean, int(WIDTH / _LETTER))
                # No width of its own: it must not widen the first column.
                body.append(r"\midrule")
                body += [rf"\rlap{{\emph{{{latex_text(piece)}}}}} \\{together}" for piece in title_lines]
            *lines, last = _row_lines(row, cells[index], columns)
            body += [*(line + together for line in lines), last]
        texts.append("\n".join(_environment(environment, len(columns), head, header, body)))
    return "\n\n".join(texts) + "\n"


def _environment(kind: str, columns: int, head: tuple[str, str], header: str, body: list[str]) -> list[str]:
    """The lines of a `table` or a `longtable`; `head` are its caption and its label."""
    aligned = f"{{l{'r' * (columns - 1)}}}"
    size = r"\small", rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}"
    if kind == "table":
        begin = [r"\begin{table}", r"\centering", *head, *size, rf"\begin{{tabular}}{aligned}", r"\toprule", header]
        return [*begin, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    begin = [r"\begingroup", *size, r"\setlength{\LTcapwidth}{\textwidth}", rf"\begin{{longtable}}{aligned}"]
    first = [rf"{head[0]}{head[1]} \\", r"\toprule", header, r"\endfirsthead"]
    other = [r"\caption[]{Continued.} \\", r"\toprule", header, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"]
    return [*begin, *first, *other, *body, r"\end{longtable}", r"\endgroup"]


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
