"""Performs each command: a function takes the typed command and prints its results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

from seqeval_rl.benchmarks.arguments.datasets import Datasets
from seqeval_rl.benchmarks.arguments.parsing import numbers, words
from seqeval_rl.benchmarks.arguments.results import Cite, Export, Plot, Report, Select, Status, Table
from seqeval_rl.benchmarks.arguments.run import Algorithms, Bench, Check, Run
from seqeval_rl.errors import SeqevalError, UsageError


@singledispatch
def perform(command: Any) -> None:
    """Do what the command says. Raises `SeqevalError` for whatever is not a bug."""
    raise TypeError(f"no such command: {command!r}")


@perform.register
def _run(command: Run) -> None:
    from seqeval_rl.benchmarks.arguments.parsing import parse_setting
    from seqeval_rl.benchmarks.commands import results
    from seqeval_rl.benchmarks.suite import build_sweep, read_suite, suite_names
    from seqeval_rl.experiments.run import run_sweep

    if command.list:
        for name in suite_names():
            print(f"{name:<12} {read_suite(name)[1].description}")
        return
    if not command.suite:
        raise UsageError(f"run: expected a suite, found none. Name one of {', '.join(suite_names())}, or a .toml file.")
    for option in ("algorithms", "datasets"):
        if getattr(command, option) is not None and not words(getattr(command, option)):
            raise UsageError(f"--{option}: expected at least one name, found none.")
    sweep = build_sweep(
        command.suite, command.mini, words(command.algorithms), words(command.datasets),
        numbers(command.seeds, "--seeds"), [parse_setting(text) for text in command.set], command.paper,
        command.precision, words(command.logger),
    )  # fmt: skip
    out = command.out or Path("results") / (Path(command.suite).stem + "-mini" * command.mini)
    ends = run_sweep(sweep, out, command.device, command.environments, command.overwrite)
    results.summarise(out)
    for end in ends:
        if end.status == "failed":
            print(f"{end.directory}: failed, {end.message}. It is left out of the figure's means.")
    crashed = [end for end in ends if end.status == "crashed"]
    if crashed:
        raise SeqevalError(
            f"{len(crashed)} runs stopped with an exception, first {crashed[0].directory}: {crashed[0].message}"
        )


@perform.register
def _look(
    command: Plot | Table | Report | Select | Export | Cite,
) -> None:
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
    from seqeval_rl.interface.registry import find_algorithm, registered

    for name in sorted(registered()):
        entry = find_algorithm(name)
        print(f"{name}: {entry.summary}")
        for item in dataclasses.fields(entry.algorithm.Config):
            print(f"    {name}.{item.name} = {item.default!r}")


@perform.register
def _check(command: Check) -> None:
    from seqeval_rl.interface.checks import check_algorithm
    from seqeval_rl.interface.registry import find_algorithm

    entry = find_algorithm(command.algorithm, "check")
    results = check_algorithm(entry.algorithm)
    for result in results:
        print(f"{'ok  ' if result.passed else 'FAIL'} {result.name}: {result.detail}")
    broken = [result.name for result in results if not result.passed]
    if broken:
        raise SeqevalError(f"{command.algorithm}: {len(broken)} of {len(results)} checks failed: {', '.join(broken)}.")


@perform.register
def _bench(command: Bench) -> None:
    from seqeval_rl.benchmarks.speed import updates
    from seqeval_rl.interface.registry import find_algorithm, registered
    from seqeval_rl.training.device import choose_device, matrix_products

    names = words(command.algorithms)
    if names == []:
        raise UsageError("--algorithms: expected at least one name, found none.")
    if command.estimate is not None:
        _estimate(command)
        return
    if command.mini:
        raise UsageError("bench --mini: expected --estimate SUITE with it, found none. Name a suite or leave it out.")
    if command.evaluation is None:
        _refuse(
            command, ("backend",), "without --evaluation", "It chooses what steps the environments of an evaluation"
        )
    else:
        _refuse(command, ("device", "precision"), "with --evaluation", "The policy acts on one core in float32")
    device = choose_device(command.device)
    sizes = numbers(command.runs, "--runs") or list(updates.default_runs(device))
    for option, least, found in (
        ("runs", 1, min(sizes)),
        ("repeats", 1, command.repeats),
        ("threads", 0, command.threads),
    ):
        if found < least:
            raise UsageError(f"bench --{option}: expected whole numbers from {least}, found {found}. Correct it.")
    if command.evaluation is not None:
        _bench_evaluation(command, names, sizes if command.runs else [1, 5])
        return
    entries = [find_algorithm(name) for name in names or sorted(registered())]
    with matrix_products(command.precision):
        report = updates.bench(entries, sizes, device, command.threads, command.repeats)
    _show(updates.as_table(report), report, command)


def _bench_evaluation(command: Bench, names: list[str] | None, sizes: list[int]) -> None:
    """`bench --evaluation`: environment steps per second."""
    from seqeval_rl.benchmarks.speed import evaluation
    from seqeval_rl.environments.tasks import task_named
    from seqeval_rl.interface.registry import find_algorithm

    if names is not None and len(names) > 1:
        raise UsageError(f"--algorithms: expected one name with --evaluation, found {len(names)}. Choose one policy.")
    tasks = [task_named(name, "--evaluation") for name in words(command.evaluation) or []]
    if not tasks:
        raise UsageError("--evaluation: expected at least one task, found none.")
    entry = find_algorithm((names or ["td3_bc"])[0])
    report = evaluation.bench_evaluation(entry, tasks, sizes, command.backend, command.threads, command.repeats)
    _show(evaluation.as_table(report), report, command)


def _show(table: str, report: dict[str, Any], command: Bench) -> None:
    from seqeval_rl.benchmarks.speed import updates

    print(table)
    if command.json:
        updates.save(report, command.json)
        print(f"saved: {command.json}")


def _refuse(command: Bench, options: Sequence[str], where: str, why: str) -> None:
    """Raise `UsageError` for an option that would have no effect."""
    for item in dataclasses.fields(command):
        found = getattr(command, item.name)
        if item.name in options and found != item.default:
            raise UsageError(
                f"bench --{item.name}: expected no such option {where}, found {found}. {why}; leave it out."
            )


def _estimate(command: Bench) -> None:
    """`bench --estimate`: how long a suite will take on this machine."""
    from seqeval_rl.benchmarks.speed import estimate_report
    from seqeval_rl.benchmarks.speed.estimate import estimate
    from seqeval_rl.benchmarks.suite import build_sweep
    from seqeval_rl.training.device import choose_device, matrix_products

    options = ("runs", "threads", "repeats", "evaluation", "backend")
    _refuse(command, options, "with --estimate", "The suite and the scheduler decide it")
    assert command.estimate is not None
    device = choose_device(command.device)
    sweep = build_sweep(command.estimate, command.mini, words(command.algorithms))
    with matrix_products(command.precision):
        report = estimate_report.as_report(estimate(sweep, device), sweep, device)
    _show(estimate_report.as_table(report), report, command)
