"""`check_algorithm`: whether an algorithm holds to the contract, for its author's own tests and for `seqeval check`.

Each check builds the algorithm anew with its default settings, as the harness would, and is explained by its docstring. That an
algorithm cannot use future data holds by construction: `Spec` and `Batch` contain neither the dataset's size nor the phase.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from seqeval_rl.interface.checks import methods, run_groups, toy_problem
from seqeval_rl.interface.checks.fixtures import SEEDS, CheckFailed
from seqeval_rl.interface.returns import WrongReturn
from seqeval_rl.utils.text import one_line
from seqeval_rl.utils.tracebacks import placed

CHECKS: dict[str, Callable[[Any], str]] = {
    name.removeprefix("check_"): function
    for module in (methods, run_groups, toy_problem)
    for name, function in vars(module).items()
    if name.startswith("check_")
}
"""By name, functions of an algorithm class that return what they found or raise `CheckFailed`."""

_BATCHED = "seqeval_rl.networks.modules", "seqeval_rl.networks.batched_mlp", "seqeval_rl.interface.state"
LIMIT = 50.0  # seconds for all checks; those that would take longer are not made


class _Updates(NamedTuple):
    """How many updates a check takes: of run groups and of single runs, each per period and besides."""

    groups_per_period: int = 0
    groups: int = 0
    singles_per_period: int = 0
    singles: int = 0

    def calls(self, algorithm: Any) -> int:
        """Calls of the algorithm's own `update`: one for a run group of a vectorized algorithm, else one for each of its runs."""
        period = int(getattr(algorithm, "period", 1))
        runs = 1 if getattr(algorithm, "vectorized", False) else len(SEEDS)
        groups = self.groups_per_period * period + self.groups
        return runs * groups + self.singles_per_period * period + self.singles


_UPDATES = {
    "metrics": _Updates(2, 1),
    "act": _Updates(1),
    "inputs": _Updates(1),
    "randomness": _Updates(2),
    "capture": _Updates(2),
    "hooks": _Updates(1, 1),
    "resume": _Updates(6, 3),
    "isolation": _Updates(4),
    "group": _Updates(5, 0, 10),
    "sweep": _Updates(5, 0, 10),
    "state": _Updates(1, 1),
    "learning": _Updates(singles=toy_problem.UPDATES),
}


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    passed: bool  # or not made for want of time
    detail: str  # what was found; for a failed check also what was expected
    made: bool = True  # False: not made, the detail says why


def check_algorithm(algorithm: type, seconds: float = LIMIT) -> list[CheckResult]:
    """Runs every check of `CHECKS` on an algorithm class, vectorized or single-run, on the CPU; takes a few seconds.

    An exception inside the algorithm fails the check in which it is raised; its detail has the algorithm's file and line. A fault
    is named once: checks that meet it again are not made. In a test suite:

        assert [result for result in check_algorithm(MyAlgorithm) if not result.passed] == []

    Args:
        algorithm: the class.
        seconds: for all checks. One that would not be over by then, at the seconds that updates have taken so far, is not made.
    """
    return list(iterate_checks(algorithm, seconds))


def iterate_checks(
    algorithm: type, seconds: float = LIMIT, progress: Callable[[str, float | None], None] = lambda *_: None
) -> Iterator[CheckResult]:
    """As `check_algorithm`, each result as soon as it is there.

    Args:
        algorithm: the class.
        seconds: as in `check_algorithm`.
        progress: takes the name of the running check and the seconds that are left, None while they are unknown, at every update.
    """
    clock = _Clock(seconds, {name: _UPDATES.get(name, _Updates()).calls(algorithm) for name in CHECKS}, progress)
    counted = _counted(algorithm, clock.count)
    faults: dict[Any, str] = {}  # by fault, the check that has found it
    for name, check in CHECKS.items():
        updates, fits = clock.begin(name)
        if "config" in faults.values():
            yield CheckResult(name, False, "Config must be correct first", made=False)
        elif not fits:
            why = f"{updates} updates at {clock.pace:.2g} s would take longer than {seconds:g} s for all checks allow"
            yield CheckResult(name, True, f"{why}; in Python check_algorithm(..., seconds=...) sets them", made=False)
        else:
            yield _result(name, check, counted, faults)


class _Clock:
    """Counts the updates that the checks take, and estimates the seconds that are left."""

    def __init__(self, seconds: float, updates: dict[str, int], progress: Callable[[str, float | None], None]):
        """For checks that take so many `updates`, by name in their order, and have so many `seconds` together."""
        self._seconds, self._updates, self._progress = seconds, updates, progress
        self._started = time.monotonic()
        self._first: float | None = None  # when the first update was over: in it, libraries initialize themselves
        self._taken, self._of_check = 0, 0  # updates in all, and since the running check began
        self._name = ""
        self.pace = 0.0  # seconds for an update

    def begin(self, name: str) -> tuple[int, bool]:
        """A check begins: how many updates it takes, and whether there is time for it."""
        self._name, self._of_check = name, 0
        self._report()
        return self._updates[name], self._spent() + self.pace * self._updates[name] <= self._seconds

    def count(self) -> None:
        """An update begins."""
        now = time.monotonic()
        if self._taken == 1:
            self._first = now
        elif self._first is not None:
            self.pace = (now - self._first) / (self._taken - 1)
        self._taken += 1
        self._of_check += 1
        self._report()

    def _spent(self) -> float:
        return time.monotonic() - self._started

    def _report(self) -> None:
        """Report the running check, and the seconds left: for it, and for those after it that there is time for."""
        names = list(self._updates)
        spent = end = self._spent()
        for name in names[names.index(self._name) :]:
            needed = self.pace * max(0, self._updates[name] - (self._of_check if name == self._name else 0))
            end += needed if end + needed <= self._seconds else 0.0
        self._progress(self._name, end - spent if self.pace else None)


def _result(name: str, check: Callable[[Any], str], algorithm: Any, faults: dict[Any, str]) -> CheckResult:
    """The outcome of one check, whose fault is added to `faults`."""
    try:
        return CheckResult(name, True, check(algorithm))
    except CheckFailed as error:
        fault, detail = str(error), str(error)
    except WrongReturn as error:
        fault, detail = str(error.fault), str(error)
    except (Exception, SystemExit) as error:
        fault = re.sub("[0-9]+", "", one_line(error))  # of several shapes
        detail = placed(error, algorithm.__module__) + _undeclared(algorithm)
    earlier = faults.setdefault(fault, name)
    if earlier != name:
        return CheckResult(name, False, f"meets the fault that {earlier} has found", made=False)
    return CheckResult(name, False, detail)


def _undeclared(algorithm: Any) -> str:
    """A hint for an algorithm that uses networks with a run axis, and does not say whether it is vectorized."""
    names = vars(sys.modules[algorithm.__module__]).values() if algorithm.__module__ in sys.modules else ()
    batched = any(getattr(value, "__module__", "") in _BATCHED for value in (*names, *algorithm.__mro__))
    if hasattr(algorithm, "vectorized") or not batched:
        return ""
    return ". It sees one run at a time, [B, ...], since vectorized = False is the default; networks with a run axis need True"


def _counted(algorithm: type, count: Callable[[], None]) -> Any:
    """The algorithm, with an `update` that also calls `count`."""
    original: Any = algorithm

    @functools.wraps(original.update)
    def update(self: Any, batch: Any) -> Any:
        count()
        return original.update(self, batch)

    names = {"update": update, "__module__": algorithm.__module__, "__doc__": algorithm.__doc__}
    made = types.new_class(algorithm.__name__, (algorithm,), exec_body=lambda body: body.update(names))
    made.__qualname__ = algorithm.__qualname__
    return made
