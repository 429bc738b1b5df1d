"""Table `ranking`: how well prequential scores rank algorithms and settings against their true scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import listed, table_notes
from seqeval_rl.plots.analysis.grouping import Panel, collect
from seqeval_rl.plots.analysis.metrics import check_share
from seqeval_rl.plots.analysis.prequential import SCORES, candidates, regret_at_1, spearman
from seqeval_rl.plots.analysis.statistics import Cell
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import SHARES, Kind, Row
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult

_CHANCE = "picked at random"
_LEADING = ("dataset", "prequential score", "settings", "dataset mean")
_NAN = float("nan")
_CAPTION = (
    "How well prequential scores (per transition, up to that share of the data) rank algorithms and settings against "
    "their true normalized scores there, means over seeds. ρ: Spearman's rank correlation, 1 is best; regret: score lost "
    "by taking the setting with the best prequential score instead of the best one. Each over the settings that "
    "have the score. Bold: best of the dataset."
)


@table("ranking", help="how well each prequential score ranks algorithms and settings against true scores")
def ranking_table(results: Sequence[RunResult], *, shares: Sequence[float] = SHARES) -> Table:
    """Spearman's correlation and regret@1 of each prequential score, per dataset and over all, at shares of the data.

    At each share the prequential score up to there and the true scores there are compared, both means over seeds. A
    correlation of 1 is best: the score orders the settings as the true returns do. Regret@1 is the normalized score lost by
    taking the setting that has the best prequential score.

    Args:
        results: from `seqeval_rl.read_results`.
        shares: of the data, above 0 and at most 1.

    Raises:
        UsageError: no run, a share outside (0, 1], or no dataset with two settings that have prequential and true scores.
    """
    check_share(*shares)
    panels = collect(results)
    rows = [row for panel in panels for row in _rows(panel, shares)]
    if not any(cell.runs > 1 for row in rows for cell in row.cells):
        raise UsageError(
            "results: expected a dataset with at least two algorithms or settings that have prequential and true scores, found "
            "none. Run more of them, or wait for evaluations."
        )
    if len(panels) > 1:
        rows += _pooled(rows)
    quantities = tuple(f"{what} {100 * share:g} %" for what in ("ρ", "regret") for share in shares)
    kinds = (Kind("probability"),) * len(shares) + (Kind("score", "lower"),) * len(shares)
    caption = _CAPTION
    # Settings that should have a score at the last share and lack it.
    missing = [
        f"{out.label} on {panel.title} ({out.why})"
        for panel in panels
        for score in SCORES
        for out in candidates(panel, score, max(shares))[1]
        if not out.by_nature
    ]
    if missing:
        caption += f" Left out: {listed(list(dict.fromkeys(missing)), '; ')}."
    caption += table_notes(results, [(panel.title, group) for panel in panels for group in panel.groups])
    return Table(quantities, tuple(rows), caption, kinds, "ranking", _LEADING, "mean")


def _rows(panel: Panel, shares: Sequence[float]) -> list[Row]:
    """One row per prequential score of the panel's runs, and one for the expected regret of a random pick."""
    rows, true = [], [dict[str, float]() for _ in shares]  # true scores by setting, at each share
    for score in SCORES:
        settings = sum(any(score in run.prequential_scores() for run in group.runs) for group in panel.groups)
        if not settings:
            continue
        correlations, regrets = [], []
        for share, known in zip(shares, true, strict=True):
            judged = [each for each in candidates(panel, score, share)[0] if np.isfinite(each.true)]
            known |= {each.label: each.true for each in judged}
            costs, values = [each.cost(score) for each in judged], [each.true for each in judged]
            several = len(judged) > 1
            correlations.append(_cell(spearman(costs, [-value for value in values]) if several else _NAN, len(judged)))
            regrets.append(_cell(regret_at_1(costs, values) if several else _NAN, len(judged)))
        cells = (*correlations, *regrets)
        rows.append(Row(panel.title, score, panel.mean_score, cells, settings, metric=panel.metric))
    chance = [
        _cell(max(scores.values()) - float(np.mean([*scores.values()])) if len(scores) > 1 else _NAN, len(scores))
        for scores in true
    ]
    most = max((len(scores) for scores in true), default=0)
    cells = (*[_cell(_NAN, 0)] * len(shares), *chance)
    return [*rows, Row(panel.title, _CHANCE, panel.mean_score, cells, most, metric=panel.metric)]


def _pooled(rows: Sequence[Row]) -> list[Row]:
    """Means over the datasets that have a number, with equal weight for each dataset."""
    pooled = []
    for score in (*SCORES, _CHANCE):
        score_rows = [row for row in rows if row.algorithm == score]
        if not score_rows:
            continue
        cells = []
        for place, column in enumerate(zip(*(row.cells for row in score_rows), strict=True)):
            # The first half are correlations; regrets of returns have no common unit.
            counted = [row.metric == "score" or 2 * place < len(row.cells) for row in score_rows]
            known = [cell for cell, count in zip(column, counted, strict=True) if count and np.isfinite(cell.value)]
            mean = float(np.mean([cell.value for cell in known])) if known else _NAN
            cells.append(_cell(mean, sum(cell.runs for cell in known)))
        settings = sum(row.runs for row in score_rows)
        pooled.append(Row(f"mean over {len(score_rows)} datasets", score, None, tuple(cells), settings))
    return pooled


def _cell(value: float, settings: int) -> Cell:
    return Cell(value, _NAN, _NAN, settings)
