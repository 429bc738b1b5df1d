"""What prevents reading is named as what it is; advice to delete is given only for a file whose format is broken."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from d4rl_files import TASK, columns, write

from seqeval_rl import load_dataset
from seqeval_rl.data import cache
from seqeval_rl.data.hashes import recorded_sha256
from seqeval_rl.data.readers.base import open_file
from seqeval_rl.errors import DataError, FileError
from seqeval_rl.results import checkpoint
from seqeval_rl.utils.failures import cause_of, is_damage
from seqeval_rl.utils.files import is_locked, try_lock

WRITER = """
import h5py, sys, time
file = h5py.File(sys.argv[1], "a")
print("open", flush=True)
time.sleep(600)
"""

pytestmark = pytest.mark.usefixtures("empty_caches")


def test_a_file_that_another_process_writes_is_locked_and_not_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "log.hdf5", columns("...T....L."))
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(FileError, match=r"another process has it open for writing\. Wait") as caught:
            load_dataset(path, TASK, progress=False)
    finally:
        writer.kill()
        writer.communicate()
    assert "elete" not in str(caught.value)


def test_a_file_whose_writer_was_killed_is_marked_and_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "log.hdf5"
    code = (
        "import h5py, os, sys; f = h5py.File(sys.argv[1], 'w', libver='latest'); f['a'] = [1]; f.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    with pytest.raises(FileError, match=r"marked as open for writing.*h5clear -s"):
        load_dataset(path, TASK, progress=False)


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied", "permissions"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left", "Make room"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files", "ulimit -n"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle", "network"),
        (OSError(errno.ENOLCK, "unable to lock file, errno = 37, error message = 'No locks available'"), "no locks", "LOCKING"),
        (OSError(errno.EIO, "file read failed: \n, error message = 'Input/output error', x = 0"), "Input/output", "disk"),
        (MemoryError("Unable to allocate 8.00 GiB for an array"), "not enough memory (Unable to allocate 8", "machine"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"), "memory", "machine"),
        (OSError("Can't read data (required filter 'blosc' is not registered)"), "filter", "hdf5plugin"),
        (ModuleNotFoundError("No module named 'lab'", name="lab"), "No module named 'lab'", "Install lab"),
    ],
)  # fmt: skip
def test_a_cause_outside_of_the_file_is_no_damage(tmp_path: Path, error: Exception, what: str, remedy: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError) as caught, open_file(tmp_path / "file", "a file"):
        raise error
    message = str(caught.value)
    assert what in message
    assert remedy in message
    assert "elete" not in message
    assert "\n" not in message
    assert not is_damage(error)


@pytest.mark.parametrize(
    "error", [TypeError("unhashable"), ValueError("Object arrays cannot be loaded"), KeyError("reward")]
)
def test_a_file_of_another_kind_is_not_to_be_deleted(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Check how it was written") as caught, open_file(tmp_path / "file", "a file"):
        raise error
    assert "elete" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError("Unable to synchronously open file (truncated file: eof = 100, stored_eof = 802048)"),
        OSError("Unable to synchronously open file (file signature not found)"),
        KeyError("Unable to synchronously open object (bad object header version number)"),
        zipfile.BadZipFile("Bad CRC-32 for file 'rewards.npy'"),
        EOFError("No data left in file"),
        json.JSONDecodeError("Expecting value", "", 0),
    ],
)
def test_a_broken_format_is_damage(error: Exception) -> None:
    assert is_damage(error)
    assert cause_of(error) is None


def test_too_little_memory_is_named_whatever_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "log.hdf5", columns("...T....L."))

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError("Unable to allocate 80.0 GiB")

    monkeypatch.setattr(np, "concatenate", full)
    with pytest.raises(
        FileError, match=r"log\.hdf5: cannot be read \(not enough memory \(Unable to allocate 80.0 GiB\)\)"
    ):
        load_dataset(path, TASK, progress=False)


def test_a_cache_that_cannot_be_read_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "log.hdf5", columns("...T....L."))
    load_dataset(path, TASK, progress=False)
    (key,) = cache.entries()

    def busy(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(np, "load", busy)
    with pytest.raises(FileError, match=r"Too many open files.*ulimit"):
        cache.open(key)


def test_a_checkpoint_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run would silently resume from an older one."""
    import torch

    checkpoint.save(tmp_path, 3, {"a": torch.zeros(2)})
    assert checkpoint.newest(tmp_path)[0] == 3

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", denied)
        with pytest.raises(FileError, match=r"evaluation-000003\.pt: cannot be read \(Permission denied\)"):
            checkpoint.newest(tmp_path)
    (tmp_path / "evaluation-000003.pt").write_bytes(b"PK half of it")
    assert checkpoint.newest(tmp_path) == (-1, {})


def test_a_record_of_a_hash_that_cannot_be_read_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.hdf5.sha256").mkdir()
    with pytest.raises(FileError, match=r"Is a directory.*Check the path") as caught:
        recorded_sha256(tmp_path / "log.hdf5")
    assert "elete" not in str(caught.value)


def test_a_download_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import minari

    def missing(*_: Any) -> None:
        raise ImportError('huggingface_hub is not installed. Please install it using `pip install "minari[hf]"`')

    monkeypatch.setattr(minari, "download_dataset", missing)
    with pytest.raises(
        FileError, match=r'download failed \(huggingface_hub is not.*pip install "minari\[hf\]"'
    ) as caught:
        load_dataset("minari:toy/far-v0")
    assert "network" not in str(caught.value)
    monkeypatch.setenv("SEQEVAL_OFFLINE", "1")
    with pytest.raises(FileError, match="the network is not to be used"):
        load_dataset("minari:toy/far-v0")


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    (tmp_path / "lock").touch()
    assert is_locked(tmp_path / "lock") is None
    with pytest.raises(OSError, match="its file system has no locks"):
        try_lock(tmp_path / "lock")


def test_parts_that_were_never_written_are_waited_for(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "log.hdf5", "w") as file:
        for key, values in columns("...T....L.").items():
            file.create_dataset(key, values.shape, values.dtype)
    with pytest.raises(DataError, match=r"its writer was stopped, or still writes\. Wait for it"):
        load_dataset(tmp_path / "log.hdf5", TASK, progress=False)
