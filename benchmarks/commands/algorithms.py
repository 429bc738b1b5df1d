"""`seqeval algorithms` and `seqeval check`: what is registered, and whether an algorithm keeps the contract."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import time

from seqeval_rl.benchmarks.arguments.run import Algorithms, Check
from seqeval_rl.errors import SeqevalError
from seqeval_rl.interface.checks import iterate_checks
from seqeval_rl.interface.registry import find_algorithm, find_registered, registered
from seqeval_rl.utils.console import say
from seqeval_rl.utils.text import duration, show


def algorithms(_: Algorithms) -> None:
    """Print every algorithm with its settings, their defaults as `--set` takes them, and their meanings."""
    found, broken = find_registered()
    for entry in found:
        say(f"{entry.name}: {entry.summary}")
        meanings = _meanings(entry.algorithm.Config)
        for item in dataclasses.fields(entry.algorithm.Config):
            default = item.default_factory() if callable(item.default_factory) else item.default
            value = show(default) if default is not dataclasses.MISSING else "no default"
            meaning = f"  # {meanings[item.name]}" if item.name in meanings else ""
            say(f"    {entry.name}.{item.name} = {value}{meaning}")
    values = registered()
    for name, reason in broken.items():
        say(f"{name}: broken (entry point {values[name]}): {reason.removeprefix(f'{name}: ')}")


def _meanings(config: type) -> dict[str, str]:
    """The comments at the fields of a config, its base classes' included; none where there is no source."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__[:-1]):
        try:
            lines = textwrap.dedent(inspect.getsource(base)).splitlines()
        except (OSError, TypeError):
            continue
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                comments = [line.partition("  # ")[2] for line in lines[node.lineno - 1 : node.end_lineno]]
                if any(comments):
                    found[node.target.id] = " ".join(filter(None, comments))
    return found


def check(command: Check) -> None:
    """Print which contract checks an algorithm passes, each as soon as it is made. Raises `SeqevalError` where it fails one."""
    entry = find_algorithm(command.algorithm, "check")
    results = []
    status = _Status()
    for result in iterate_checks(entry.algorithm, progress=status.show):
        results.append(result)
        status.clear()
        word = "skip" if not result.made else "ok  " if result.passed else "FAIL"
        say(f"{word} {result.name}: {result.detail}", flush=True)
    failed = [result.name for result in results if result.made and not result.passed]
    if failed:
        skipped = sum(not result.made for result in results)
        rest = f"; {skipped} were not made" if skipped else ""
        raise SeqevalError(
            f"{command.algorithm}: {len(failed)} of {len(results)} checks failed: {', '.join(failed)}{rest}."
        )


class _Status:
    """The running check and the time left on standard error: on a terminal in its last line, elsewhere every ten seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._shown = time.monotonic()

    def show(self, name: str, left: float | None) -> None:
        """Show them, unless it is too soon."""
        if sys.stderr is None or left is None or time.monotonic() - self._shown < (0.2 if self._terminal else 10.0):
            return
        self._shown = time.monotonic()
        text = f"check: {name}, about {duration(left)} left"
        print(
            f"\r{text}\x1b[K" if self._terminal else text,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def clear(self) -> None:
        """Make room for a line on the terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
