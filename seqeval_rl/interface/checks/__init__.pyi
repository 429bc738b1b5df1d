from .contract import (
    CHECKS as CHECKS,
    CheckResult as CheckResult,
    check_algorithm as check_algorithm,
    iterate_checks as iterate_checks,
)
from .fixtures import CheckFailed as CheckFailed
