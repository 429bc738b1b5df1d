"""Chooses the device, and the precision of float32 matrix products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch

from seqeval_rl.errors import UsageError

Precision = Literal["float32", "tf32", "bfloat16"]
_TORCH = {"float32": "highest", "tf32": "high", "bfloat16": "medium"}


@contextmanager
def temporarily(set_value: Callable[[Any], None], value: Any, before: Any) -> Iterator[None]:
    """Set a global setting, and set it back to `before` at the end of the block."""
    set_value(value)
    try:
        yield
    finally:
        set_value(before)


def matrix_products(precision: Precision) -> AbstractContextManager[None]:
    """Inside the block, torch computes float32 matrix products in that precision; numbers stay float32 in memory.

    float32: all 24 bits of the mantissa. tf32: factors are rounded to 11 bits on CUDA devices that support it. bfloat16: they
    may be rounded to 8 bits, where the processor and oneDNN do so; on CUDA as tf32. Sums are float32 in each. A device without
    support uses a more exact precision. On a CPU bfloat16 may still be faster, because torch then uses oneDNN instead of MKL.

    torch 2.13's `bmm(..., out=...)` writes wrong numbers into an `out` that is not contiguous at bfloat16 on a CPU; nothing
    here does that, and a plug-in must not.
    """
    set_precision = torch.set_float32_matmul_precision
    return temporarily(set_precision, _TORCH[precision], torch.get_float32_matmul_precision())


def torch_threads(count: int) -> AbstractContextManager[None]:
    """Inside the block, torch computes with that many threads on the CPU."""
    return temporarily(torch.set_num_threads, count, torch.get_num_threads())


def choose_device(device: str) -> torch.device:
    """The device of `auto` (CUDA where available), `cpu` or `cuda`.

    Raises:
        UsageError: another name, or CUDA where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: expected auto, cpu or cuda. Choose one of these.")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: expected a CUDA device, found none. Use --device cpu.")
    return torch.device(device)
