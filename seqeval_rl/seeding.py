"""Random generators named by what they are for, so that no two purposes share a stream and none depends on call order."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A generator that depends on (seed, purpose, index) alone.

    Args:
        seed: of the run, ≥ 0.
        purpose: for example "arrival" or "batches".
        index: counters within the purpose, for example the number of a chunk of gradient steps.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *index])
