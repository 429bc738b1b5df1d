"""Compiles small functions of tensors for CUDA, where each operation would be a kernel of its own."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger("seqeval_rl")
instead: Callable[..., Any] | None = None
"""Called with each fused function and its arguments, where set: to count kernels without a GPU."""

_SHAPES = 256  # of its arguments that one function may be compiled for in a process


def _on_cuda(*values: object) -> bool:
    return any(isinstance(value, Tensor) and value.is_cuda for value in values)


def fused(function: Callable[P, T]) -> Callable[P, T]:
    """A pure function of tensors, such as a loss given networks' outputs, that `torch.compile` turns into few kernels on CUDA.

    On a CPU it is the function itself. Where it cannot be compiled (no C compiler, say) a warning tells once, and the function
    itself is called. What is computed in it may be rounded differently when compiled.
    """
    compiled: Callable[..., Any] | None = None
    failed = False

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal compiled, failed
        if instead is not None:
            return instead(function, *args, **kwargs)  # type: ignore[no-any-return]
        if failed or not _on_cuda(*args, *kwargs.values()):
            return function(*args, **kwargs)
        if compiled is None:
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _SHAPES)
            compiled = torch.compile(function, dynamic=False)
        try:
            return compiled(*args, **kwargs)
        except Exception as error:
            if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
                raise
            result = function(*args, **kwargs)  # raises what is the caller's own fault
            failed = True
            _log.warning(
                "torch.compile fails (%s): %s runs one operation after the other",
                (str(error).splitlines() or [type(error).__name__])[0],
                function.__qualname__,
            )
            return result

    return call
