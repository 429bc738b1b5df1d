"""In which order transitions arrive: a row index for each arrival position, from an array or computed when it is asked for.

An array of the indices of 100 000 000 transitions would take 0.8 GB for each run. The orders here take none: what they keep is
a few keys, an entry for each episode, or a byte for each transition of an interleaved stream.

Axes: N transitions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.protocol import Order
from seqeval_rl.seeding import numpy_generator

LARGEST_ARRAY = 10_000_000  # transitions of a stream up to which its order is an array
_PIECE = 65_536  # positions looked at together
_ROUNDS = 8  # of the Feistel network
_SEGMENT = 128  # positions of an interleaved stream between two counts of what came before


class ArrivalOrder(ABC):
    """Row indices [N] in order of arrival, computed where they are read; to be read like an array."""

    def __init__(self, length: int):
        self._length = length

    def __len__(self) -> int:
        return self._length

    @abstractmethod
    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row index of each of these arrival positions [n]."""

    def __getitem__(self, key: int | slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Row indices of a position, a slice or an array of positions, in its shape."""
        positions = np.asarray(np.arange(*key.indices(len(self))) if isinstance(key, slice) else key)
        return self.rows(positions.ravel()).reshape(positions.shape)

    def array(self) -> NDArray[np.int64]:
        """All of them, as an array."""
        pieces = [self[start : start + _PIECE] for start in range(0, len(self), _PIECE)]
        return np.concatenate([np.empty(0, np.int64), *pieces])


Arrival = NDArray[np.int64] | ArrivalOrder


class Logged(ArrivalOrder):
    """The dataset's own order."""

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `ArrivalOrder`."""
        return positions


class Episodes(ArrivalOrder):
    """Permuted episodes, each of them whole."""

    def __init__(self, starts: NDArray[np.int64], shuffled: NDArray[np.int64]):
        """Episodes begin at the rows `starts` [episodes + 1], the last of which is N, and arrive in the order `shuffled`."""
        super().__init__(int(starts[-1]))
        lengths = np.diff(starts)[shuffled]
        self._ends = np.cumsum(lengths)
        # Row = position + this: the episode's first row less the position at which it begins.
        self._offsets = starts[:-1][shuffled] - (self._ends - lengths)

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `ArrivalOrder`."""
        return positions + self._offsets[np.searchsorted(self._ends, positions, side="right")]


class Shuffled(ArrivalOrder):
    """A pseudo-random permutation without an array: a Feistel network on pairs of numbers below a and b, with a b >= N.

    In turn each number of the pair is increased, modulo a or b, by a hash of the other and of a key, so that every step can be
    undone. What comes out at N or above, which is less than b of the a b pairs, goes through again until it is below (cycle
    walking; Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
    """

    def __init__(self, length: int, keys: NDArray[np.uint64]):
        """Of N = `length` >= 1 rows; keys [rounds] are uniform 64-bit numbers."""
        super().__init__(length)
        b = math.isqrt(length - 1) + 1
        self._a, self._b, self._keys = np.uint64(-(-length // b)), np.uint64(b), keys

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `ArrivalOrder`."""
        found = self._permuted(positions.astype(np.uint64))
        while len(outside := np.flatnonzero(found >= len(self))):
            found[outside] = self._permuted(found[outside])
        return found.astype(np.int64)

    def _permuted(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """A permutation of the numbers below a b."""
        left, right = np.divmod(numbers, self._b)
        for number, key in enumerate(self._keys):
            if number % 2:
                right = _sum(right, _hash(left, key), self._b)
            else:
                left = _sum(left, _hash(right, key), self._a)
        return left * self._b + right


def _hash(numbers: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """32 pseudo-random bits of each number (the finalizer of MurmurHash3)."""
    mixed = numbers + key
    for factor in (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)):
        mixed ^= mixed >> np.uint64(33)
        mixed *= factor
    return mixed >> np.uint64(32)


def _sum(numbers: NDArray[np.uint64], bits: NDArray[np.uint64], below: np.uint64) -> NDArray[np.uint64]:
    """`numbers` plus a number below `below` that is made of 32 bits, modulo `below`."""
    total = numbers + ((bits * below) >> np.uint64(32))
    total -= below * (total >= below)
    return total


class Concatenated(ArrivalOrder):
    """Orders one after the other."""

    def __init__(self, parts: Sequence[tuple[Arrival, int]]):
        """Each part is an order of rows that are counted from the given first row."""
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(order) for order, _ in parts], dtype=np.int64)
        super().__init__(int(self._ends[-1]) if len(parts) else 0)

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `ArrivalOrder`."""
        if len(self._parts) == 1:
            return self._parts[0][0][positions] + self._parts[0][1]
        which = np.searchsorted(self._ends, positions, side="right")
        found = np.empty_like(positions)
        for number, (order, first) in enumerate(self._parts):
            inside = np.flatnonzero(which == number)
            if len(inside):
                found[inside] = order[positions[inside] - (self._ends[number] - len(order))] + first
        return found


class Interleaved(ArrivalOrder):
    """Several orders, mixed by a uniform permutation of which part each position belongs to; within a part the order stays."""

    def __init__(self, parts: Sequence[tuple[Arrival, int]], rng: np.random.Generator):
        """Parts as of `Concatenated`."""
        self._parts = tuple(parts)
        left = np.array([len(order) for order, _ in parts])
        super().__init__(int(left.sum()))
        numbers = np.arange(len(parts), dtype=np.min_scalar_type(len(parts)))
        # In segments; the last one is filled up, which no count reads.
        self._origins = np.zeros((-(-len(self) // _SEGMENT), _SEGMENT), numbers.dtype)
        flat = self._origins.ravel()[: len(self)]
        # A long permutation is slow, since it does not fit a core's cache: first how many of each part every piece has.
        step = _PIECE if len(self) > LARGEST_ARRAY else max(len(self), 1)
        for start in range(0, len(self), step):
            piece = flat[start : start + step]
            counts = left if len(piece) == left.sum() else rng.multivariate_hypergeometric(left, len(piece))
            piece[:] = rng.permutation(np.repeat(numbers, counts))
            left = left - counts
        inside = np.stack([(self._origins == part).sum(1) for part in range(len(parts))], axis=1)
        self._before = np.cumsum(inside, axis=0) - inside  # [segments, parts], positions of each part before a segment

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `ArrivalOrder`."""
        found = np.empty_like(positions)
        for start in range(0, len(positions), _PIECE):
            piece = positions[start : start + _PIECE]
            segments, inside = np.divmod(piece, _SEGMENT)
            around = self._origins[segments]
            origins = around[np.arange(len(piece)), inside]
            earlier = (around == origins[:, None]) & (np.arange(_SEGMENT) < inside[:, None])
            places = self._before[segments, origins] + earlier.sum(1)
            for number, (order, first) in enumerate(self._parts):
                chosen = np.flatnonzero(origins == number)
                found[start + chosen] = order[places[chosen]] + first
        return found


def arrange(
    length: int, episode_starts: NDArray[np.int64], order: Order, seed: int, block: int = 0, large: bool = False
) -> Arrival:
    """One dataset's rows [length] in order of arrival.

    `shuffled` permutes transitions, `episodes` permutes complete episodes, `logged` keeps the dataset's order.

    Args:
        length: transitions in the dataset.
        episode_starts: first row of each episode, and `length` at the end, [episodes + 1].
        order: one of the three.
        seed: of the run.
        block: its number in the stream, so that equal datasets in one stream are shuffled differently.
        large: without an array; `shuffled` is another permutation then, the others are the same.
    """
    rng = numpy_generator(seed, "arrival", block)
    if order == "shuffled":
        if not large:
            return rng.permutation(np.arange(length, dtype=np.int64))
        return Shuffled(length, rng.integers(0, 2**64, _ROUNDS, np.uint64))
    found = Logged(length) if order == "logged" else Episodes(episode_starts, rng.permutation(len(episode_starts) - 1))
    return found if large else found.array()
