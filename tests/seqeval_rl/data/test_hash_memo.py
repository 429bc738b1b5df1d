"""A large dataset is not read anew to be recognised, unless it may have changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from seqeval_rl.data import cache, hashes
from seqeval_rl.errors import FileError

pytestmark = pytest.mark.usefixtures("empty_caches")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a file that was changed just now is remembered."""
    monkeypatch.setattr(hashes, "_SETTLED", -1_000_000_000)


def settled(path: Path, content: bytes, time: int) -> Path:
    """A file last written at that second."""
    path.write_bytes(content)
    os.utime(path, (time, time))
    return path


def remembered(tmp_path: Path, text: str) -> None:
    """Write another hash into every memory, so that it shows whether one is used."""
    for memory in (tmp_path / "cache" / ".hashes").iterdir():
        memory.write_text(json.dumps({**json.loads(memory.read_text()), "sha256": text}))


def test_a_hash_is_remembered_until_anything_of_the_file_changes(tmp_path: Path) -> None:
    path = settled(tmp_path / "log", b"first", 1_000_000)
    first = cache.files_hash([path])
    remembered(tmp_path, "from memory")
    assert cache.files_hash([path]) == "from memory"
    settled(path, b"other", 1_000_001)
    changed = cache.files_hash([path])
    assert changed not in (first, "from memory")
    settled(path, b"longer", 1_000_001)
    assert cache.files_hash([path]) not in (first, changed)
    assert cache.entries() == []


@pytest.mark.parametrize("how", ["written", "renamed"])
def test_a_file_replaced_by_one_of_the_same_size_and_time_is_hashed_again(how: str, tmp_path: Path) -> None:
    path = settled(tmp_path / "log", b"first", 1_000_000)
    first = cache.files_hash([path])
    if how == "written":
        settled(path, b"other", 1_000_000)
    else:
        settled(tmp_path / "new", b"other", 1_000_000).rename(path)
    assert cache.files_hash([path]) != first


def test_a_file_that_was_changed_just_now_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    path = settled(tmp_path / "log", b"first", 1_000_000)
    cache.files_hash([path])
    assert not list((tmp_path / "cache").rglob("*.json"))


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
    assert cache.files_hash([path]) == first


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settled(tmp_path / "log", b"first", 1_000_000)
    first = cache.files_hash([path])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "file"))
    assert cache.files_hash([path]) == first
    with pytest.raises(FileError, match="gone: cannot be read"):
        cache.files_hash([tmp_path / "gone"])
