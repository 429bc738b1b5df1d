"""The engine on CUDA: a whole update period as one captured graph, fed from draws made ahead.

At these sizes a gradient step is some hundred kernels of a few microseconds, and starting them one by one takes longer than
running them. A graph starts them all at once. It holds whatever a gradient step is: the gather of the batch from the packed
rows, preprocessing, update, sums of the metrics; for each gradient step of one period (TD3's policy delay). It reads its
place from a counter on the device, so that nothing but "go on" is sent to the device between two chunks of draws.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from seqeval_rl.algorithm import Algorithm
from seqeval_rl.engine import Engine
from seqeval_rl.preprocessing import Preprocessing
from seqeval_rl.replay import CHUNK, Batches
from seqeval_rl.state import join_states, split_state

WARM_UP = 3  # periods taken one operation after the other before the capture: libraries set themselves up in these
AHEAD = 4  # chunks drawn ahead
_log = logging.getLogger("seqeval_rl")
Capture = Callable[[Callable[[], None]], Callable[[], None]]


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Capture `work` without doing it; what is returned does it. Raises `RuntimeError` where something cannot be captured."""
    graph = torch.cuda.CUDAGraph()
    # Threads that draw ahead may ask for page-locked memory meanwhile, which does not concern this capture.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    replay: Callable[[], None] = graph.replay
    return replay


class CapturedEngine(Engine):
    """An `Engine` whose gradient steps are captured, period by period; computes what `Engine` computes."""

    def __init__(
        self, algorithm: Algorithm, batches: Batches, preprocessing: Preprocessing, capture: Capture = cuda_graph
    ):
        """With `capture` something else than `cuda_graph` it works on any device: the identity runs the same code eagerly."""
        super().__init__(algorithm, batches, preprocessing)
        self._capture, self._period = capture, int(getattr(algorithm, "period", 1))
        device, runs = batches.replay.device, len(batches.seeds)
        shape = (CHUNK, runs, batches.schedules[0].protocol.batch_size)
        # What the graph reads, in places that do not change.
        self._indices = torch.zeros(shape, dtype=torch.int64, device=device)
        self._noise = torch.zeros((*shape, batches.noise_dim), device=device)
        self._place = torch.zeros(1, dtype=torch.int64, device=device)  # of the next gradient step in its chunk
        self._chunk = -1
        self._ahead = _Ahead(batches, AHEAD)
        self._warm = 0
        self._go: Callable[[], None] | None = None  # takes one whole period
        self._eager = not getattr(algorithm, "capturable", True)
        if self._eager:
            _log.warning("%s: not made to be captured; its updates run one operation after the other", _name(algorithm))

    def _steps(self, start: int, stop: int, progress: Callable[[int], None]) -> None:
        step = start
        while step < stop:
            chunk, inside = divmod(step, CHUNK)
            end = min(stop, (chunk + 1) * CHUNK)
            if chunk != self._chunk:
                indices, noise = self._ahead(chunk)
                self._indices.copy_(indices, non_blocking=True)
                self._noise.copy_(noise, non_blocking=True)
                self._chunk = chunk
            self._place.fill_(inside)
            progress(step)
            while step < end:
                # A period begins where the count of gradient steps says so, also after an interruption.
                if step % self._period == 0 and end - step >= self._period:
                    self._whole_period()
                    step += self._period
                else:
                    self._step()
                    step += 1

    def _step(self) -> None:
        """One gradient step, at the place that the counter on the device says."""
        indices, noise = (drawn.index_select(0, self._place).squeeze(0) for drawn in (self._indices, self._noise))
        shift, scale = self.preprocessing.shift, self.preprocessing.scale
        self._update(self.batches.replay.batch(indices, noise, shift, scale))
        self._place.add_(1)

    def _period_of_steps(self) -> None:
        for _ in range(self._period):
            self._step()

    def _whole_period(self) -> None:
        if self._eager:
            self._period_of_steps()
        elif self._go is not None:
            self._go()
        elif self._warm < WARM_UP:
            self._warm += 1
            self._beside()
        else:
            self._begin()

    def _beside(self) -> None:
        """A period on a stream of its own, as CUDA asks for before a capture."""
        if self._indices.device.type != "cuda":
            self._period_of_steps()
            return
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            self._period_of_steps()
        current.wait_stream(side)

    def _begin(self) -> None:
        """Capture a period, then take it; an algorithm that cannot be captured goes on eagerly."""
        runs = len(self.batches.seeds)
        before = split_state(self.algorithm.state_dict(), runs)
        why = ""
        go: Callable[[], None] | None = None
        try:
            go = self._capture(self._period_of_steps)
        except RuntimeError as error:
            why = (str(error).splitlines() or [""])[0]
        # A graph repeats operations, not Python: a counter that a period leaves changed would stand still from here on.
        moved = _moved(before[0], split_state(self.algorithm.state_dict(), runs)[0])
        if moved:
            why = why or f"its state in Python changes: {', '.join(moved)}"
        if why:
            # What the attempt has changed in Python is put back.
            self.algorithm.load_state_dict(join_states(before))
            self._eager = True
            _log.warning(
                "%s: cannot be captured (%s); its updates run one operation after the other", _name(self.algorithm), why
            )
        else:
            self._go = go
        self._whole_period()


def make_engine(
    algorithm: Algorithm, batches: Batches, preprocessing: Preprocessing, capture: Capture | None = None
) -> Engine:
    """The engine that suits the device: on CUDA, or where a `capture` is given, a `CapturedEngine`."""
    if capture is None and batches.replay.device.type != "cuda":
        return Engine(algorithm, batches, preprocessing)
    return CapturedEngine(algorithm, batches, preprocessing, capture or cuda_graph)


class _Ahead:
    """Draws chunks in threads before they are needed, into page-locked memory where there is CUDA."""

    def __init__(self, batches: Batches, depth: int):
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


def _moved(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two states of one form differ in something else than tensors."""
    if isinstance(before, Tensor):
        return []
    if isinstance(before, dict):
        return [place for key in before for place in _moved(before[key], after[key], f"{path}/{key}".strip("/"))]
    if isinstance(before, list | tuple):
        pairs = enumerate(zip(before, after, strict=True))
        return [place for i, (one, other) in pairs for place in _moved(one, other, f"{path}/{i}".strip("/"))]
    return [] if before == after else [path]


def _name(algorithm: Algorithm) -> str:
    return str(getattr(algorithm, "name", type(algorithm).__name__))
