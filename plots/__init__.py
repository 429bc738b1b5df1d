"""Figures and tables from result files; starts no run and never imports torch.

from seqeval_rl import read_results
from seqeval_rl.plots import curves, save, score_table

results = read_results("results/quickstart")
save(curves(results), "results/quickstart/figures", "curves")
print(score_table(results).text())
"""

from seqeval_rl.plots.curves import curves
from seqeval_rl.plots.logs import LogBlock, log_figure
from seqeval_rl.plots.statistics import (
    area_under_curve,
    bootstrap_interval,
    interquartile_mean,
    mean,
    score_at_share,
)
from seqeval_rl.plots.style import save
from seqeval_rl.plots.tables import Cell, Row, Table, score_table

__all__ = [
    "Cell",
    "LogBlock",
    "Row",
    "Table",
    "area_under_curve",
    "bootstrap_interval",
    "curves",
    "interquartile_mean",
    "log_figure",
    "mean",
    "save",
    "score_at_share",
    "score_table",
]
