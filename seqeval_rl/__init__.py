"""Sequential evaluation of offline reinforcement learning (Sujit et al., TMLR 2023, arXiv 2212.08131).

Imports are lazy, so that `seqeval --help` and the plots never pay for torch.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqeval_rl.data.dataset import Dataset
    from seqeval_rl.data.load import load_dataset
    from seqeval_rl.environments.tasks import Task
    from seqeval_rl.interface.algorithm import Algorithm, Batch, Spec
    from seqeval_rl.results.read import read_results


__version__ = version("seqeval-rl")
__all__ = ["Algorithm", "Batch", "Dataset", "Spec", "Task", "__version__", "load_dataset", "read_results"]

_HOMES = {
    "Algorithm": "interface.algorithm",
    "Batch": "interface.algorithm",
    "Spec": "interface.algorithm",
    "Dataset": "data.dataset",
    "Task": "environments.tasks",
    "load_dataset": "data.load",
    "read_results": "results.read",
}


def __getattr__(name: str) -> Any:
    """The public names, each imported from its module when first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqeval_rl' has no attribute {name!r}")
    return getattr(importlib.import_module(f"seqeval_rl.{_HOMES[name]}"), name)
