"""Whether the Triton kernels are used."""

from __future__ import annotations

import functools
import importlib.util
import logging

import torch

DEVICES = ("cuda",)
"""Kinds of devices that have Triton; a count of kernels without a GPU adds to them."""

_log = logging.getLogger("seqeval_rl")


@functools.cache
def _installed() -> bool:
    found = importlib.util.find_spec("triton") is not None
    if not found:
        _log.warning("Triton is not installed: torch's own CUDA kernels are used, which take about twice as long")
    return found


def uses_triton(device: torch.device) -> bool:
    """On CUDA where Triton is installed, as with torch for Linux; a warning tells once where it is not."""
    if device.type not in DEVICES:
        return False
    return (device.type != "cuda" or torch.version.cuda is not None) and _installed()
