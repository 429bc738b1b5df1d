"""The contract checks for algorithms: `check_algorithm(MyAlgorithm)` in an author's own tests, or `seqeval check`.

Imports the other modules of `seqeval_rl.interface` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.interface.checks.contract import (
        CHECKS as CHECKS,
        CheckResult as CheckResult,
        check_algorithm as check_algorithm,
    )
    from seqeval_rl.interface.checks.fixtures import CheckFailed as CheckFailed

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {"CHECKS": "contract", "CheckResult": "contract", "check_algorithm": "contract", "CheckFailed": "fixtures"},
)
