"""CUDA graphs: work captured once and then started as a whole, and what is left behind where that fails.

torch's own `torch.cuda.graph` leaves the current stream, its allocator and its random generator in the middle of a capture that
has been invalidated, so that nothing can be captured afterwards. Here a failed capture is cleared away.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

Work = Callable[[], None]
Capture = Callable[[Work], Work]
_FAILED: list[torch.cuda.CUDAGraph] = []  # torch's allocator for page-locked memory goes on pointing at these
_streams: dict[int, torch.cuda.Stream] = {}


class CudaGraphs:
    """Captures work, on the current device. What its graphs compute in between shares one piece of memory, so they must leave
    nothing in it for each other: what stays lies in tensors that were there before."""

    def __init__(self) -> None:
        self._pool: Any = None  # as torch calls it; none before the first graph

    def __call__(self, work: Work) -> Work:
        """Capture `work` without doing it; what is returned does it, on the stream that is current then.

        Raises:
            RuntimeError: something in it cannot be captured. Its Python has run up to there; nothing is computed.
        """
        graph, pool = torch.cuda.CUDAGraph(), self._pool or torch.cuda.graph_pool_handle()
        torch.cuda.synchronize()
        with beside(), _uncollected(), without_waiting():
            torch.cuda.empty_cache()  # the graph's memory is its own: it cannot have what torch keeps in reserve
            # Threads that draw ahead may ask for page-locked memory meanwhile, which does not concern this capture.
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                # What happened in there says more than that the capture could not be ended.
                with suppress(RuntimeError):
                    _end(graph, pool)
                raise
            _end(graph, pool)
        self._pool = pool
        replay: Work = graph.replay
        return replay


@contextmanager
def beside() -> Iterator[None]:
    """On a stream of its own, after what the current one was given and before what it will be. CUDA asks for another than the
    default one, for captures and for what warms them up; always the same one, since libraries keep memory for each."""
    current, device = torch.cuda.current_stream(), torch.cuda.current_device()
    if device not in _streams:
        _streams[device] = torch.cuda.Stream()
    side = _streams[device]
    side.wait_stream(current)
    try:
        with torch.cuda.stream(side):
            yield
    finally:
        current.wait_stream(side)


@contextmanager
def without_waiting() -> Iterator[None]:
    """Whatever would make the host wait for the device, such as reading a number, raises `RuntimeError`, as far as torch can
    tell; before CUDA sees it, which would invalidate a capture."""
    before = torch.cuda.get_sync_debug_mode()
    _set_sync_debug_mode("error")
    try:
        yield
    finally:
        _set_sync_debug_mode(before)


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        # It does not find everything, which is no news for anybody who only trains.
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Garbage is collected before and not during: it may hold earlier graphs, whose end would disturb a capture."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _end(graph: torch.cuda.CUDAGraph, pool: Any) -> None:
    """End a capture; one that has been invalidated raises `RuntimeError`, and torch is fit for others afterwards."""
    try:
        graph.capture_end()
    except RuntimeError:
        _FAILED.append(graph)
        device = torch.cuda.current_device()
        with suppress(RuntimeError):  # torch's allocator believes that the capture goes on
            torch._C._cuda_endAllocateToPool(device, pool)
            torch._C._cuda_releasePool(device, pool)
        with suppress(RuntimeError):
            # Likewise the random generator of earlier versions, until it sees a capture end.
            another = torch.cuda.CUDAGraph()
            another.capture_begin(capture_error_mode="thread_local")
            torch.zeros(1, device="cuda")
            another.capture_end()
        raise
