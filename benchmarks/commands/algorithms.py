"""`seqeval algorithms` and `seqeval check`: what is registered, and whether an algorithm keeps the contract."""

from __future__ import annotations

import dataclasses

from seqeval_rl.benchmarks.arguments.run import Algorithms, Check
from seqeval_rl.errors import SeqevalError
from seqeval_rl.interface.checks import check_algorithm
from seqeval_rl.interface.registry import find_algorithm, registered


def algorithms(_: Algorithms) -> None:
    """Print every setting with its default, as `--set` takes it: the protocol's with their meaning, then each algorithm's."""
    from seqeval_rl.protocol import Protocol
    from seqeval_rl.utils.text import show

    print("protocol: sequential evaluation")
    for name, field in Protocol.model_fields.items():
        print(f"    protocol.{name} = {show(field.default)}  # {field.description}")
    for name in sorted(registered()):
        entry = find_algorithm(name)
        print(f"{name}: {entry.summary}")
        for item in dataclasses.fields(entry.algorithm.Config):
            print(f"    {name}.{item.name} = {show(item.default)}")


def check(command: Check) -> None:
    """Print which contract checks an algorithm passes. Raises `SeqevalError` where it fails one."""
    entry = find_algorithm(command.algorithm, "check")
    results = check_algorithm(entry.algorithm)
    for result in results:
        print(f"{'ok  ' if result.passed else 'FAIL'} {result.name}: {result.detail}")
    broken = [result.name for result in results if not result.passed]
    if broken:
        raise SeqevalError(f"{command.algorithm}: {len(broken)} of {len(results)} checks failed: {', '.join(broken)}.")
