from .api import (
    EvaluationResults as EvaluationResults,
    evaluate as evaluate,
    read_reference as read_reference,
    read_results as read_results,
)
from .collection.policy import Policy as Policy
from .data.dataset import Dataset as Dataset
from .data.load import load_dataset as load_dataset
from .environments.tasks import Task as Task
from .interface.algorithm import Algorithm as Algorithm, Batch as Batch, Spec as Spec
from .protocol import Protocol as Protocol

__version__: str
