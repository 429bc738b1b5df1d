"""What an environment returns, checked before a vector environment stores it, and failures of single copies."""

from __future__ import annotations

import textwrap
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.errors import RunError
from seqeval_rl.utils.text import one_line
from seqeval_rl.utils.tracebacks import raised_at

T = TypeVar("T")
RESET, STEP = ("observation", "info"), ("observation", "reward", "terminated", "truncated", "info")
_LONGEST = 120  # characters of a value in a message


class EnvironmentFailure(NamedTuple):
    """Why a copy of an environment cannot be used any more."""

    message: str  # one line that names the environment
    traceback: str  # empty where nothing was raised


class EnvironmentFailedError(RunError):
    """Copies of an environment raised, or returned what cannot be used; the other copies are not affected."""

    def __init__(self, failures: Mapping[int, EnvironmentFailure], result: Any):
        """`failures` by the copies' indices; `result` is what the call would have returned, with zeros for these copies."""
        super().__init__(next(iter(failures.values())).message)
        self.failures, self.result = failures, result


def attempt(call: Callable[[], T]) -> tuple[T, Mapping[int, EnvironmentFailure]]:
    """What a call of a vector environment returns, and which copies have failed in it."""
    try:
        return call(), {}
    except EnvironmentFailedError as error:
        return error.result, error.failures


class UnusableValueError(ValueError):
    """An environment returned what is not of the form that gymnasium defines."""


def failure(spec: Any, error: BaseException) -> EnvironmentFailure:
    """The failure of a copy of gymnasium's `EnvSpec` whose own code raised this error, or whose result was refused with it."""
    cause = str(error)
    if not isinstance(error, UnusableValueError):
        place = raised_at(error, spec.entry_point.partition(":")[0] if isinstance(spec.entry_point, str) else "")
        if not place and "unpack" in str(error):  # by a wrapper of gymnasium, which takes the results apart
            place = f"reset returns {_tuple(RESET)}, step {_tuple(STEP)}"
        cause = f"{one_line(error)}{place and f' ({place})'}"
    return EnvironmentFailure(f"environment {spec.id!r}: {cause}", "".join(traceback.format_exception(error)))


def parts(call: str, value: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """What `reset` or `step` returned, a tuple of so many parts; raises `UnusableValueError` for anything else."""
    if not isinstance(value, tuple) or len(value) != len(names):
        raise _refused(call, _tuple(names), value)
    return value


def _tuple(names: tuple[str, ...]) -> str:
    return f"({', '.join(names)})"


def number(call: str, name: str, value: Any) -> float:
    """A scalar, or an array of one number; raises `UnusableValueError` for anything else."""
    if isinstance(value, float):  # np.float64 too
        return value
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "biuf":
        raise _refused(call, f"one number as {name}", value)
    return float(found.item())


def flag(call: str, name: str, value: Any) -> bool:
    """True or False, as a scalar or an array of one; raises `UnusableValueError` for anything else."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "biuf" or found.item() not in (0, 1):
        raise _refused(call, f"True or False as {name}", value)
    return bool(found.item())


def observation(call: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An observation of the space's shape; axes of length 1 may be missing or added.

    Raises `UnusableValueError` for another shape, and for numbers that the space's dtype cannot hold.
    """
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype:
        return value
    try:
        found = np.asarray(value)
    except ValueError:  # a ragged list
        found = np.empty(0, np.object_)
    if found.dtype.kind not in "biuf" or _without_ones(found.shape) != _without_ones(shape):
        raise _refused(call, f"an observation of shape {shape}", value)
    if not np.can_cast(found.dtype, dtype, "same_kind") and not np.array_equal(found.astype(dtype), found):
        raise _refused(call, f"an observation of {dtype}", value)
    return found.reshape(shape)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


def _refused(call: str, expected: str, value: Any) -> UnusableValueError:
    described = textwrap.shorten(repr(value), _LONGEST, placeholder=" …")
    kind = f"{type(value).__name__} of shape {np.shape(value)}" if isinstance(value, np.ndarray) else ""
    return UnusableValueError(f"expected {expected} from {call}, found {kind}{kind and ', '}{described}")
