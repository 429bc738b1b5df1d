from .contract import CHECKS as CHECKS, CheckResult as CheckResult, check_algorithm as check_algorithm
from .fixtures import CheckFailed as CheckFailed
