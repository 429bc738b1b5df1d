"""CUDA graphs that can fail: work is captured once and replayed as a whole, and after a failed capture others still work.

torch's own `torch.cuda.graph` leaves the current stream, its allocator and its random generator in the state of a running
capture when that has been invalidated, so that nothing can be captured afterwards. Here they are reset.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch

from seqeval_rl.training.device import temporarily

Work = Callable[[], None]
Capture = Callable[[Work], Work]
_FAILED: list[torch.cuda.CUDAGraph] = []  # torch's allocator for page-locked memory keeps pointers to these
_streams: dict[int, torch.cuda.Stream] = {}


class CudaGraphs:
    """Captures work on the current device. All its graphs share one memory pool for temporary tensors, so a result that another
    graph or the host reads must be written to a tensor that existed before the capture."""

    def __init__(self) -> None:
        self._pool: Any = None  # none before the first graph

    def __call__(self, work: Work) -> Work:
        """Capture `work` without computing anything; the function returned computes it, on the stream that is current then.

        Raises:
            RuntimeError: something in it cannot be captured. Its Python has run up to there; nothing is computed.
        """
        graph, pool = torch.cuda.CUDAGraph(), self._pool or torch.cuda.graph_pool_handle()
        torch.cuda.synchronize()
        with side_stream(), _no_garbage_collection(), forbid_synchronization():
            torch.cuda.empty_cache()  # the graph's pool cannot use memory that torch's allocator holds in reserve
            # Threads that prefetch batches may allocate page-locked memory meanwhile, which does not concern this capture.
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                # The first error says more than the one from ending the capture.
                with suppress(RuntimeError):
                    _end(graph, pool)
                raise
            finally:
                # After a failure torch's allocators may go on recording in this pool: the next graph gets one of its own.
                self._pool = None
            _end(graph, pool)
        self._pool = pool
        replay: Work = graph.replay
        return replay


@contextmanager
def side_stream() -> Iterator[None]:
    """Run on a second stream, after all work given to the current one so far and before all that it is given later.

    CUDA requires a stream other than the default one for captures and for their warm-up. It is the same one each time, since
    libraries keep memory for each stream.
    """
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


def forbid_synchronization() -> AbstractContextManager[None]:
    """Operations that make the host wait for the device, such as reading a number, raise `RuntimeError` where torch detects
    them: before CUDA sees them, which would invalidate a capture."""
    return temporarily(_set_sync_debug_mode, "error", torch.cuda.get_sync_debug_mode())


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        # torch warns that it does not detect everything, which users who train need not read.
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode(mode)


def _no_garbage_collection() -> AbstractContextManager[None]:
    """Collect garbage before and not during: it may hold earlier graphs, and destroying one would disturb a capture."""
    gc.collect()
    return temporarily(lambda enabled: gc.enable() if enabled else gc.disable(), False, gc.isenabled())


def _end(graph: torch.cuda.CUDAGraph, pool: Any) -> None:
    """End a capture. One that has been invalidated raises `RuntimeError`; others can be captured afterwards."""
    try:
        graph.capture_end()
    except RuntimeError:
        _FAILED.append(graph)
        device = torch.cuda.current_device()
        with suppress(RuntimeError):  # torch's allocator still believes that the capture runs
            torch._C._cuda_endAllocateToPool(device, pool)
            torch._C._cuda_releasePool(device, pool)
        with suppress(RuntimeError):
            # So does the random generator of earlier versions of torch, until it sees a capture end.
            another = torch.cuda.CUDAGraph()
            another.capture_begin(capture_error_mode="thread_local")
            torch.zeros(1, device="cuda")
            another.capture_end()
        raise
