"""Figures and tables from result files; starts no run and never imports torch.

    from seqeval_rl import read_results
    from seqeval_rl.plots import draw, save, tabulate

    results = read_results("results/quickstart")
    save(draw(results, "curves"), "results/quickstart/figures", "curves")
    for table in tabulate(results, "data"):
        print(table.text())

`analysis` computes, `figures` and `tables` show, `report` writes the HTML page; `registry` is how a figure or a table is
added. `FIGURES` and `TABLES` hold by name what `seqeval plot --kind` and `seqeval table --measures` offer. Only
`benchmarks` and users' code import this package.
"""

# For type checkers all that is imported below is public.
# ruff: noqa: F401
# mypy: implicit-reexport

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
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
    from seqeval_rl.plots.analysis.bootstrap import bootstrap_interval, profile_interval
    from seqeval_rl.plots.analysis.comparisons import (
        improvement_interval,
        mean_ranks,
        probability_of_improvement,
        rank_intervals,
        spearman,
    )
    from seqeval_rl.plots.analysis.statistics import (
        Cell,
        interquartile_mean,
        mean,
        median,
        normalise,
        optimality_gap,
        performance_profile,
    )
    from seqeval_rl.plots.analysis.grouping import Block, Group, Panel, collect
    from seqeval_rl.plots.citations import bibliography
    from seqeval_rl.plots.figures.aggregate_curves import share_curves
    from seqeval_rl.plots.figures.aggregates import aggregate_intervals
    from seqeval_rl.plots.figures.correlation import correlation
    from seqeval_rl.plots.figures.improvement import improvement
    from seqeval_rl.plots.figures.profile import profile
    from seqeval_rl.plots.figures.rank import rank
    from seqeval_rl.plots.figures.style_file import styled
    from seqeval_rl.plots.analysis.curves import without_scores
    from seqeval_rl.plots.figures.cost import TrainingCost, cost, costs
    from seqeval_rl.plots.figures.dataset import DatasetBlock, dataset_figure
    from seqeval_rl.plots.figures.learning_curves import curves, paper_figure
    from seqeval_rl.plots.figures.prequential import prequential
    from seqeval_rl.plots.figures.layout import framed
    from seqeval_rl.plots.figures.style import line_styles, save
    from seqeval_rl.plots.figures.update_ratio import HeatMap, heat_maps, ratio
    from seqeval_rl.plots.registry import FIGURES, TABLES, Option, Registration, draw, figure, table, tabulate
    from seqeval_rl.plots.report.build import write_report
    from seqeval_rl.plots.tables.across import across_table, across_tables, improvement_table
    from seqeval_rl.plots.tables.blocks import block_table
    from seqeval_rl.plots.tables.online import online_table
    from seqeval_rl.plots.tables.published import published_table
    from seqeval_rl.plots.tables.ranking import ranking_table
    from seqeval_rl.plots.tables.reach import reach_table
    from seqeval_rl.plots.tables.scores import score_table
    from seqeval_rl.plots.tables.table import Kind, Row, Table

_NAMES = {
    "analysis.cross_task": "scores_across",
    "analysis.grouping": "Block Group Panel collect",
    "analysis.metrics": "area_under_curve change forgetting measured reach regret score_at_share",
    "analysis.model_selection": "Candidate Choice regret_at_1 select",
    "analysis.prequential": "DEFAULT_SCORE SCORES",
    "analysis.published": "CITATION EXPERIMENTS published published_results",
    "analysis.bootstrap": "bootstrap_interval profile_interval",
    "analysis.comparisons": "improvement_interval mean_ranks probability_of_improvement rank_intervals spearman",
    "analysis.statistics": "Cell interquartile_mean mean median normalise optimality_gap performance_profile",
    "citations": "bibliography",
    "figures.aggregate_curves": "share_curves",
    "figures.aggregates": "aggregate_intervals",
    "figures.correlation": "correlation",
    "figures.improvement": "improvement",
    "figures.profile": "profile",
    "figures.rank": "rank",
    "figures.style_file": "styled",
    "analysis.curves": "without_scores",
    "figures.cost": "TrainingCost cost costs",
    "figures.dataset": "DatasetBlock dataset_figure",
    "figures.learning_curves": "curves paper_figure",
    "figures.prequential": "prequential",
    "figures.layout": "framed",
    "figures.style": "line_styles save",
    "figures.update_ratio": "HeatMap heat_maps ratio",
    "registry": "FIGURES TABLES Registration Option draw figure table tabulate",
    "report.build": "write_report",
    "tables.across": "across_table across_tables improvement_table",
    "tables.blocks": "block_table",
    "tables.online": "online_table",
    "tables.published": "published_table",
    "tables.ranking": "ranking_table",
    "tables.reach": "reach_table",
    "tables.scores": "score_table",
    "tables.table": "Kind Row Table",
}
__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {name: module for module, names in _NAMES.items() for name in names.split()}
)
