"""Keeps what a plug-in changes of its process (modes of torch, random generators, the working directory) from later runs."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def isolated(device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside of this block torch computes as in a fresh process: with gradients, in float32, on the CPU unless told otherwise.

    Afterwards all is as before: torch's modes, threads and random generators (of CUDA where that is the `device`), numpy's and
    Python's generators, numpy's reactions to floating-point errors, and the working directory.
    """
    # Each with what it is inside of the block.
    grad: Callable[[bool], Any] = torch.set_grad_enabled
    modes: list[tuple[Callable[[Any], Any], Any, Any]] = [
        (grad, torch.is_grad_enabled(), True),
        (torch.set_default_dtype, torch.get_default_dtype(), torch.float32),
        (torch.set_default_device, _default_device(), None),
        (torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled(), False),
        (torch.set_deterministic_debug_mode, mode := torch.get_deterministic_debug_mode(), mode),
        (torch.set_float32_matmul_precision, precision := torch.get_float32_matmul_precision(), precision),
        (torch.set_num_threads, threads := torch.get_num_threads(), threads),
    ]
    generators, directory = (random.getstate(), np.random.get_state()), os.getcwd()  # noqa: NPY002
    cuda = [device] if torch.device(device).type == "cuda" and torch.cuda.is_available() else []
    with torch.random.fork_rng(cuda), np.errstate():
        try:
            for set_mode, _, inside in modes:
                set_mode(inside)
            yield
        finally:
            for set_mode, before, _ in modes:
                set_mode(before)
            random.setstate(generators[0])
            np.random.set_state(generators[1])  # noqa: NPY002
            with contextlib.suppress(OSError):  # deleted meanwhile
                os.chdir(directory)


def _default_device() -> torch.device | None:
    """Torch's default device; None where none was set."""
    device = torch.empty(0).device  # torch 2.9's get_default_device raises after set_default_device(None)
    return None if device.type == "cpu" else device
