"""Datasets are fetched from D4RL's server or a mirror, known again by their hashes, and verified whole."""

from __future__ import annotations

import hashlib
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from d4rl_files import columns, write
from synthetic import npz
from web_server import Site, serving

from seqeval_rl import load_dataset
from seqeval_rl.data import transfer
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
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return write(tmp_path / "made.hdf5", columns("...T....L." * 30, obs_dim=11, act_dim=3)).read_bytes()


def known(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let D4RL's file be this one."""
    entry = ENTRIES[NAME.removeprefix("d4rl:")]
    sha256 = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(ENTRIES, entry.identity, entry._replace(size=len(content), sha256=sha256))


@pytest.fixture
def site(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serving(content) as running:
        monkeypatch.setenv("SEQEVAL_D4RL_MIRROR", f"{running.url}/mirror/")
        known(content, monkeypatch)
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


def test_a_file_comes_from_d4rls_server_or_a_public_copy_unless_mirrors_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SEQEVAL_D4RL_MIRROR", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    entry = d4rl_index.entry("antmaze-large-diverse-v2")
    file = "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5"
    assert d4rl_index.addresses(entry) == [
        f"https://rail.eecs.berkeley.edu/datasets/offline_rl/ant_maze_v2/{file}",
        f"https://huggingface.co/datasets/imone/D4RL/resolve/main/{file}",
    ]
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org/")
    assert d4rl_index.addresses(entry)[1] == f"https://hub.example.org/datasets/imone/D4RL/resolve/main/{file}"
    monkeypatch.setenv("SEQEVAL_D4RL_MIRROR", "ftp://example.org")
    with pytest.raises(UsageError, match="SEQEVAL_D4RL_MIRROR: expected an address such as https"):
        fetch(NAME)


def test_size_and_hash_of_d4rls_file_decide(
    site: Site, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = write(tmp_path / "other.hdf5", columns("...T....L." * 20, obs_dim=11, act_dim=3)).read_bytes()
    with serving(other) as first:
        monkeypatch.setenv("SEQEVAL_D4RL_MIRROR", f"{first.url} {site.url}")
        assert fetch(NAME, progress=False).read_bytes() == content
    assert all(len(entry.sha256 or "") in (0, 64) for entry in ENTRIES.values())
    unknown = sorted(identity for identity, entry in ENTRIES.items() if entry.sha256 is None or entry.size is None)
    assert unknown == [
        *("maze2d-large-v1", "maze2d-medium-v1", "maze2d-umaze-v1", "relocate-expert-v1", "relocate-human-v1")
    ]


@pytest.mark.parametrize("dims", [(4, 3), (5, 2)])
def test_without_a_known_hash_the_dimensions_decide(
    dims: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = [write(tmp_path / f"{n}-{k}.hdf5", columns("..L" * 9, obs_dim=n, act_dim=k)) for n, k in (dims, (4, 2))]
    with serving(files[0].read_bytes()) as first, serving(files[1].read_bytes()) as second:
        monkeypatch.setenv("SEQEVAL_D4RL_MIRROR", first.url)
        with pytest.raises(
            DataError, match=r"another file \(.*observations \[N, 4\] and actions \[N, 2\], found \(27, "
        ):
            fetch("d4rl:maze2d-umaze-v1", progress=False)
        monkeypatch.setenv("SEQEVAL_D4RL_MIRROR", f"{first.url} {second.url}")
        assert fetch("d4rl:maze2d-umaze-v1", progress=False).read_bytes() == files[1].read_bytes()


def test_a_disk_too_small_for_the_file_and_its_cache_is_refused_before_the_download(
    site: Site, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1, 1, 10_000_000))
    needed = len(content) + 999_998 * 4 * (2 * 11 + 3 + 2)
    with pytest.raises(
        FileError, match=rf"{needed:,} bytes are needed, 10,000,000 bytes are free\)\. Make room, or set SEQ"
    ):
        load_dataset(NAME, progress=False)
    assert site.paths == []
    assert fetch(NAME, progress=False).is_file()  # the file alone has room


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
