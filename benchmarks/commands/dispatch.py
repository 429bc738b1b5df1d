"""Performs a command: finds the function for it, and imports what it needs only then."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from seqeval_rl.benchmarks.arguments.datasets import Datasets
from seqeval_rl.benchmarks.arguments.results import Cite, Export, Plot, Report, Select, Status, Table
from seqeval_rl.benchmarks.arguments.run import Algorithms, Bench, Check, Run


@singledispatch
def perform(command: Any) -> None:
    """Do what the command says. Raises `SeqevalError` for whatever is not a bug."""
    raise TypeError(f"no such command: {command!r}")


@perform.register
def _run(command: Run) -> None:
    from seqeval_rl.benchmarks.commands import run

    run.perform(command)


@perform.register
def _results(command: Plot | Table | Report | Select | Export | Cite) -> None:
    from seqeval_rl.benchmarks.commands import results

    results.perform(command)


@perform.register
def _status(command: Status) -> None:
    from seqeval_rl.benchmarks.commands import status

    status.status(command)


@perform.register
def _datasets(command: Datasets) -> None:
    from seqeval_rl.benchmarks.commands import datasets

    datasets.perform(command.action)


@perform.register
def _algorithms(command: Algorithms) -> None:
    from seqeval_rl.benchmarks.commands import algorithms

    algorithms.algorithms()


@perform.register
def _check(command: Check) -> None:
    from seqeval_rl.benchmarks.commands import algorithms

    algorithms.check(command)


@perform.register
def _bench(command: Bench) -> None:
    from seqeval_rl.benchmarks.commands import bench

    bench.bench(command)
