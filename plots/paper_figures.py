"""The paper's three figures, drawn from its published data alone: the layout that our own figures share."""

from __future__ import annotations

from matplotlib.figure import Figure

from seqeval_rl.plots.curves import Quantity, draw
from seqeval_rl.plots.published import CITATION, Experiment, published_results


def paper_figure(experiment: Experiment, *, width: str | float = "page", caption: bool = True, seed: int = 0) -> Figure:
    """Published scores over transitions, mean over seeds with a 95 % bootstrap interval: results of others.

    `offline` (Figure 1) and `finetune` (Figure 2) are grids of three tasks by four levels, the latter with the switch to
    online at the end of the log; `mixed` (Figure 3) has a panel per task with its two block boundaries.

    Args:
        experiment: "offline", "finetune" or "mixed".
        width: "column" (3.25 in), "page" (6.75 in), "slide" (10 in), or inches.
        caption: whether to write under the figure what it shows and whose results they are.
        seed: of the bootstrap.

    Raises:
        UsageError: unknown experiment or width.
    """
    quantity = Quantity(note=f"Published results of {CITATION}, drawn from their run logs.")
    return draw(published_results(experiment), quantity, statistic="mean", width=width, caption=caption, seed=seed)
