"""Draws made ahead of the gradient steps that take them, in threads."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from seqeval_rl.replay import CHUNK, Batches


class Ahead:
    """Draws chunks in threads before they are needed, into page-locked memory where there is CUDA."""

    def __init__(self, batches: Batches, depth: int):
        """Of `batches`; `depth` chunks are under way at a time."""
        self._batches, self._depth = batches, depth
        self._pool = ThreadPoolExecutor(max(1, min(depth, (os.cpu_count() or 1) - 1)), "draws")
        self._coming: dict[int, Future[tuple[Tensor, Tensor]]] = {}
        last = max(schedule.gradient_steps for schedule in batches.schedules)
        self._last = (last - 1) // CHUNK

    def __call__(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Row indices [CHUNK, R, B] and noise [CHUNK, R, B, n] of a chunk; those after it are begun."""
        for number in range(chunk, max(chunk, min(chunk + self._depth - 1, self._last)) + 1):
            if number not in self._coming:
                self._coming[number] = self._pool.submit(self._draw, number)
        for number in [number for number in self._coming if number < chunk]:
            self._coming.pop(number).cancel()
        return self._coming.pop(chunk).result()

    def _draw(self, chunk: int) -> tuple[Tensor, Tensor]:
        positions, noise = self._batches.draw(chunk)
        found = (torch.from_numpy(self._batches.replay.indices(positions)), torch.from_numpy(noise))
        if self._batches.replay.device.type == "cuda":
            # From page-locked memory a copy does not make the host wait; torch keeps it until the copy is done.
            found = (found[0].pin_memory(), found[1].pin_memory())
        return found
