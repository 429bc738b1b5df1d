"""Datasets larger than memory in the cache: written part by part, opened without reading them."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_array_equal
from synthetic import noise_dataset

from seqeval_rl.data import arrival, cache, dataset as dataset_module, hashes, packed_rows
from seqeval_rl.data.change import change_sizes
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.parts import store_parts
from seqeval_rl.data.stream import Stream
from seqeval_rl.errors import FileError
from seqeval_rl.training.prequential import observed_returns, return_complete


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever there is counts as large, and as unchanged for long."""
    for module in (packed_rows, cache):
        monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(hashes, "_SETTLED", -1_000_000_000)


def part(lengths: list[int], seed: int) -> Dataset:
    """With terminal states inside."""
    made = noise_dataset(lengths, seed=seed)
    rows = made.rows.copy()
    rows[::7, 15] = 0.0
    return Dataset(**{**vars(made), "rows": rows, "digest": ""})


def joined(parts: list[Dataset]) -> Dataset:
    starts = np.cumsum([0, *(length for one in parts for length in np.diff(one.episode_starts))])
    arrays = {name: np.concatenate([getattr(one, name) for one in parts]) for name in ("rows", "truncations")}
    return Dataset(**{**vars(parts[0]), **arrays, "name": "whole", "episode_starts": starts})


def test_parts_are_one_dataset(root: Path, large: None) -> None:
    parts = [part([20, 30], 0), part([5], 1), part([40, 1], 2)]
    expected = joined(parts)
    with cache.lock("whole"):
        stored = store_parts("whole", "whole", iter(parts))
    for found in (stored, cache.open("whole")):
        assert found is not None
        assert isinstance(found.rows, np.memmap)
        for name in ("rows", "truncations", "episode_starts"):
            assert_array_equal(getattr(found, name), getattr(expected, name))
        assert (found.name, found.sha256) == ("whole", expected.sha256)
    assert isinstance(found.truncations, np.memmap)
    assert sorted(path.name for path in root.iterdir()) == [".hashes", ".whole.lock", "whole"]


def test_a_disk_without_room_is_named_before_anything_is_written(root: Path) -> None:
    def parts():
        raise AssertionError("no part is needed")
        yield

    free = 10**18
    with pytest.raises(FileError, match=r"cache.*1,000,000,000,000,000,000 bytes are needed.*Make room"):
        store_parts("whole", "whole", parts(), free)
    assert list(root.iterdir()) == []


def test_parts_that_cannot_be_made_leave_nothing(root: Path) -> None:
    def parts():
        yield part([20], 0)
        raise OSError(errno.EIO, "the source is gone")

    with pytest.raises(FileError, match="the source is gone"):
        store_parts("whole", "whole", parts())
    assert list(root.iterdir()) == []


def test_a_large_entry_is_read_once_and_again_where_a_file_has_changed(
    root: Path, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store("toy", part([20, 30], 0))
    read: list[Dataset] = []
    content_hash = cache.content_hash
    monkeypatch.setattr(cache, "content_hash", lambda dataset: read.append(dataset) or content_hash(dataset))
    assert all(cache.open("toy") is not None for _ in range(3))
    assert len(read) == 1
    for number, name in enumerate(("rows", "truncations", "episode_starts"), 2):
        path = root / "toy" / f"{name}.npy"
        before, state = path.read_bytes(), path.stat()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert cache.open("toy") is None
        path.write_bytes(before)
        assert cache.open("toy") is not None
        assert len(read) >= number


def test_a_long_array_is_in_a_file_of_the_cache_without_a_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(cache.scratch(10, np.int32), np.memmap)
    monkeypatch.setattr(cache, "LARGEST_ARRAY", 5)
    array = cache.scratch(10, np.int32)
    assert isinstance(array, np.memmap)
    array[:] = np.arange(10)
    assert array.tolist() == list(range(10))
    assert list(root.iterdir()) == []

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FileError, match=r"No space left.*Make room"):
        cache.scratch(10, np.int32)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 100), st.integers(1, 40))
def test_what_is_computed_piece_by_piece_is_what_is_computed_at_once(lengths: list[int], seed: int, piece: int) -> None:
    """Returns, scores, sizes of changes, and what prequential scores need: to the last bit."""
    one = part(lengths, seed)
    stream = Stream("made", [one, part([9, 8], 1)])
    order = stream.arrival("episodes", seed)

    def computed() -> list[np.ndarray]:
        returns = [one.episode_returns(), one.episode_scores(), np.array(change_sizes([one, part([9, 8], 1)]))]
        return [*returns, *observed_returns(stream, 0.9), return_complete(stream, order)]

    expected = computed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_module, "PIECE", piece)
        patch.setattr("seqeval_rl.training.prequential.PIECE", piece)
        for found, before in zip(computed(), expected, strict=True):
            assert_array_equal(found, before)
        large = arrival.Concatenated([(order, 100)])
        assert_array_equal(return_complete(stream, large, 100), expected[-1])
