"""Verification finds what is wrong with a dataset, and nothing where nothing is."""

import dataclasses

import numpy as np
import pytest
from synthetic import noise_dataset

from seqeval_rl.data import cache
from seqeval_rl.data.load import verify
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.verification import verify_dataset
from seqeval_rl.errors import DataError, FileError, UsageError


def log():
    return noise_dataset([40, 60, 50])


def changed(**arrays):
    """A dataset in which something was changed after it was checked."""
    dataset = log()
    return dataclasses.replace(dataset, digest=dataset.sha256, **arrays)


def rows(row, column, value):
    found = log().rows.copy()
    found[row, column] = value
    return found


def failed(dataset):
    return {check.name: check.detail for check in verify_dataset(dataset) if not check.passed}


def test_a_sound_dataset_passes():
    checks = verify_dataset(log())
    assert all(check.passed for check in checks)
    assert [check.name for check in checks] == [
        "hash", "episode bounds", "episode ends", "observations", "actions", "rewards", "next_observations",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"rows": rows(17, 3, np.nan)}, "observations", "row 17"),
        ({"rows": rows(18, 12, 1.5)}, "actions", r"row 18: expected numbers in [-1, 1]"),
        ({"rows": rows(19, 14, np.inf)}, "rewards", "row 19"),
        ({"rows": rows(149, -1, np.nan)}, "next_observations", "row 149"),
        ({"truncations": np.arange(150) % 10 == 9}, "episode ends", "row 9"),
        ({"episode_starts": np.array([0, 40, 30, 150])}, "episode bounds", "rising rows"),
        ({"episode_starts": np.array([0, 40, 100, 140])}, "episode bounds", "rising rows"),
        ({"episode_starts": np.array([0, 40, 101, 150])}, "episode ends", "row 99"),
        ({"truncations": np.zeros(150, bool)}, "episode ends", "row 39"),
    ],
)
def test_what_is_wrong_is_found_and_named(change, name, words):
    found = failed(changed(**change))
    assert words in found[name]
    assert "expected" in found["hash"]


def test_entries_of_the_cache_are_found_by_key_and_by_source(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path))
    bundled.build("hopper", "random", 60, progress=False)
    bundled.build("hopper", "random", 90, progress=False)
    keys = cache.entries()
    assert [name for name, _ in verify("bundled/hopper/random:60")] == keys
    for key in keys:
        ((name, checks),) = verify(key)
        assert name == key
        assert all(check.passed for check in checks)


def test_what_is_damaged_or_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path))
    for source in ("bundled/hopper/random", "minari:mine/nothing-v0"):
        with pytest.raises(FileError, match="not on this machine"):
            list(verify(source))
    with pytest.raises(UsageError, match="unknown dataset 'nothing'"):
        list(verify("nothing"))
    bundled.build("hopper", "random", 60, progress=False)
    (key,) = cache.entries()
    file = tmp_path / key / "rows.npy"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        list(verify(key))
