from .analysis.adaptation import lag as lag, time_to as time_to
from .analysis.changes import (
    Change as Change,
    GroupCurve as GroupCurve,
    change as change,
    group_curve as group_curve,
)
from .analysis.comparison import (
    improvement_interval as improvement_interval,
    mean_ranks as mean_ranks,
    probability_of_improvement as probability_of_improvement,
    rank_intervals as rank_intervals,
)
from .analysis.compute import Compute as Compute, compute_per_transition as compute_per_transition
from .analysis.cross_task import (
    scores_across as scores_across,
)
from .analysis.curves import without_scores as without_scores
from .analysis.grouping import Block as Block, Group as Group, Panel as Panel, collect as collect
from .analysis.metrics import (
    area_under_curve as area_under_curve,
    forgetting as forgetting,
    measured as measured,
    reach as reach,
    regret as regret,
    score_at_share as score_at_share,
)
from .analysis.prequential import (
    DEFAULT_SCORE as DEFAULT_SCORE,
    SCORES as SCORES,
    Candidate as Candidate,
    Choice as Choice,
    regret_at_1 as regret_at_1,
    select as select,
    spearman as spearman,
)
from .analysis.published import (
    CITATION as CITATION,
    EXPERIMENTS as EXPERIMENTS,
    published as published,
    published_results as published_results,
)
from .analysis.statistics import (
    Cell as Cell,
    bootstrap_interval as bootstrap_interval,
    interquartile_mean as interquartile_mean,
    mean as mean,
    median as median,
    normalise as normalise,
    optimality_gap as optimality_gap,
    performance_profile as performance_profile,
    profile_interval as profile_interval,
)
from .citations import bibliography as bibliography
from .figures.across import (
    aggregate_intervals as aggregate_intervals,
    improvement as improvement,
    profile as profile,
    rank as rank,
)
from .figures.aggregate_curves import share_curves as share_curves
from .figures.cost import TrainingCost as TrainingCost, cost as cost, costs as costs
from .figures.dataset import DatasetBlock as DatasetBlock, dataset_figure as dataset_figure
from .figures.layout import framed as framed
from .figures.learning_curves import curves as curves, paper_figure as paper_figure
from .figures.prequential import correlation as correlation, prequential as prequential
from .figures.style import line_styles as line_styles, save as save, styled as styled
from .figures.update_ratio import HeatMap as HeatMap, heat_maps as heat_maps, ratio as ratio
from .manuscript.build import write_paper as write_paper
from .registry import (
    FIGURES as FIGURES,
    TABLES as TABLES,
    Option as Option,
    Registration as Registration,
    draw as draw,
    figure as figure,
    table as table,
    tabulate as tabulate,
)
from .report.build import write_report as write_report
from .tables.across import (
    across_table as across_table,
    across_tables as across_tables,
    improvement_table as improvement_table,
)
from .tables.adaptation import adaptation_tables as adaptation_tables
from .tables.blocks import block_table as block_table
from .tables.online import online_table as online_table
from .tables.published import published_table as published_table
from .tables.ranking import ranking_table as ranking_table
from .tables.reach import reach_table as reach_table
from .tables.rows import Kind as Kind, Row as Row
from .tables.scores import score_table as score_table
from .tables.table import Table as Table
