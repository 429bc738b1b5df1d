"""Random generators seeded by (seed, purpose): purposes never share a stream, and none depends on the order of calls."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def numpy_generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A generator that depends on (seed, purpose, index) alone.

    Args:
        seed: of the run, ≥ 0.
        purpose: for example "arrival" or "batches".
        index: counters within the purpose, for example the number of a chunk of gradient steps.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *index])


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    """A generator on the CPU that depends on (seed, purpose) alone, the same on every machine."""
    import torch  # here, since most importers of this module do not need torch

    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
