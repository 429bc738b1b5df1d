"""Image observations: every frame is stored once, as bytes, and transitions refer to their stacks of frames by index.

Axes: F frames, N transitions, obs the shape of an observation: a frame's with `stack` times as many channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_COMPARED = 4096  # images compared at a time


@dataclass(frozen=True, eq=False)
class Pixels:
    """The images of a dataset.

    An observation is a stack of frames: the newest and those before it, oldest first, concatenated along the first axis of a
    frame. At the beginning of an episode its first frame is repeated.
    """

    frames: NDArray[np.uint8]  # [F, *frame]; may be a memory map
    # [N, 3]: the frames that are the first of the episode, the newest of the observation, and the newest of the next one
    index: NDArray[np.int64]
    stack: int = 1  # frames in an observation

    def __post_init__(self) -> None:
        for name in ("frames", "index"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        """N, the number of transitions."""
        return len(self.index)

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """The shape of an observation."""
        return (self.stack * self.frames.shape[1], *self.frames.shape[2:])

    def gather(self, rows: NDArray[np.int64], next_observations: bool) -> NDArray[np.uint8]:
        """The observations, or the next observations, of any array of rows: [*rows.shape, *obs]."""
        chosen = self.index[rows]
        newest = chosen[..., 2 if next_observations else 1]
        places = np.maximum(newest[..., None] - np.arange(self.stack)[::-1], chosen[..., :1])
        return np.asarray(self.frames[places]).reshape(*rows.shape, *self.obs_shape)

    def prefix(self, n: int) -> Pixels:
        """The first `n` transitions and the frames up to their last one, sharing memory."""
        index = self.index[:n]
        return Pixels(self.frames[: int(index.max()) + 1], index, self.stack)


class PixelView:
    """Observations [N, *obs] that are gathered when they are indexed: `view[3]`, `view[10:20]`, `view[[5, 1]]`, `view[mask]` and
    `np.asarray(view)` are numpy arrays of uint8."""

    dtype = np.dtype(np.uint8)

    def __init__(self, pixels: Pixels, next_observations: bool):
        """Of the observations, or of the next observations."""
        self._pixels, self._next_observations = pixels, next_observations
        self.shape: tuple[int, ...] = (len(pixels), *pixels.obs_shape)
        self.ndim, self.size = len(self.shape), int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        if rows is Ellipsis:  # it includes the axis of rows
            return np.asarray(self)[key]
        chosen = np.arange(len(self))[np.asarray(rows) if isinstance(rows, list) else rows]
        images = self._pixels.gather(np.asarray(chosen), self._next_observations)
        return np.asarray(images[(*[slice(None)] * np.ndim(chosen), *rest)])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("pixels are gathered from frames: they cannot become an array without a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __repr__(self) -> str:
        return f"PixelView(shape={self.shape}, dtype=uint8)"


def are_images(values: ArrayLike) -> bool:
    """True for observations that are stored as bytes: uint8 with two axes or more after that of transitions."""
    return isinstance(values, np.ndarray) and values.dtype == np.uint8 and values.ndim >= 3


def paired(observations: NDArray[np.uint8], next_observations: NDArray[np.uint8]) -> Pixels:
    """From an observation and a next observation for each row, both [N, *frame].

    A next observation that equals the observation of the next row is stored once.
    """
    length = len(observations)
    shared = np.zeros(length, bool)
    for start in range(0, length - 1, _COMPARED):
        stop = min(start + _COMPARED, length - 1)
        same = next_observations[start:stop] == observations[start + 1 : stop + 1]
        shared[start:stop] = same.reshape(stop - start, -1).all(1)
    # After the frame of an observation comes that of the next row, or that of its own next observation.
    place = np.arange(length) + np.cumsum(~shared) - ~shared
    frames = np.empty((length + np.count_nonzero(~shared), *observations.shape[1:]), np.uint8)
    frames[place] = observations
    frames[place[~shared] + 1] = next_observations[~shared]
    return Pixels(frames, np.stack([place, place, place + 1], 1))


def of_trails(frames: NDArray[np.uint8], lengths: NDArray[np.int64], stack: int = 1) -> Pixels:
    """From concatenated episodes of `lengths` [episodes] frames each, one more than their transitions."""
    ends = np.cumsum(lengths)
    newest = np.setdiff1d(np.arange(len(frames)), ends - 1)
    firsts = np.repeat(ends - lengths, lengths)[newest]
    return Pixels(frames, np.stack([firsts, newest, newest + 1], 1), stack)


def join(parts: Sequence[Pixels]) -> Pixels:
    """The concatenated images of datasets of one shape; of a single one its memory map."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.frames) for part in parts)])
    index = np.concatenate([part.index + start for part, start in zip(parts, starts, strict=False)])
    return Pixels(np.concatenate([part.frames for part in parts]), index, parts[0].stack)
