"""Measures as matrices of datasets × algorithms for a paper, as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seqeval_rl.plots.tables.latex import latex
from seqeval_rl.plots.tables.rows import FormattedCell, FormattedRow
from seqeval_rl.plots.tables.table import Table


class Measure(NamedTuple):
    """A quantity of a table, which becomes a block of rows."""

    table: Table
    quantity: str
    heading: str


def matrix(name: str, measures: Sequence[Measure], caption: str) -> str:
    """A row for each dataset, a column for each algorithm, a block of rows for each measure; the best of a row is bold.

    Args:
        name: part of the LaTeX label.
        measures: at least one; all of the same datasets and algorithms.
        caption: in plain text.
    """
    rows = measures[0].table.rows
    datasets, algorithms = list(dict.fromkeys(r.dataset for r in rows)), list(dict.fromkeys(r.algorithm for r in rows))
    formatted = [line for measure in measures for line in _block(measure, datasets, algorithms)]
    headers = (measures[0].heading, measures[0].table.leading[0], "seeds", "", "dataset mean", *algorithms)
    return latex(name, headers, formatted, caption, long=True)


def _block(measure: Measure, datasets: Sequence[str], algorithms: Sequence[str]) -> list[FormattedRow]:
    """The rows of one measure."""
    table = measure.table
    column = table.quantities.index(measure.quantity)
    by_place = {
        (row.dataset, row.algorithm): (row.runs, line)
        for row, line in zip(table.rows, table.formatted(), strict=True)
    }  # fmt: skip
    nothing = FormattedCell("–", "", "")
    made = []
    for dataset in datasets:
        found = [by_place.get((dataset, algorithm)) for algorithm in algorithms]
        cells = [each[1].cells[column] if each else nothing for each in found]
        bold = {place for place, each in enumerate(found, 1) if each and column in each[1].bold}
        runs = [each[0] for each in found if each]
        seeds = str(max(runs)) if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
        mean = FormattedCell(next(each[1].dataset_mean for each in found if each), "", "")
        made.append(FormattedRow(measure.heading, dataset, [seeds], "–", [mean, *cells], bold))
    return made
