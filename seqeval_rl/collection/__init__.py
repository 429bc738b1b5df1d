"""Collecting datasets: policies of runs, playing them, training behavior policies, and writing Minari datasets.

The last package in the order of imports: it may import every other but `plots` and `benchmarks`, and only the commands import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.collection.collect import play as play, write_dataset as write_dataset
    from seqeval_rl.collection.levels import collect_levels as collect_levels
    from seqeval_rl.collection.policy import Policy as Policy
    from seqeval_rl.collection.train import Training as Training

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Policy": "policy",
        "Training": "train",
        "collect_levels": "levels",
        "play": "collect",
        "write_dataset": "collect",
    },
)
