"""Sequential evaluation of offline reinforcement learning (Sujit et al., TMLR 2023, arXiv 2212.08131).

    import seqeval_rl

    results = seqeval_rl.evaluate(["td3_bc", "bc"], "bundled/hopper/medium:20000", seeds=range(3))
    print(results.table().text())

The public names are imported at first use, so that `seqeval --help` and the plots do not import torch.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.api import (
        EvaluationResults as EvaluationResults,
        evaluate as evaluate,
        read_results as read_results,
    )
    from seqeval_rl.collection.policy import Policy as Policy
    from seqeval_rl.data.dataset import Dataset as Dataset
    from seqeval_rl.data.load import load_dataset as load_dataset
    from seqeval_rl.environments.tasks import Task as Task
    from seqeval_rl.interface.algorithm import Algorithm as Algorithm, Batch as Batch, Spec as Spec
    from seqeval_rl.protocol import Protocol as Protocol

__version__ = version("seqeval-rl")
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Algorithm": "interface.algorithm",
        "Batch": "interface.algorithm",
        "Dataset": "data.dataset",
        "EvaluationResults": "api",
        "Policy": "collection.policy",
        "Protocol": "protocol",
        "Spec": "interface.algorithm",
        "Task": "environments.tasks",
        "evaluate": "api",
        "load_dataset": "data.load",
        "read_results": "api",
    },
)
