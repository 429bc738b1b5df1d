"""The report's leaderboards: tables of scores as JSON, with the text of each number and the value to sort by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.tables.across import across_table
from seqeval_rl.plots.tables.scores import score_table
from seqeval_rl.plots.tables.table import Table

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


def leaderboards(results: Sequence[RunResult], datasets: int, seed: int) -> list[dict[str, Any]]:
    """One per dataset, and with several datasets one over all of them, or the reason why it cannot be computed."""
    boards = [_board("per dataset", score_table(results, seed=seed))]
    if datasets < 2:
        return boards
    try:
        return [*boards, _board("all datasets together", across_table(results, seed=seed))]
    except UsageError as error:
        return [*boards, {"name": "all datasets together", "reason": str(error)}]


def _board(name: str, table: Table) -> dict[str, Any]:
    """A table with, for each number, its text and the value to sort by."""
    return {
        "name": name,
        "quantities": list(table.quantities),
        "lower": [table.kind(column).better == "lower" for column in range(len(table.quantities))],
        "rows": [
            {
                "dataset": row.dataset,
                "algorithm": row.algorithm,
                "runs": row.runs,
                "count": ", ".join(formatted.runs),
                "datasetMean": row.dataset_mean,
                "datasetMeanText": formatted.dataset_mean,
                "cells": [
                    {"value": float(cell.value) if np.isfinite(cell.value) else None, **text._asdict()}
                    for cell, text in zip(row.cells, formatted.cells, strict=True)
                ],
            }
            for row, formatted in zip(table.rows, table.formatted().rows, strict=True)
        ],
        "caption": re.sub(r"Bold: [^.]*\. ?", "", table.caption).strip(),  # the page shows nothing in bold
    }
