"""Files that name data elsewhere, or declare more than they hold: refused before anything is read."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from seqeval_rl.data.load import load_dataset
from seqeval_rl.errors import DataError, FileError

# Minari's advice to authors.
pytestmark = pytest.mark.filterwarnings("ignore:.*is set to None.*:UserWarning")
ROWS = 40
REWARDS = np.arange(ROWS, dtype=np.float32)


def stored(path: Path, rewards: Callable[[h5py.File], Any]) -> Path:
    """A file in D4RL's format, whose rewards are made by a function."""
    ends = np.arange(ROWS) % 10 == 9
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = np.zeros((ROWS, 3), "f4"), np.zeros((ROWS, 1), "f4")
        file["terminals"], file["timeouts"] = np.zeros(ROWS, bool), ends
        rewards(file)
    return path


def virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((ROWS,), "f4")
    layout[:] = h5py.VirtualSource(name, "rewards", (ROWS,))
    file.create_virtual_dataset("rewards", layout)


def nested(file: h5py.File) -> None:
    file["rewards"] = REWARDS
    file["infos/deep/elsewhere"] = h5py.ExternalLink("/etc/secret.h5", "x")
    file["infos/round"] = file["infos"]  # a cycle of hard links


ELSEWHERE: dict[str, Callable[[h5py.File], Any]] = {
    "link to the parent": lambda file: file.__setitem__("rewards", h5py.ExternalLink("../other.h5", "rewards")),
    "absolute link": lambda file: file.__setitem__("rewards", h5py.ExternalLink("/tmp/other.h5", "rewards")),
    "link through a symbolic link": lambda file: file.__setitem__("rewards", h5py.ExternalLink("alias.h5", "rewards")),
    "link in another file": lambda file: file.__setitem__("rewards", h5py.ExternalLink("chained.h5", "rewards")),
    "virtual": lambda file: virtual(file, "../other.h5"),
    "raw": lambda file: file.create_dataset("rewards", (ROWS,), "f4", external=[("raw.bin", 0, 4 * ROWS)]),
    "nested": nested,
}


@pytest.mark.parametrize("how", ELSEWHERE)
def test_a_file_reads_nothing_outside_of_its_directory(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["rewards"] = REWARDS
    inside = tmp_path / "data"
    inside.mkdir()
    (inside / "alias.h5").symlink_to("../other.h5")
    with h5py.File(inside / "chained.h5", "w") as file:
        file["rewards"] = h5py.ExternalLink("../other.h5", "rewards")
    REWARDS.tofile(inside / "raw.bin")
    monkeypatch.chdir(inside)
    path = stored(inside / "log.h5", ELSEWHERE[how])
    with pytest.raises(DataError, match=r"expected data in (its own directory|the file), found /"):
        load_dataset(path, progress=False)


def test_links_inside_of_the_directory_are_followed_and_belong_to_the_datasets_content(tmp_path: Path) -> None:
    part = tmp_path / "part.h5"
    path = stored(
        tmp_path / "log.h5", lambda file: file.__setitem__("rewards", h5py.ExternalLink("part.h5", "rewards"))
    )
    for rewards in (REWARDS, 2 * REWARDS):
        with h5py.File(part, "w") as file:
            file["rewards"] = rewards
        kept = np.arange(ROWS) % 10 != 9
        assert load_dataset(path, progress=False).rewards.sum() == rewards[kept].sum()


def test_a_soft_link_is_of_the_same_file(tmp_path: Path) -> None:
    def soft(file: h5py.File) -> None:
        file["x"], file["rewards"] = REWARDS, h5py.SoftLink("/x")

    assert len(load_dataset(stored(tmp_path / "log.h5", soft), progress=False))


def test_sizes_that_are_declared_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """An honest file of 10 TB of zeros in few bytes, by HDF5's and by zip's compression."""
    huge = tmp_path / "huge.h5"
    with h5py.File(huge, "w") as file:
        for name, shape in (("observations", (1 << 40, 3)), ("actions", (1 << 40, 1)), ("rewards", (1 << 40,))):
            file.create_dataset(name, shape, "f4", chunks=(1 << 27, *shape[1:]))
        file.create_dataset("terminals", (1 << 40,), "?", chunks=(1 << 27,))
    with pytest.raises((FileError, DataError), match=r"GB declared|parts of observations are missing"):
        load_dataset(huge, progress=False)
    # One chunk, much larger than its dataset.
    with h5py.File(tmp_path / "chunk.h5", "w") as file:
        for name, shape in (
            ("observations", (4, 1 << 29)),
            ("actions", (4, 1)),
            ("rewards", (4,)),
            ("terminals", (4,)),
        ):
            file.create_dataset(name, shape, "f4", chunks=True)
    with pytest.raises((FileError, DataError)):
        load_dataset(tmp_path / "chunk.h5", progress=False)


def write_npz(path: Path, shape: tuple[int, ...], held: int) -> Path:
    """An archive whose observations declare a shape."""
    header = str({"descr": "<f4", "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("observations.npy", "w") as file:
            file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode())
            for start in range(0, held, 1 << 20):
                file.write(bytes(min(1 << 20, held - start)))
        for name in ("actions", "rewards", "terminations", "truncations"):
            with archive.open(f"{name}.npy", "w") as file:
                np.save(file, np.zeros((2, 1)))
    return path


def test_an_array_that_declares_more_than_its_file_holds(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "log.npz", (1 << 50, 3), 24)
    with pytest.raises(DataError, match=r"log\.npz: expected observations of shape .* as it declares, found 152 bytes"):
        load_dataset(path, "Pendulum-v1", progress=False)


def test_a_bomb_is_refused_at_little_memory(tmp_path: Path) -> None:
    """256 MB of zeros in a small file, in a process that may take 200 MB more than it has."""
    path = write_npz(tmp_path / "log.npz", (1 << 26,), 1 << 28)
    code = f"""
import json, resource
from seqeval_rl.data.readers import npz
taken = int(open('/proc/self/statm').read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (taken + 200_000_000,) * 2)
try:
    npz.load({str(path)!r})
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    kind, message = json.loads(done.stdout)
    assert kind == "FileError"
    assert "expected arrays that fit into memory, found 0.3 GB declared" in message


def test_a_minari_dataset_reads_nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    episode = EpisodeBuffer(
        id=0, observations=np.zeros((6, 3), np.float32), actions=np.zeros((5, 1), np.float32), rewards=[0.0] * 5,
        terminations=[False] * 5, truncations=[False] * 4 + [True],
    )  # fmt: skip
    with gymnasium.make("Pendulum-v1") as env:
        minari.create_dataset_from_buffers("some/body-v0", [episode], env=env)
    with h5py.File(tmp_path / "minari" / "secret.h5", "w") as file:
        file["x"] = np.arange(5.0)
    with h5py.File(tmp_path / "minari" / "some" / "body-v0" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
        file["episode_0/rewards"] = h5py.ExternalLink("../../../secret.h5", "x")
    with pytest.raises(DataError, match=r"expected data in its own directory, found /episode_0/rewards"):
        load_dataset("minari:some/body-v0", progress=False)
