"""The images of an online phase, each stored once, as bytes, after those of the datasets.

Axes: R runs, M transitions of the phase, obs the shape of an observation, a stack of images along its first axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.data.images import Pixels
from seqeval_rl.interface.state import RUNS

_PIECE = 4096  # rows that are copied together


class OnlineImages:
    """The images that R runs' environments return, in the order in which they do; see `Pixels` for what is stored.

    A run has room for two images of each of its M transitions and one more: were each an episode of its own, both would be new.
    On a CPU only what is used takes memory.
    """

    def __init__(self, pixels: Pixels, places: Sequence[NDArray[np.int64]], device: torch.device):
        """For transitions whose indices in `index` are `places` [R][M], on a device that gets all images.

        `pixels` has the datasets' images, and an `index` for their transitions, which come before the others.
        """
        runs, self.stack = len(places), pixels.stack
        self._places, self._room = places, 2 * len(places[0]) + 1
        count, known = len(pixels.frames), len(pixels)
        self.frames = torch.empty(
            (count + runs * self._room, *pixels.frames.shape[1:]), dtype=torch.uint8, device=device
        )
        self.index = torch.zeros((known + sum(map(len, places)), 3), dtype=torch.int64, device=device)
        for target, values in ((self.frames[:count], pixels.frames), (self.index[:known], pixels.index)):
            for start in range(0, len(values), _PIECE):  # which may be a memory map
                piece = np.array(values[start : start + _PIECE])
                target[start : start + len(piece)] = torch.from_numpy(piece).to(device)
        self._channels = self.frames.shape[1]
        self._base = count + np.arange(runs) * self._room  # first image of each run
        # Of each run: images, transitions, and the images that are the first and the newest of the running episode.
        self._images, self._transitions, self._first, self._newest = np.zeros((4, runs), np.int64)

    def add(self, r: int, observation: NDArray[np.uint8], begins: bool = False) -> bool:
        """The observation [*obs] that run r's next transition leads to, or that an episode begins with.

        Returns whether it is what it should be: the stack of the newest images, at the beginning of one image.
        """
        image = observation[-self._channels :]
        before, after = int(self._newest[r]), int(self._base[r] + self._images[r])
        older = np.concatenate([image] * self.stack) if begins else self.newest(r)
        self.frames[after] = torch.from_numpy(image.copy()).to(self.frames.device)
        self._images[r] += 1
        self._newest[r] = after
        if begins:
            self._first[r] = after
        else:
            place = int(self._places[r][self._transitions[r]])
            self.index[place] = torch.tensor([self._first[r], before, after])
            self._transitions[r] += 1
        return np.array_equal(observation[: -self._channels], older[self._channels :])

    def newest(self, r: int) -> NDArray[np.uint8]:
        """The observation [*obs] that run r acts on."""
        images = np.maximum(self._newest[r] - np.arange(self.stack)[::-1], self._first[r])
        found: NDArray[np.uint8] = (
            self.frames[torch.from_numpy(images).to(self.frames.device)].flatten(0, 1).cpu().numpy()
        )
        return found

    def state_dict(self) -> dict[str, Any]:
        """The images of each run, and where its transitions have theirs."""
        return {RUNS: [self._state(r) for r in range(len(self._places))]}

    def _state(self, r: int) -> dict[str, Any]:
        base, images = int(self._base[r]), int(self._images[r])
        places = torch.from_numpy(self._places[r][: self._transitions[r]])
        return {
            "frames": self.frames[base : base + images].cpu().clone(),  # else the whole tensor would be saved with it
            "index": self.index[places.to(self.index.device)].cpu() - base,
            "first": int(self._first[r]) - base,
            "newest": int(self._newest[r]) - base,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for r, run in enumerate(state[RUNS]):
            base, count = int(self._base[r]), len(run["index"])
            self.frames[base : base + len(run["frames"])] = run["frames"].to(self.frames.device)
            places = torch.from_numpy(self._places[r][:count]).to(self.index.device)
            self.index[places] = run["index"].to(self.index.device) + base
            self._images[r], self._transitions[r] = len(run["frames"]), count
            self._first[r], self._newest[r] = run["first"] + base, run["newest"] + base
