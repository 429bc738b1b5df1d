"""Chooses the device, and the precision of float32 matrix products."""

from __future__ import annotations

import gc
import os
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


def release_memory(device: torch.device | str) -> None:
    """Give back what nothing refers to any more, also to other processes that use the device."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()


def torch_threads(count: int) -> AbstractContextManager[None]:
    """Inside the block, torch computes with that many threads on the CPU."""
    return temporarily(torch.set_num_threads, count, torch.get_num_threads())


def choose_device(device: str) -> torch.device:
    """The device of `auto` (CUDA where available), `cpu`, `cuda` or `cuda:1`; of several, the first. Raises `UsageError`."""
    return choose_devices(device)[0]


def choose_devices(device: str) -> tuple[torch.device, ...]:
    """The devices of `auto` (CUDA where available), `cpu`, `cuda` (every visible device), `cuda:1` or `cuda:0,2`.

    Raises:
        UsageError: another name, a device twice, or one that is not there.
    """
    kind, colon, numbers = device.partition(":")
    chosen = [number.strip() for number in numbers.split(",")] if colon else []
    known = kind == "cuda" or (kind in ("auto", "cpu") and not colon)
    if not known or not all(number.isascii() and number.isdecimal() for number in chosen):
        raise UsageError(f"--device {device}: expected auto, cpu, cuda, cuda:1 or cuda:0,2. Choose one of these.")
    count = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cuda" and not count:
        raise UsageError(f"--device {device}: expected a CUDA device, found none. Use --device cpu.")
    indices = [int(number) for number in chosen] or list(range(count))
    if colon and (max(indices) >= count or len(set(indices)) < len(indices)):
        there = f"0 to {count - 1}" if count > 1 else "0"
        raise UsageError(
            f"--device {device}: expected different CUDA devices of {there}. Choose of these, or --device cuda."
        )
    if not count:
        return (torch.device("cpu"),)
    # One that is there alone needs no number.
    return tuple(torch.device("cuda", index) for index in indices) if count > 1 else (torch.device("cuda"),)


def only_visible(device: str) -> str:
    """Hide all other CUDA devices from this process, which has not used CUDA yet, and from those that it starts.

    Returns the name that the device has from then on. What goes by torch's current device (graphs, streams, a plug-in) is right.
    """
    chosen = torch.device(device)
    if chosen.type == "cuda" and chosen.index is not None:
        visible = [part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[chosen.index] if visible else str(chosen.index)
    return chosen.type
