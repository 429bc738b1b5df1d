"""`seqeval bench`: measures updates or environment steps per second, shows an update's kernels, or estimates a suite's time."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from seqeval_rl.benchmarks.arguments.parsing import numbers, single_settings, words
from seqeval_rl.benchmarks.arguments.run import Bench
from seqeval_rl.benchmarks.speed import budget, estimate, evaluation, large, launches, profiling, updates
from seqeval_rl.benchmarks.suite import build_sweep
from seqeval_rl.environments.tasks import task_named
from seqeval_rl.errors import UsageError
from seqeval_rl.interface.registry import find_algorithm, find_registered
from seqeval_rl.training.device import choose_device, matrix_products

_log = logging.getLogger(__name__)


def bench(command: Bench) -> None:
    """Measure, print a table and save it. Raises `SeqevalError`."""
    names = words(command.algorithms)
    if names == []:
        raise UsageError("--algorithms: expected at least one name, found none.")
    if command.estimate is not None:
        _estimate(command)
        return
    if command.budget is not None:
        _budget(command)
        return
    if command.transitions is not None:
        _bench_large(command, names)
        return
    if command.mini:
        raise UsageError(
            "bench --mini: expected --estimate SUITE or --budget SUITE with it, found none. Name a suite or leave it out."
        )
    if command.evaluation is None:
        _refuse(
            command, ("backend",), "without --evaluation", "It chooses what steps the environments of an evaluation"
        )
    else:
        options = ("device", "precision", "profile", "set")
        why = "The policy acts on one core in float32, with default settings"
        _refuse(command, options, "with --evaluation", why)
    if command.launches:
        measuring = ("device", "threads", "repeats", "precision", "evaluation", "backend", "profile")
        _refuse(command, measuring, "with --launches", "Nothing is measured")
    if command.profile:
        _refuse(command, ("repeats",), "with --profile", "Every update of one measurement is shown")
    device = choose_device(command.device)
    sizes = _sizes(command, budget.RUNS if command.launches else updates.RUNS[device.type])
    if command.evaluation is not None:
        _bench_evaluation(command, names, sizes if command.runs else [1, 5])
        return
    if names is None:
        entries, broken = find_registered()
        for name, reason in broken.items():
            _log.warning("algorithm %s cannot be measured: %s", name, reason)
    else:
        entries = [find_algorithm(name) for name in names]
    given = single_settings(command.set, [entry.name for entry in entries], "Measure one after the other.")
    for entry in entries:  # before anything is measured
        entry.configure(given[entry.name], "--set")
    settings = {name: own for name, own in given.items() if own}
    with matrix_products(command.precision):
        if command.launches:
            report = launches.count(entries, sizes, settings)
            table = launches.as_table(report)
        elif command.profile:
            report = profiling.profile(entries, sizes, device, command.threads, settings=settings)
            table = profiling.as_table(report)
        else:
            report = updates.bench(entries, sizes, device, command.threads, command.repeats, settings=settings)
            table = updates.as_table(report)
    _show(table, report, command)


def _sizes(command: Bench, default: Sequence[int]) -> list[int]:
    """The numbers of runs; `UsageError` for one of them, or another number, that is too small."""
    sizes = numbers(command.runs, "--runs") or list(default)
    for option, least, found in (
        ("runs", 1, min(sizes)),
        ("repeats", 1, command.repeats),
        ("threads", 0, command.threads),
    ):
        if found < least:
            raise UsageError(f"bench --{option}: expected whole numbers from {least}, found {found}. Correct it.")
    return sizes


def _bench_evaluation(command: Bench, names: list[str] | None, sizes: list[int]) -> None:
    """`bench --evaluation`: environment steps per second."""
    if names is not None and len(names) > 1:
        raise UsageError(f"--algorithms: expected one name with --evaluation, found {len(names)}. Choose one policy.")
    tasks = [task_named(name, "--evaluation") for name in words(command.evaluation) or []]
    if not tasks:
        raise UsageError("--evaluation: expected at least one task, found none.")
    entry = find_algorithm((names or ["td3_bc"])[0])
    report = evaluation.bench_evaluation(entry, tasks, sizes, command.backend, command.threads, command.repeats)
    _show(evaluation.as_table(report), report, command)


def _bench_large(command: Bench, names: list[str] | None) -> None:
    """`bench --transitions`: training on a dataset larger than memory."""
    assert command.transitions is not None
    options = ("runs", "precision", "evaluation", "backend", "profile", "launches", "mini", "set")
    _refuse(command, options, "with --transitions", "One run is trained, as it is by default")
    if names is not None and len(names) > 1:
        raise UsageError(f"--algorithms: expected one name with --transitions, found {len(names)}. Choose one.")
    least = 2 * large.EPISODE
    if command.transitions < least:
        raise UsageError(
            f"bench --transitions: expected whole numbers from {least}, found {command.transitions}. Correct it."
        )
    _sizes(command, [1])
    entry, device = find_algorithm((names or ["td3_bc"])[0]), choose_device(command.device)
    report = large.bench_large(entry, command.transitions, device, command.threads, command.repeats)
    _show(large.as_table(report), report, command)


def _show(table: str, report: dict[str, Any], command: Bench) -> None:
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
    options = (
        "runs", "threads", "repeats", "evaluation", "backend", "profile", "launches", "budget", "transitions", "set",
    )  # fmt: skip
    _refuse(command, options, "with --estimate", "The suite and the scheduler decide it")
    assert command.estimate is not None
    device = choose_device(command.device)
    sweep = build_sweep(command.estimate, command.mini, words(command.algorithms))
    with matrix_products(command.precision):
        report = estimate.as_report(estimate.estimate(sweep, device), sweep, device)
    _show(estimate.as_table(report), report, command)


def _budget(command: Bench) -> None:
    """`bench --budget`: what a suite should cost on an H100."""
    options = ("device", "repeats", "evaluation", "backend", "profile", "launches", "transitions", "set")
    _refuse(command, options, "with --budget", "The suite decides it, and nothing is measured")
    assert command.budget is not None
    sizes = _sizes(command, budget.RUNS)
    sweep = build_sweep(command.budget, command.mini, words(command.algorithms))
    machine = budget.Machine(cores=command.threads) if command.threads else budget.Machine()
    report = budget.budget(sweep, sizes, machine, command.precision)
    _show(budget.as_table(report), report, command)
