"""Finds the function that performs a command, and imports its module only then."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from seqeval_rl.benchmarks.arguments.datasets import Datasets
from seqeval_rl.benchmarks.arguments.results import Cite, Export, Plot, Report, Select, Status, Table
from seqeval_rl.benchmarks.arguments.run import Algorithms, Bench, Check, Run

_FUNCTIONS = {
    Run: "run.perform",
    **dict.fromkeys((Plot, Table, Report, Select, Export, Cite), "results.perform"),
    Status: "status.status",
    Datasets: "datasets.perform",
    Algorithms: "algorithms.algorithms",
    Check: "algorithms.check",
    Bench: "bench.bench",
}


def performer(command: Any) -> Callable[[Any], None]:
    """The function that takes this typed command and does what it says; it raises `SeqevalError` for whatever is not a bug."""
    name = next(_FUNCTIONS[base] for base in type(command).__mro__ if base in _FUNCTIONS)
    module, _, function = name.partition(".")
    return cast(Callable[[Any], None], getattr(import_module(f"seqeval_rl.benchmarks.commands.{module}"), function))
