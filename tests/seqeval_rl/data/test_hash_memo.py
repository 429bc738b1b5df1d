"""A large dataset is not read anew to be recognised, unless it may have changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqeval_rl.data import cache
from seqeval_rl.errors import FileError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))


def settled(path: Path, content: bytes, time: int) -> Path:
    """A file last changed at that second, long ago."""
    path.write_bytes(content)
    os.utime(path, (time, time))
    return path


def test_a_hash_is_remembered_while_size_and_time_stay(tmp_path: Path) -> None:
    path = settled(tmp_path / "log", b"first", 1_000_000)
    first = cache.files_hash([path])
    settled(path, b"other", 1_000_000)  # nothing shows it
    assert cache.files_hash([path]) == first
    settled(path, b"other", 1_000_001)
    changed = cache.files_hash([path])
    assert changed != first
    settled(path, b"longer", 1_000_001)
    assert cache.files_hash([path]) not in (first, changed)
    assert cache.entries() == []


def test_a_file_that_was_changed_just_now_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first")
    state = path.stat()
    first = cache.files_hash([path])
    path.write_bytes(b"other")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert cache.files_hash([path]) != first


def test_sets_of_files_are_told_apart(tmp_path: Path) -> None:
    one, two = (settled(tmp_path / name, name.encode(), 1_000_000) for name in ("one", "two"))
    found = [cache.files_hash(paths) for paths in ([one], [two], [one, two], [two, one])]
    assert len(set(found)) == 4
    assert [cache.files_hash(paths) for paths in ([one], [two], [one, two], [two, one])] == found


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"sha256": "0", "files": 3}'])
def test_a_damaged_memory_is_none(tmp_path: Path, damage: bytes) -> None:
    path = settled(tmp_path / "log", b"first", 1_000_000)
    first = cache.files_hash([path])
    for memory in (tmp_path / "cache" / ".hashes").iterdir():
        memory.write_bytes(damage)
    settled(path, b"other", 1_000_000)  # only a memory that is used does not notice
    assert cache.files_hash([path]) != first


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settled(tmp_path / "log", b"first", 1_000_000)
    first = cache.files_hash([path])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "file"))
    assert cache.files_hash([path]) == first
    with pytest.raises(FileError, match="gone: cannot be read"):
        cache.files_hash([tmp_path / "gone"])
