"""Datasets are fetched from D4RL's server or a mirror, known again by their hashes, and verified whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from d4rl_files import columns, write
from synthetic import npz
from web_server import Site, serving

from seqeval_rl import load_dataset
from seqeval_rl.data import download as download_module
from seqeval_rl.data.load import fetch, known_datasets, verify
from seqeval_rl.data.readers import d4rl_index
from seqeval_rl.data.readers.d4rl_index import ENTRIES, Published
from seqeval_rl.errors import DataError, FileError, UsageError

NAME = "d4rl:hopper-medium-v2"


def verified(source: str) -> list[str]:
    """What was checked, line by line."""
    ((_, checks),) = verify(source)
    assert all(check.passed for check in checks)
    return [check.detail for check in checks]


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "FIRST_PAUSE", 0.001)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return write(tmp_path / "made.hdf5", columns("...T....L." * 30, obs_dim=11, act_dim=3)).read_bytes()


@pytest.fixture
def site(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serving(content) as running:
        monkeypatch.setenv("SEQEVAL_D4RL_MIRROR", f"{running.url}/mirror/")
        yield running


def test_a_dataset_is_downloaded_when_it_is_loaded(tmp_path: Path, site: Site) -> None:
    assert NAME not in known_datasets()
    dataset = load_dataset(NAME, progress=False)
    assert len(dataset) == 300
    assert site.paths == ["/mirror/gym_mujoco_v2/hopper_medium-v2.hdf5"]
    assert NAME in known_datasets()
    assert fetch(NAME, progress=False) == tmp_path / "cache" / "downloads" / "d4rl" / "hopper_medium-v2.hdf5"
    assert len(site.paths) == 1


def test_the_d4rl_packages_own_files_are_used(tmp_path: Path, site: Site, content: bytes) -> None:
    (tmp_path / "d4rl").mkdir()
    place = tmp_path / "d4rl" / "hopper_medium-v2.hdf5"
    place.write_bytes(content)
    assert fetch(NAME) == place
    assert site.paths == []


def test_every_address_is_d4rls_own_unless_a_mirror_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQEVAL_D4RL_MIRROR", raising=False)
    entry = d4rl_index.entry("antmaze-large-diverse-v2")
    assert d4rl_index.url(entry) == (
        "https://rail.eecs.berkeley.edu/datasets/offline_rl/ant_maze_v2/"
        "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5"
    )
    monkeypatch.setenv("SEQEVAL_D4RL_MIRROR", "ftp://example.org")
    with pytest.raises(UsageError, match="SEQEVAL_D4RL_MIRROR: expected an address such as https"):
        fetch(NAME)


def test_a_hash_is_kept_and_checked(site: Site, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match="expected 0000"):
        fetch(NAME, "0" * 64, progress=False)
    with pytest.raises(FileError, match=r"expected hopper_medium-v2\.hdf5 in"):
        verified(NAME)
    path = fetch(NAME, sha256, progress=False)
    assert fetch(NAME, sha256) == fetch(NAME) == path
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(DataError, match=rf"expected {sha256}"):
        fetch(NAME)
    with pytest.raises(DataError, match=rf"was {sha256} when it was downloaded\. Delete it"):
        verified(NAME)


def test_no_network_and_no_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="not to be used"):
        fetch(NAME, offline=True)
    monkeypatch.setenv("SEQEVAL_OFFLINE", "1")
    with pytest.raises(FileError, match="not to be used") as caught:
        load_dataset(NAME, progress=False)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=r"minari:toy/far-v0: not on this machine, and the network is not to be used"):
        fetch("minari:toy/far-v0")
    assert site.paths == []
    with pytest.raises(UsageError, match="did you mean d4rl:hopper-medium-v2"):
        fetch("d4rl:hopper-medum-v2", offline=False)


def test_a_half_finished_download_is_no_dataset(tmp_path: Path, site: Site, content: bytes) -> None:
    site.break_after = [len(content) // 2, 0, 0, 0]
    with pytest.raises(FileError, match="the same command resumes"):
        load_dataset(NAME, progress=False)
    assert NAME not in known_datasets()
    assert len(load_dataset(NAME, progress=False)) == 300
    assert site.requests[-1]["Range"] == f"bytes={len(content) // 2}-"


def test_a_file_is_verified_against_what_is_published(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(NAME, progress=False)
    with pytest.raises(DataError, match="269 transitions by qlearning_dataset, expected 999998 as published"):
        verified(NAME)
    mean = load_dataset(NAME).episode_returns().mean()
    entry = ENTRIES["hopper-medium-v2"]
    monkeypatch.setitem(ENTRIES, entry.identity, entry._replace(published=Published(269, mean)))
    lines = verified(NAME)
    assert "as when it was downloaded" in lines[0]
    assert lines[2] == "300 transitions in 61 episodes"
    assert lines[-2] == "269 transitions by qlearning_dataset, as published"
    monkeypatch.setitem(ENTRIES, entry.identity, entry._replace(published=Published(269, mean + 100)))
    with pytest.raises(DataError, match=r"mean score of the dataset is .*, expected .* as published"):
        verified(NAME)


def test_files_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.hdf5", columns("...T....L."))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert fetch(str(path), digest) == path
    assert f"SHA-256 {digest}, none recorded" in verified(str(path))[0]
    assert verified(str(path))[2] == "10 transitions in 3 episodes"
    with pytest.raises(DataError, match="expected 0000"):
        fetch(str(path), "0" * 64)
    arrays = npz(tmp_path / "mine.npz", total=60)
    assert verified(str(arrays))[2] == "60 transitions in 2 episodes"
    with pytest.raises(FileError, match=r"gone\.npz: expected a file or directory, found none"):
        fetch(str(tmp_path / "gone.npz"))
    with pytest.raises(FileError, match="gone: expected a file or directory, found none"):
        fetch(f"vd4rl:{tmp_path / 'gone'}")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="expected an HDF5 file, found it damaged, OSError"):
        verified(str(path))


def test_what_is_rolled_out_is_fetched_too(tmp_path: Path) -> None:
    place = fetch("bundled/hopper/random:50", progress=False)
    assert (place / "rows.npy").is_file()
    made = fetch("synthetic:d4rl/hopper-random-v2:50", progress=False)
    assert made.parent == tmp_path / "cache" / "made"
    assert "50 transitions in" in verified("bundled/hopper/random:50")[1]
    with pytest.raises(UsageError, match="expected no SHA-256"):
        fetch("bundled/hopper/random:50", "0" * 64)


def test_an_npz_file_goes_through_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path / "mine.npz", total=60)
    first = load_dataset(path)
    assert isinstance(first.rows, np.memmap)
    with monkeypatch.context() as patched:
        patched.setattr("seqeval_rl.data.readers.npz._dataset", None)
        assert load_dataset(path).sha256 == first.sha256
    npz(path, total=90)
    assert len(load_dataset(path)) == 90
    assert len(load_dataset(npz(path, total=90, action_high=2.0))) == 90
    assert load_dataset(path).actions.max() < 0.5
