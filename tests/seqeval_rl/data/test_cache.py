"""The flat cache: what is stored comes back mapped and verified; damage, kills and a second process change nothing."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import FileError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(length: int = 50) -> Dataset:
    rng = np.random.default_rng(length)
    observations = rng.normal(size=(length, 3))
    actions = rng.uniform(-1.0005, 1.0005, (length, 2))
    flags = np.arange(length) % 20 == 19
    raw = RawTransitions(observations, actions, np.ones(length), flags, np.zeros(length), observations)
    return Dataset.from_arrays("toy", Task("toy", "Toy-v0", 0, 1), raw)


def test_what_is_stored_comes_back_memory_mapped() -> None:
    dataset = make()
    assert cache.open("toy") is None
    for back in (cache.store("toy", dataset), cache.open("toy")):
        assert back is not None
        assert isinstance(back.rows, np.memmap)
        assert_array_equal(back.rows, dataset.rows)
        assert_array_equal(back.truncations, dataset.truncations)
        assert_array_equal(back.episode_starts, dataset.episode_starts)
        for name in ("name", "task", "obs_shape", "act_dim", "clipped_actions", "cut", "sha256"):
            assert getattr(back, name) == getattr(dataset, name), name
        with pytest.raises(ValueError, match="read-only"):
            back.rows[0, 0] = 1
    assert cache.entries() == ["toy"]


def test_a_disk_that_is_too_small_is_refused_and_costs_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("toy", make(50))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        FileError, match=r"toy: .*2,492 bytes are needed, 1,000 bytes are free.*Make room.*SEQEVAL_CACHE"
    ):
        cache.store("toy", make(60))
    found = cache.open("toy")
    assert found is not None
    assert len(found) == 50


def test_storing_again_replaces_the_entry_and_leaves_open_maps_alone() -> None:
    first = cache.store("toy", make(50))
    before = first.rows.copy()
    cache.store("toy", make(60))
    found = cache.open("toy")
    assert found is not None
    assert len(found) == 60
    assert_array_equal(first.rows, before)
    assert cache.entries() == ["toy"]


@pytest.mark.parametrize("name", ["rows.npy", "truncations.npy", "episode_starts.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_a_damaged_entry_is_named_and_never_used(
    root: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    cache.store("toy", make())
    path = root / "toy" / name
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "emptied":
        data.clear()
    elif name == "meta.json":
        data = bytearray(data.replace(b'"cut": true', b'"cut": false'))
    else:
        data[-1] ^= 1  # one bit
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "seqeval_rl"):
        assert cache.open("toy") is None
    assert str(root / "toy") in caplog.text
    assert "built again" in caplog.text
    cache.store("toy", make())
    assert cache.open("toy") is not None


@pytest.mark.parametrize("name", ["rows.npy", "truncations.npy", "episode_starts.npy", "meta.json"])
def test_no_flipped_bit_is_taken_for_data(root: Path, name: str) -> None:
    cache.store("toy", make())
    path = root / "toy" / name
    data, rng = path.read_bytes(), random.Random(0)
    # All of an array's header, which numpy reads as a Python literal, or of the JSON; and some of the rest.
    head = 8 * (len(data) if name == "meta.json" else data.index(b"\n") + 1)
    for bit in {*rng.sample(range(head), 150), *rng.sample(range(8 * len(data)), 150)}:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert cache.open("toy") is None


def test_an_entry_of_the_format_without_checksums_is_read(root: Path) -> None:
    dataset = cache.store("toy", make())
    meta = json.loads((root / "toy" / "meta.json").read_text())
    del meta["checksum"], meta["files"]
    (root / "toy" / "meta.json").write_text(json.dumps(meta | {"format": 1}))
    found = cache.open("toy")
    assert found is not None
    assert found.sha256 == dataset.sha256


def test_a_missing_file_or_another_format_is_not_used(root: Path) -> None:
    cache.store("toy", make())
    meta = root / "toy" / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 99}))
    assert cache.open("toy") is None
    cache.store("toy", make())
    (root / "toy" / "rows.npy").unlink()
    assert cache.open("toy") is None


def test_what_a_killed_process_left_is_not_taken_for_an_entry(root: Path) -> None:
    cache.store("toy", make())
    (root / "toy").rename(root / ".toy.partial")  # all but the last rename had happened
    assert cache.open("toy") is None
    assert cache.entries() == []
    cache.store("toy", make())
    assert cache.open("toy") is not None
    assert not (root / ".toy.partial").exists()


def test_an_unusable_root_is_a_file_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FileError, match="set SEQEVAL_CACHE"), cache.lock("toy"):
        pass
    with pytest.raises(FileError, match="set SEQEVAL_CACHE"):
        cache.store("toy", make())


def test_the_root_is_in_the_home_directory_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQEVAL_CACHE")
    assert cache.root() == Path.home() / ".cache" / "seqeval_rl"


HOLDER = """
import sys, time
from seqeval_rl.data import cache
with cache.lock("toy"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_waits_and_a_killed_one_lets_go() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    waiter = None
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        code = HOLDER.replace("time.sleep(600)", "pass")
        waiter = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiter.stderr is not None
        assert "waiting for it" in waiter.stderr.readline()
        time.sleep(0.2)
        assert waiter.poll() is None
        holder.kill()
        output, _ = waiter.communicate(timeout=60)
        assert output == "held\n"
    finally:
        for process in (holder, waiter):
            if process is not None:
                process.kill()
                process.communicate()


def test_a_prefix_of_a_mapped_dataset_hashes_like_one_built_alone() -> None:
    dataset = make(50)
    stored = cache.store("toy", dataset)
    assert stored.prefix(30).sha256 == dataset.prefix(30).sha256
    assert stored.prefix(30).sha256 != stored.sha256
    assert replace(stored, name="other").sha256 == stored.sha256
