"""Figures and tables from result files; starts no run and never imports torch.

from seqeval_rl import read_results
from seqeval_rl.plots import curves, save, score_table

results = read_results("results/quickstart")
save(curves(results), "results/quickstart/figures", "curves")
print(score_table(results).text())

`FIGURES` and `TABLES` are what `seqeval plot --kind` and `seqeval table --measures` offer, by name.
"""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from seqeval_rl.plots.analysis.cross_task import scores_across
from seqeval_rl.plots.analysis.metrics import (
    area_under_curve,
    change,
    forgetting,
    measured,
    reach,
    regret,
    score_at_share,
)
from seqeval_rl.plots.analysis.model_selection import Candidate, Choice, regret_at_1, select
from seqeval_rl.plots.analysis.prequential import DEFAULT_SCORE, SCORES
from seqeval_rl.plots.analysis.published import CITATION, EXPERIMENTS, published, published_results
from seqeval_rl.plots.analysis.statistics import (
    Cell,
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    mean,
    mean_ranks,
    median,
    normalise,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    profile_interval,
    rank_intervals,
    spearman,
)
from seqeval_rl.plots.citations import bibliography
from seqeval_rl.plots.figures.aggregate_curves import share_curves
from seqeval_rl.plots.figures.aggregates import aggregate_intervals, improvement, profile, rank
from seqeval_rl.plots.figures.cost import Cost, cost, costs
from seqeval_rl.plots.figures.dataset import DatasetBlock, dataset_figure
from seqeval_rl.plots.figures.learning_curves import curves, paper_figure, without_scores
from seqeval_rl.plots.figures.prequential import foretold, prequential
from seqeval_rl.plots.figures.style import save, styled
from seqeval_rl.plots.figures.update_ratio import HeatMap, heat_maps, ratio
from seqeval_rl.plots.report.build import write_report
from seqeval_rl.plots.tables.across import across_table, improvement_table
from seqeval_rl.plots.tables.blocks import block_table
from seqeval_rl.plots.tables.online import online_table
from seqeval_rl.plots.tables.published import published_table
from seqeval_rl.plots.tables.ranking import ranking_table
from seqeval_rl.plots.tables.reach import reach_table
from seqeval_rl.plots.tables.scores import score_table
from seqeval_rl.plots.tables.table import Kind, Row, Table

# Results of `read_results` -> a figure, or the tables that are printed one after the other.
FIGURES: dict[str, Callable[..., Figure]] = {
    "curves": curves,
    "share": share_curves,
    "profile": profile,
    "aggregates": aggregate_intervals,
    "improvement": improvement,
    "rank": rank,
    "ratio": ratio,
    "cost": cost,
    "prequential": prequential,
    "foretold": foretold,
}
TABLES: dict[str, tuple[Callable[[Any], Table], ...]] = {
    "data": (score_table,),
    "reach": (reach_table,),
    "blocks": (block_table,),
    "online": (online_table,),
    "across": (across_table, improvement_table),
}

__all__ = [
    "CITATION",
    "DEFAULT_SCORE",
    "EXPERIMENTS",
    "FIGURES",
    "SCORES",
    "TABLES",
    "Candidate",
    "Cell",
    "Choice",
    "Cost",
    "DatasetBlock",
    "HeatMap",
    "Kind",
    "Row",
    "Table",
    "across_table",
    "aggregate_intervals",
    "area_under_curve",
    "bibliography",
    "block_table",
    "bootstrap_interval",
    "change",
    "cost",
    "costs",
    "curves",
    "dataset_figure",
    "foretold",
    "forgetting",
    "heat_maps",
    "improvement",
    "improvement_interval",
    "improvement_table",
    "interquartile_mean",
    "mean",
    "mean_ranks",
    "measured",
    "median",
    "normalise",
    "online_table",
    "optimality_gap",
    "paper_figure",
    "performance_profile",
    "prequential",
    "probability_of_improvement",
    "profile",
    "profile_interval",
    "published",
    "published_results",
    "published_table",
    "rank",
    "rank_intervals",
    "ranking_table",
    "ratio",
    "reach",
    "reach_table",
    "regret",
    "regret_at_1",
    "save",
    "score_at_share",
    "score_table",
    "scores_across",
    "select",
    "share_curves",
    "spearman",
    "styled",
    "without_scores",
    "write_report",
]
