"""`check_algorithm`: whether an algorithm holds to the contract, for its author's own tests and for `seqeval check`.

Each check builds the algorithm anew with its default settings, as the harness would, and is explained by its docstring. That an
algorithm cannot use future data holds by construction: `Spec` and `Batch` contain neither the dataset's size nor the phase.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from seqeval_rl.interface.checks import methods, run_groups, toy_problem
from seqeval_rl.interface.checks.fixtures import CheckFailed

CHECKS: dict[str, Callable[[Any], str]] = {
    name.removeprefix("check_"): function
    for module in (methods, run_groups, toy_problem)
    for name, function in vars(module).items()
    if name.startswith("check_")
}
"""By name, functions of an algorithm class that return what they found or raise `CheckFailed`."""


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    passed: bool
    detail: str  # what was found; for a failed check also what was expected


def check_algorithm(algorithm: type) -> list[CheckResult]:
    """Runs every check of `CHECKS` on an algorithm class, vectorized or single-run, on the CPU; takes a few seconds.

    An exception inside the algorithm fails the check in which it is raised and is named in its detail. In a test suite:

        assert [result for result in check_algorithm(MyAlgorithm) if not result.passed] == []
    """
    results = []
    for name, check in CHECKS.items():
        try:
            results.append(CheckResult(name, True, check(algorithm)))
        except Exception as error:
            kind = "" if isinstance(error, CheckFailed) else f"{type(error).__name__}: "
            results.append(CheckResult(name, False, f"{kind}{error}"))
    return results
