"""Tables as plain text, Markdown and HTML, from numbers that are formatted already."""

from __future__ import annotations

import html as escaping
import re
from collections.abc import Sequence
from typing import NamedTuple


class FormattedCell(NamedTuple):
    """One quantity of a row as text."""

    text: str  # of the value; "–" where there is none
    interval: str = ""  # "[low, high]"
    runs: str = ""  # "2 of 3": how many of the row's runs have the quantity; empty if all

    @property
    def parts(self) -> list[str]:
        """What is shown in the cell, in order."""
        return [part for part in (self.text, self.interval, f"({self.runs})" if self.runs else "") if part]


class FormattedRow(NamedTuple):
    """One algorithm on one dataset as text."""

    dataset: str
    algorithm: str
    runs: tuple[str, ...]  # "3", "1 failed", "1 unfinished"
    dataset_mean: str
    cells: tuple[FormattedCell, ...]
    bold: frozenset[int]  # columns of `cells`

    @property
    def texts(self) -> list[str]:
        """One text per column, in the order of the headers."""
        runs, *others = self.runs
        runs += f" ({', '.join(others)})" if others else ""
        return [self.dataset, self.algorithm, runs, self.dataset_mean, *(" ".join(cell.parts) for cell in self.cells)]


class FormattedTable(NamedTuple):
    """A table as text, before it is written in one of the formats."""

    name: str
    headers: tuple[str, ...]  # dataset, algorithm, runs, dataset mean, and the quantities
    rows: Sequence[FormattedRow]
    caption: str


LEADING = 4  # columns before the quantities


def text(table: FormattedTable) -> str:
    """Aligned columns, under the name of each dataset."""
    lines = [table.headers[1:], *(row.texts[1:] for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    header, *body = (
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )  # fmt: skip
    shown = [header, "-" * len(header)]
    dataset = None
    for row, line in zip(table.rows, body, strict=True):
        if row.dataset != dataset:
            shown += [row.dataset] if dataset is None else ["", row.dataset]
            dataset = row.dataset
        shown.append(line)
    return "\n".join(line.rstrip() for line in shown) + "\n"


def markdown(table: FormattedTable) -> str:
    """GitHub-flavored Markdown with the caption below the table."""
    lines = [
        [markdown_text(header) for header in table.headers],
        ["---"] * 2 + ["---:"] * (len(table.headers) - 2),
    ]
    for row in table.rows:
        texts = row.texts
        texts[:2] = map(markdown_text, texts[:2])
        for column in row.bold:
            texts[LEADING + column] = f"**{texts[LEADING + column]}**"
        lines.append(texts)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{markdown_text(table.caption)}\n"


def html(table: FormattedTable) -> str:
    """An HTML `table`, for notebooks."""

    def line(tag: str, texts: Sequence[str], bold: frozenset[int] = frozenset()) -> str:
        cells = [escaping.escape(text) for text in texts]
        for column in bold:
            cells[LEADING + column] = f"<b>{cells[LEADING + column]}</b>"
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    rows = "".join(line("td", row.texts, row.bold) for row in table.rows)
    caption = escaping.escape(table.caption)
    return f"<table><caption>{caption}</caption><thead>{line('th', table.headers)}</thead><tbody>{rows}</tbody></table>"


def number_text(value: float, unit: str) -> str:
    """A number for people: a score as `12.3`, transitions as `12.3k`, a probability or rank as `0.12`; never `-0.0`."""
    if unit == "transitions":
        for size, suffix in ((1e6, "M"), (1e3, "k")):
            if abs(value) >= 0.9995 * size:
                return f"{value / size:.3g}{suffix}"
        return f"{value:.3g}"
    text = f"{value:.1f}" if unit == "score" else f"{value:.2f}"
    return text.removeprefix("-") if not float(text) else text


def markdown_text(text: str) -> str:
    """Text escaped for a cell of a GitHub-flavored Markdown table."""
    return re.sub(r"([\\`*_\[\]<>|$#~&])", r"\\\1", " ".join(text.split()))
