"""The streams of a sweep: each is loaded once in each process, and its cached datasets are verified once for all processes."""

from __future__ import annotations

from dataclasses import replace

from seqeval_rl.data.stream import Stream, StreamSpec

_loaded: dict[StreamSpec, Stream] = {}


def load_stream(spec: StreamSpec, progress: bool = False) -> Stream:
    """The stream, from memory where this process has loaded it. Raises what `StreamSpec.load` raises."""
    if spec not in _loaded:
        stream = spec.load(progress)
        _loaded[spec] = _loaded[replace(spec, task=stream.task)] = stream
    return _loaded[spec]


def forget_streams() -> None:
    """Release the streams in memory: files may change before the next sweep."""
    _loaded.clear()
