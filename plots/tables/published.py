"""Table `published`: our scores minus the published ones of the same datasets, at shares of the data."""

from __future__ import annotations

from collections.abc import Sequence

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import listed, table_notes
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import check_share, run_at_end, run_at_share
from seqeval_rl.plots.analysis.published import CITATION, PublishedCurve, counterpart, published
from seqeval_rl.plots.analysis.statistics import NOTHING, difference_of_means
from seqeval_rl.plots.registry import table
from seqeval_rl.plots.tables.rows import SHARES, Kind, row_of
from seqeval_rl.plots.tables.table import Table
from seqeval_rl.results.read import RunResult
from seqeval_rl.utils.text import some


@table("published", help="our scores minus the published ones of the same datasets")
def published_table(results: Sequence[RunResult], *, shares: Sequence[float] = SHARES, seed: int = 0) -> Table:
    """Mean of our scores minus mean of the published ones, per dataset and algorithm, at shares of the data.

    Ours is the evaluation nearest to the share, theirs the bin of 50 000 gradient steps with the evaluation that had seen as
    many transitions; where runs have an online phase, a last quantity compares its end. Static controls have no published
    counterpart.

    Args:
        results: from `seqeval_rl.read_results`.
        shares: of the data, above 0 and at most 1.
        seed: of the bootstrap.

    Raises:
        UsageError: no run, a share outside (0, 1], or no run with a published counterpart.
    """
    check_share(*shares)
    pairs, without = _paired(results)
    if not pairs:
        raise UsageError(
            "results: expected runs that the published curves can be compared with (full D4RL v2 datasets of hopper, "
            "halfcheetah or walker2d: random, medium, medium-replay, medium-expert), "
            f"found {some(without)}."
        )
    online = any(group.online for _, group, _ in pairs)
    quantities = (*(f"{100 * share:g} %" for share in shares), *(["end of online"] if online else []))
    rows = []
    for panel, group, curve in pairs:
        cells = [
            difference_of_means(
                [run_at_share(run, share) for run in group.runs],
                curve.at(share * panel.transitions + 1e-6, panel.transitions),
                seed,
            )
            for share in shares
        ]
        if online:
            ends = [run_at_end(run) for run in group.runs]
            theirs = curve.at(panel.transitions + group.online, panel.transitions)
            cells.append(difference_of_means(ends, theirs, seed) if group.online else NOTHING)
        rows.append(row_of(panel.title, panel.mean_score, [group], cells))
    caption = (
        "Ours minus published, normalized scores, means over seeds with 95 % bootstrap intervals over both sides' seeds. "
        f"Published: {CITATION}; their scores are binned at 50 000 gradient steps, ours the evaluations nearest to the shares. "
    )
    if without:
        caption += f"Without a published counterpart: {listed(without)}. "
    caption = caption.rstrip() + table_notes(results, [(panel.title, group) for panel, group, _ in pairs])
    return Table(
        quantities, tuple(rows), caption, (Kind(better=None),) * len(quantities), "published", statistic="mean"
    )


def _paired(results: Sequence[RunResult]) -> tuple[list[tuple[Panel, Group, PublishedCurve]], list[str]]:
    """Groups with the published curve of the same algorithm and dataset, and in words the groups without one."""
    pairs, without = [], []
    for panel in collect(results):
        for group in panel.groups:
            key = counterpart(panel, group.online > 0)
            curve = published()[key].get(group.algorithm) if key else None
            if curve is None or group.control:
                without.append(f"{group.label} on {panel.title}")
            else:
                pairs.append((panel, group, curve))
    return pairs, without
