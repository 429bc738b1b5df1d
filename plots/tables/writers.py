"""How tables are written: text, Markdown, CSV and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from seqeval_rl.plots.tables.table import Row, Table


WIDTH = 397  # points: the text of the narrowest one-column style that is common (NeurIPS, 5.5 in)
HEIGHT = 38  # lines of a table on one page, beside its caption
_LETTER, _SMALL = 4.4, 3.3  # mean width in points of a letter of \small and of \scriptsize, at 10 points
_CAPITALS = 1.2  # wider is a header with names in it
_GAP = 6.0  # points between two columns
_NAME, _HEADER = 18, 9  # letters after which a name and a header are broken
_FIRST = 2  # columns that every part has: algorithm and runs


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


def latex(table: Table, intervals: bool) -> str:
    """One `table` environment, or as many as the page's width and height ask for, each with its caption and label.

    Args:
        table: of any sort.
        intervals: whether they are shown; which numbers are bold does not depend on it.
    """
    cells = [_cells(table, row, intervals) for row in table.rows]
    parts = [(columns, rows) for columns in _columns(table, cells) for rows in _pages(table, cells)]
    label = f"tab:seqeval-{table.name}"
    texts = []
    for number, (columns, rows) in enumerate(parts, 1):
        caption = latex_text(table.caption_with(intervals)) + (f" Part 1 of {len(parts)}." if len(parts) > 1 else "")
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
            _header(table, columns),
            *_body(table, cells, columns, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        texts.append("\n".join(lines))
    return "\n\n".join(texts) + "\n"


def _cells(table: Table, row: Row, intervals: bool) -> list[list[_Line]]:
    """The lines of each cell: the algorithm's name, the runs, and then all quantities."""
    cells = [[_Line(piece) for piece in _pieces(row.algorithm, _NAME)]]
    for first, *others in (
        table.runs_texts(row),
        *(table.cell_texts(row, p, intervals) for p in range(len(row.cells))),
    ):
        cells.append([_Line(first), *(_Line(text, small=True) for text in others)])
    return cells


def _header(table: Table, columns: Sequence[int]) -> str:
    headers = [*table.leading[1:3], *table.quantities]
    cells = []
    for place in columns:
        pieces = [latex_cell(piece) for piece in _pieces(headers[place], _HEADER if place >= _FIRST else _NAME)]
        several = r"\begin{tabular}[b]{@{}r@{}}" + r" \\ ".join(pieces) + r"\end{tabular}"
        cells.append(several if len(pieces) > 1 else pieces[0])
    return " & ".join(cells) + r" \\"


def _body(
    table: Table, cells: Sequence[Sequence[Sequence[_Line]]], columns: Sequence[int], rows: Sequence[int]
) -> Iterator[str]:
    """Lines that have all columns, and under a rule those that name a dataset."""
    for number, place in enumerate(rows):
        row = table.rows[place]
        if not number or row.dataset != table.rows[place - 1].dataset:
            yield r"\midrule"
            name = row.dataset
            if row.dataset_mean is not None:
                name += f" ({table.leading[3]} {number_text(row.dataset_mean, 'score')})"
            for piece in _pieces(name, int(WIDTH / _LETTER)):
                # Without a width of its own: it must not widen the first column.
                yield rf"\rlap{{\emph{{{latex_text(piece)}}}}} \\"
        bold = {_FIRST + quantity for quantity in table.bold(row)}
        shown = [cells[place][column] for column in columns]
        for line in range(_height(shown)):
            yield (
                " & ".join(
                    cell[line].latex(bold=not line and column in bold) if line < len(cell) else ""
                    for column, cell in zip(columns, shown, strict=True)
                )
                + r" \\"
            )


def _pieces(text: str, size: int) -> list[str]:
    whole = " ".join(text.split()).replace(" %", "\N{NO-BREAK SPACE}%")
    return wrap(whole, size) or [""]


def _height(cells: Sequence[Sequence[_Line]]) -> int:
    return max(map(len, cells))


def _columns(table: Table, cells: Sequence[Sequence[Sequence[_Line]]]) -> Iterator[list[int]]:
    """Columns that go side by side: the first ones each time, and as many quantities as there is room for."""
    headers = [*table.leading[1:3], *table.quantities]
    widths = [
        _GAP + max(
            *(_CAPITALS * _Line(piece).width for piece in _pieces(header, _HEADER)),
            *(line.width for row in cells for line in row[place]),
        )
        for place, header in enumerate(headers)
    ]  # fmt: skip
    first = list(range(_FIRST))
    chosen = list(first)
    for place in range(_FIRST, len(headers)):
        if len(chosen) > _FIRST and sum(widths[each] for each in (*chosen, place)) > WIDTH:
            yield chosen
            chosen = list(first)
        chosen.append(place)
    yield chosen


def _pages(table: Table, cells: Sequence[Sequence[Sequence[_Line]]]) -> Iterator[list[int]]:
    """Places of the rows that fit on a page."""
    page: list[int] = []
    lines = 0
    for place, row in enumerate(table.rows):
        begins = not page or row.dataset != table.rows[place - 1].dataset
        if page and lines + begins + _height(cells[place]) > HEIGHT:
            yield page
            page, lines, begins = [], 0, True
        page.append(place)
        lines += begins + _height(cells[place])
    yield page


def number_text(value: float, unit: str) -> str:
    """A number of that unit for people: `12.3`, `12.3k` transitions, a probability or rank of `0.12`; never `-0.0`."""
    if unit == "transitions":
        for size, suffix in ((1e6, "M"), (1e3, "k")):
            if abs(value) >= 0.9995 * size:
                return f"{value / size:.3g}{suffix}"
        return f"{value:.3g}"
    text = f"{value:.1f}" if unit == "score" else f"{value:.2f}"
    return text.removeprefix("-") if not float(text) else text


def markdown_text(text: str) -> str:
    """A name in a cell of GitHub-flavoured Markdown."""
    return re.sub(r"([\\`*_\[\]<>|$#~&])", r"\\\1", " ".join(text.split()))


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
    """A name or number in LaTeX's text mode. What cannot be printed becomes `?`; letters that pdfLaTeX lacks stay."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    # Two hyphens would become a dash.
    escaped = "".join(_LATEX.get(letter, letter) for letter in printable).replace("--", "-{}-")
    # A minus before a number that stands alone, not a hyphen inside a name.
    return re.sub(r"(?:(?<=[\s\[])|^)-(?=\d)", "$-$", escaped)


def latex_cell(text: str) -> str:
    r"""`latex_text` at the beginning of a cell, where `[` and `*` would belong to the `\\` of the row before."""
    escaped = latex_text(text)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped
