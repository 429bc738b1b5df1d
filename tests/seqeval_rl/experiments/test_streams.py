"""Streams are loaded once in a process, and datasets are hashed once for all processes of a sweep."""

import pytest
from synthetic import npz

from seqeval_rl.data import cache
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.experiments.job import forget_streams, load_stream


@pytest.fixture
def hashed(monkeypatch):
    """Keys of cache entries that are hashed."""
    monkeypatch.setattr(cache, "_verified", set())
    monkeypatch.setattr(cache, "_trusted", set())
    forget_streams()
    names = []
    monkeypatch.setattr(cache, "content_hash", lambda dataset: names.append(dataset.name) or dataset.digest)
    yield names
    forget_streams()


def test_a_stream_is_loaded_once_also_under_its_resolved_task(tmp_path, hashed):
    spec = StreamSpec("noise", (str(npz(tmp_path / "log.npz")),))
    stream = load_stream(spec)
    assert load_stream(spec) is stream
    assert load_stream(StreamSpec("noise", spec.sources, stream.task)) is stream
    forget_streams()
    assert load_stream(spec) is not stream


def test_another_process_need_not_hash_what_this_one_has_verified(tmp_path, hashed):
    source = str(npz(tmp_path / "log.npz"))
    StreamSpec("noise", (source,)).load()  # builds the entry
    hashed.clear()
    StreamSpec("noise", (source,)).load()
    assert len(hashed) == 1
    cache.trust(cache.verified())  # as the scheduler tells its workers
    StreamSpec("noise", (source,)).load()
    assert len(hashed) == 1
