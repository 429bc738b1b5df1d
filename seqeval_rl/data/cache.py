"""The dataset cache: flat arrays on disk, opened as memory maps and verified by their hash.

One directory per key under the root: `rows.npy`, `truncations.npy`, `episode_starts.npy` and `meta.json`, for images also
`frames.npy` and `frame_index.npy` (see `images.Pixels`), and `log_returns.npy` where a reader kept returns. An entry is
written to a temporary directory and renamed (atomic write).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from seqeval_rl.data.arrival import LARGEST_ARRAY
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.hashes import content_hash, remembered, sha256_of
from seqeval_rl.data.images import Pixels
from seqeval_rl.data.packed_rows import LARGE
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, FileError
from seqeval_rl.utils.failures import Cause, cannot_read, cause_of
from seqeval_rl.utils.files import atomic_directory, lock_file, require_room

FORMAT = 2  # of an entry; format 1 has no checksums and is still read, entries of other formats are rebuilt
_META = "meta.json"
_HASH_BLOCK = 8 << 20  # bytes of a file hashed at once by one thread
_MAPPED = ("rows", "frames", "frame_index")  # arrays that are memory-mapped
# What reading a damaged entry may raise; the last two are numpy's for a header, which it reads as a Python literal.
_DAMAGE = (
    OSError, MemoryError, ValueError, KeyError, TypeError, AttributeError, EOFError, DataError, SyntaxError,
    tokenize.TokenError,
)  # fmt: skip
_log = logging.getLogger("seqeval_rl")
_verified: set[tuple[str, str]] = set()  # entries that this process has verified: key and SHA-256
_trusted: set[tuple[str, str]] = set()  # entries that it need not verify


def verified() -> frozenset[tuple[str, str]]:
    """The entries that this process has verified, for `trust` in another."""
    return frozenset(_verified)


def trust(entries: Iterable[tuple[str, str]]) -> None:
    """Open these entries without hashing them, because another process has just verified them."""
    _trusted.update(entries)


def root() -> Path:
    """The directory of the entries: `SEQEVAL_CACHE`, or `~/.cache/seqeval_rl`."""
    return Path(os.environ.get("SEQEVAL_CACHE") or Path.home() / ".cache" / "seqeval_rl").expanduser()


def entries() -> list[str]:
    """Keys of the existing entries, sorted; not verified."""
    with usable(root()):
        return sorted(path.parent.name for path in root().glob(f"[!.]*/{_META}"))


@contextlib.contextmanager
def lock(key: str) -> Iterator[None]:
    """Hold the lock of `key`: a second process that wants to build the same entry waits and then finds it.

    Raises:
        FileError: the root cannot be written.
    """
    path = root() / f".{key}.lock"
    with usable(root()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with lock_file(path):
        yield


def obtain(key: str, build: Callable[[], Dataset], find: Callable[[], Dataset | None] | None = None) -> Dataset:
    """The entry; if there is none that can be used, it is built and stored, by one process while others wait.

    Args:
        key: of the entry.
        build: makes the dataset.
        find: what serves instead of building; None: the entry itself.

    Raises:
        FileError: the root cannot be used. And whatever `build` raises; nothing is stored then.
    """
    find = find or (lambda: open(key))
    found = find()
    if found is None:
        with lock(key):
            found = find()  # another process may have built it while this one waited
            if found is None:
                found = store(key, build())
    return found


def files_hash(paths: Sequence[Path]) -> str:
    """SHA-256 over the names and contents of files; blocks are read and hashed in parallel, and remembered (see `hashes`)."""

    def digest(part: tuple[Path, int]) -> bytes:
        with part[0].open("rb") as file:
            file.seek(part[1])
            return hashlib.sha256(file.read(_HASH_BLOCK)).digest()

    def total() -> str:
        sizes = [(path, path.stat().st_size) for path in paths]
        found = hashlib.sha256(repr([(path.name, size) for path, size in sizes]).encode())
        with ThreadPoolExecutor(4) as pool:
            for part in pool.map(digest, [(path, at) for path, size in sizes for at in range(0, size, _HASH_BLOCK)]):
                found.update(part)
        return found.hexdigest()

    names = "\0".join(os.path.abspath(path) for path in paths)
    try:
        return remembered(_memory(hashlib.sha256(names.encode()).hexdigest()[:32]), paths, total)
    except OSError as error:
        raise FileError(cannot_read(error.filename, error)) from error


def _memory(name: str) -> Path:
    """The file that remembers a hash."""
    return root() / ".hashes" / f"{name}.json"


def store(key: str, dataset: Dataset, written: Mapping[str, Path] = MappingProxyType({})) -> Dataset:
    """Write an entry atomically, replacing an existing one; returns the dataset memory-mapped from it.

    Call it under `lock(key)`. Arrays that are `written` already, by name to files in the root, are moved.

    Raises:
        FileError: unwritable root, full disk.
    """
    place = root() / key
    meta = {
        "format": FORMAT,
        "name": dataset.name,
        "task": dataset.task.as_dict(),
        "transitions": len(dataset),
        "obs_shape": list(dataset.obs_shape),
        "act_dim": dataset.act_dim,
        "clipped_actions": dataset.clipped_actions,
        "cut": dataset.cut,
        "sha256": dataset.sha256,
        "action_repeat": dataset.action_repeat,
    }
    if dataset.action_classes is not None:
        meta["action_classes"] = dataset.action_classes
    arrays = {name: getattr(dataset, name) for name in ("rows", "truncations", "episode_starts")}
    if dataset.pixels is not None:
        meta["frame_stack"] = dataset.pixels.stack
        arrays |= {"frames": dataset.pixels.frames, "frame_index": dataset.pixels.index}
    if dataset.dataset_returns is not None:
        meta["log_returns"] = len(dataset.dataset_returns)
        arrays["log_returns"] = dataset.dataset_returns
    with usable(place):
        root().mkdir(parents=True, exist_ok=True)
        sizes = [array.nbytes for name, array in arrays.items() if name not in written]
        require_room(root(), sum(sizes), max(sizes))
        with atomic_directory(place) as unfinished:
            for name, array in arrays.items():
                if name in written:
                    written[name].rename(unfinished / f"{name}.npy")
                else:
                    np.save(unfinished / f"{name}.npy", array, allow_pickle=False)
            # `sha256` is that of the large arrays' contents.
            meta["files"] = {name: sha256_of(unfinished / f"{name}.npy") for name in arrays if name not in _MAPPED}
            meta["checksum"] = _meta_hash(meta)
            (unfinished / _META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        mapped = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in arrays if name in _MAPPED}
    _verified.add((key, dataset.sha256))
    return _dataset(meta, {**arrays, **mapped})


def open(key: str) -> Dataset | None:
    """The entry, memory-mapped and verified (sizes, SHA-256), or None where there is none that can be used.

    A damaged one is named in a warning; the caller builds it again.

    Raises:
        FileError: it cannot be read, for another reason than damage.
    """
    place = root() / key
    try:
        if not (place / _META).exists():
            return None
        meta = json.loads((place / _META).read_text(encoding="utf-8"))
        if meta["format"] not in (1, FORMAT):
            _log.warning("%s: written in format %s, expected %s; it is built again", place, meta["format"], FORMAT)
            return None
        if meta["format"] == FORMAT and meta.pop("checksum", None) != _meta_hash(meta):
            raise ValueError(f"the checksum of {_META} is not that of its contents")
        names = ["rows", "truncations", "episode_starts", *(["frames", "frame_index"] if "frame_stack" in meta else [])]
        names += ["log_returns"] if "log_returns" in meta else []
        paths = {name: place / f"{name}.npy" for name in names}
        large = paths["rows"].stat().st_size > LARGE
        mapped = names if large else _MAPPED
        arrays = {name: np.load(path, mmap_mode="r" if name in mapped else None) for name, path in paths.items()}
        _check_arrays(meta, arrays)
        dataset = _dataset(meta, arrays)
        if (key, meta["sha256"]) not in _trusted:
            # What is large is not read again while its files do not change.
            check = partial(_checked, dataset, {paths[name]: value for name, value in meta.get("files", {}).items()})
            found = remembered(_memory(key), list(paths.values()), check) if large else check()
            if found != meta["sha256"]:
                raise ValueError(f"SHA-256 is {found[:12]}…, expected {meta['sha256'][:12]}…")
        _verified.add((key, meta["sha256"]))
    except FileNotFoundError as error:
        _log.warning("%s: incomplete (%s); it is not used and is built again", place, error)
        return None
    except _DAMAGE as error:
        if cause_of(error) is not None:
            raise FileError(cannot_read(place, error)) from error
        _log.warning("%s: damaged (%s: %s); it is not used and is built again", place, type(error).__name__, error)
        return None
    return dataset


def _checked(dataset: Dataset, files: dict[Path, str]) -> str:
    """The SHA-256 of a dataset's contents; raises `ValueError` where that of a file is not as it is given."""
    for path, expected in files.items():
        if sha256_of(path) != expected:
            raise ValueError(f"{path.name} has another SHA-256 than it was written with")
    return content_hash(dataset)


def scratch(length: int, kind: DTypeLike) -> NDArray[Any]:
    """An array [length] to be filled: a long one in a file of the cache without a name, which ends with the array.

    Raises:
        FileError: the root cannot be written, or has no room.
    """
    if length <= LARGEST_ARRAY:
        return np.empty(length, kind)
    with usable(root()):
        root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root()) as file:
            # Now, since a disk that becomes full while a memory map is written ends the process.
            os.posix_fallocate(file.fileno(), 0, length * np.dtype(kind).itemsize)
            return np.memmap(file, kind, "r+", shape=(length,))


def _meta_hash(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _check_arrays(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Raise `ValueError` where an array has another dtype or shape than `meta` says."""
    length, obs_shape, width = meta["transitions"], meta["obs_shape"], meta["act_dim"] + 2
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {}
    if "frame_stack" in meta:
        frame = (obs_shape[0] // meta["frame_stack"], *obs_shape[1:])
        expected["frames"] = np.uint8, (len(arrays["frames"]), *frame)
        expected["frame_index"] = np.int64, (length, 3)
    else:
        width += 2 * int(np.prod(obs_shape))
    expected["rows"] = np.float32, (length, width)
    expected["truncations"] = np.bool_, (length,)
    expected["episode_starts"] = np.int64, arrays["episode_starts"].shape
    if "log_returns" in meta:
        expected["log_returns"] = np.float64, (meta["log_returns"], 2)
    for name, (dtype, shape) in expected.items():
        found = arrays[name]
        if found.dtype != dtype or found.shape != shape:
            raise ValueError(f"{name} are {found.dtype} {found.shape}, expected {np.dtype(dtype)} {shape}")


def _dataset(meta: dict[str, Any], arrays: dict[str, Any]) -> Dataset:
    for name in {"truncations", "episode_starts", "log_returns"} & arrays.keys():
        arrays[name].flags.writeable = False
    stack = meta.get("frame_stack")
    return Dataset(
        task=Task(**meta["task"]),
        **{name: arrays[name] for name in ("rows", "truncations", "episode_starts")},
        **{name: meta[name] for name in ("name", "act_dim", "clipped_actions", "cut")},
        obs_shape=tuple(meta["obs_shape"]),
        digest=meta["sha256"],
        pixels=None if stack is None else Pixels(arrays["frames"], arrays["frame_index"], stack),
        dataset_returns=arrays.get("log_returns"),
        action_repeat=meta.get("action_repeat", 1),
        action_classes=meta.get("action_classes"),
    )


@contextlib.contextmanager
def usable(path: Path) -> Iterator[None]:
    """An `OSError` inside of this context becomes a `FileError` about the cache."""
    try:
        yield
    except OSError as error:
        cause = cause_of(error) or Cause(str(error), "Try again.")
        raise FileError(
            f"{path}: expected a cache that can be read and written, found: {cause.what}. {cause.remedy} Or set "
            "SEQEVAL_CACHE to another directory with room."
        ) from error
