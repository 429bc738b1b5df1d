"""What a dataset format implements, the class `Reader`, and finding the reader of a source among those that are installed."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NamedTuple

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.hashes import check_sha256
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.data.verification import Check, check_file, verify_dataset
from seqeval_rl.environments.tasks import Bound, Task
from seqeval_rl.errors import DataError, FileError, SeqevalError, UsageError
from seqeval_rl.results.legacy import rename_source
from seqeval_rl.utils.failures import cause_of, is_damage
from seqeval_rl.utils.memory import free_memory
from seqeval_rl.utils.text import first_line, one_line

GROUP = "seqeval_rl.readers"
HDF5_ENDINGS = (".hdf5", ".h5")
Mode = Literal["native", "d4rl"]
_log = logging.getLogger("seqeval_rl")


@dataclass(frozen=True)
class ReadOptions:
    """How a dataset is read."""

    task: Task | None = None  # environment and reference returns; None: those that come with the data
    mode: Mode = "native"  # see `load_dataset`
    terminate_on_end: bool = False  # likewise
    progress: bool = True  # show a bar for what takes long
    transitions: int | None = (
        None  # the number after the source's last ':'; matters to readers with `builds_to_size` only
    )
    action_low: Bound = None  # bounds of actions in place of those of the data and the environment
    action_high: Bound = None
    clip_actions: bool = False  # clip actions outside the bounds, however far
    trust_environments: tuple[str, ...] = ()  # code that the data may name, see `environments.trust`

    def bounded(self, raw: RawTransitions) -> RawTransitions:
        """The arrays as a reader with `takes_bounds` gives them to `Dataset.from_arrays`: with the bounds given here."""
        given = {key: value for key in ("action_low", "action_high") if (value := getattr(self, key)) is not None}
        return replace(raw, **given, clip_actions=self.clip_actions)

    def cache_key(self, key: str) -> str:
        """The key of a cache entry that depends on the bounds given here: another one for each of them."""
        facts = (self.action_low, self.action_high, self.clip_actions)
        return key if facts == (None, None, False) else f"{key}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class FetchOptions:
    """How a dataset's file is obtained."""

    sha256: str | None = None  # that the file must have
    offline: bool | None = None  # use no network; None: as `SEQEVAL_OFFLINE` says
    progress: bool = True
    transitions: int | None = None  # as in `ReadOptions`


@contextmanager
def open_file(path: Path, kind: str) -> Iterator[IO[bytes]]:
    """A file open for reading, whose errors become those for users; `kind` says what is expected, "an HDF5 file".

    Raises:
        FileError: it cannot be opened or read: no file, no permission, a lock, too little memory, a missing filter.
        DataError: it is damaged, or is something else.
    """
    try:
        with path.open("rb") as stream:
            yield stream
    except SeqevalError:
        raise
    except Exception as error:
        raise unreadable(path.absolute(), kind, error) from error


def unreadable(
    where: object, kind: str, error: Exception, again: str = "get it again, or write it again"
) -> SeqevalError:
    """The error for what an exception shows while `kind` is read: a cause outside of the file, damage, or another kind of file.

    Only where the format is broken does it advise to delete; `again` says how to replace what was deleted.
    """
    cause = cause_of(error)
    if cause is not None:
        return FileError(f"{where}: expected {kind}, found: {cause.what}. {cause.remedy}")
    if is_damage(error):
        return DataError(f"{where}: expected {kind}, found it damaged, {first_line(error)}. Delete it and {again}.")
    found = f"one missing: {error}" if isinstance(error, KeyError) else first_line(error)
    return DataError(f"{where}: expected {kind}, found {found}. Check how it was written.")


def require_memory(where: object, needed: int) -> None:
    """Raise `FileError` where so many bytes, which a file declares, are more than is free of the memory."""
    if needed > (free := free_memory()):
        raise FileError(
            f"{where}: expected arrays that fit into memory, found {needed / 1e9:,.1f} GB declared and {free / 1e9:,.1f} GB "
            "free. Check the file, or use a machine with more memory."
        )


def has_ending(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a file's name has one of these endings, in small or capital letters."""
    return name.lower().endswith(endings)


class Listing(NamedTuple):
    """A part of what `seqeval datasets list` prints."""

    heading: str
    sources: list[str]
    available: bool = True  # without a download


class Reader(ABC):
    """A dataset format. To add one, register a subclass under the entry point `seqeval_rl.readers`.

    A source is what a user writes, for example `minari:D4RL/door/human-v2:5000`; methods get it without the `:5000`.
    """

    prefix: ClassVar[str] = ""  # that the format's sources begin with, for example "minari:"
    endings: ClassVar[tuple[str, ...]] = ()  # of files in this format, in small letters, for example (".npz",)
    usage: ClassVar[tuple[str, ...]] = ()  # how sources are written, for `seqeval datasets list`
    modes: ClassVar[tuple[Mode, ...]] = ("native",)  # in which it can be read
    single_file: ClassVar[bool] = True  # a dataset is one file, so that it has a SHA-256
    builds_to_size: ClassVar[bool] = False  # `read` itself returns `options.transitions` transitions
    takes_bounds: ClassVar[bool] = False  # `read` uses `options.bounded`

    def matches(self, source: str) -> bool:
        """Whether a source is in this format."""
        return bool(self.prefix and source.startswith(self.prefix)) or has_ending(source, self.endings)

    def path_in(self, source: str) -> Path | None:
        """The path that a source names, with or without the prefix; None: it is a name behind the prefix."""
        rest = source.removeprefix(self.prefix)
        path = Path(rest).expanduser()
        return path if rest == source or has_ending(rest, self.endings) or path.exists() else None

    @abstractmethod
    def read(self, source: str, options: ReadOptions) -> Dataset:
        """The dataset, downloaded first where it is not on this machine.

        Raises:
            UsageError: there is no such dataset.
            DataError: the data cannot be used, or their task is unknown.
            FileError: a file cannot be read or written, or a download failed.
        """

    def fetch(self, source: str, options: FetchOptions) -> Path:
        """The dataset's file or directory, downloaded first where it is not on this machine; by default the path in the source.

        Raises:
            UsageError: there is no such dataset.
            FileError: no file, no network, or a full disk.
            DataError: its size or its SHA-256 is wrong.
        """
        path = Path(source.removeprefix(self.prefix)).expanduser()
        if not path.exists():
            raise FileError(f"{path.absolute()}: expected a file or directory, found none. Check the path.")
        if options.sha256 is not None:
            check_sha256(path, options.sha256)
        return path

    def list_datasets(self) -> list[Listing]:
        """The datasets that have names, on this machine or to be downloaded; by default none."""
        return []

    def verify(self, source: str, transitions: int | None, options: ReadOptions | None = None) -> Iterator[Check]:
        """Check a dataset that is on this machine; by default its file's SHA-256, and every column, read with these options.

        Raises:
            FileError: it is not on this machine.
            DataError: it is damaged, or differs from what was published or downloaded.
        """
        path = self.fetch(source, FetchOptions(offline=True, progress=False, transitions=transitions))
        if path.is_file():
            yield check_file(path)
        options = replace(options or ReadOptions(), progress=False, transitions=transitions)
        yield from verify_dataset(self.read(source, options))

    def citation(self, source: str) -> str | None:
        """BibTeX of what to cite for a dataset, which manifests record for `seqeval cite`; None where that knows the source, as
        it does D4RL, Minari, OGBench, V-D4RL and the bundled datasets, or where there is nothing to cite."""
        return None

    def label(self, source: str) -> str:
        """A short name among the datasets of its task, for figures; by default the last part of the source."""
        name = source.removeprefix(self.prefix).rstrip("/").rpartition("/")[2]
        return next((name[: -len(ending)] for ending in self.endings if has_ending(name, (ending,))), name)


@functools.cache
def readers() -> Mapping[str, Reader]:
    """The installed readers by the names of their entry points. One that cannot be loaded is named in a warning and left out."""
    loaded: dict[str, Reader] = {}
    for entry in entry_points(group=GROUP):
        try:
            reader: Any = entry.load()()
            if not isinstance(reader, Reader):
                raise TypeError(f"expected a subclass of seqeval_rl.data.Reader, found {reader!r}")
        except (Exception, SystemExit) as error:  # whatever the code of a third party raises
            _log.warning("dataset reader %s (%s) cannot be used: %s", entry.name, entry.value, one_line(error))
        else:
            loaded[entry.name] = reader
    if not loaded:
        raise UsageError(
            f"datasets: expected entry points {GROUP}, found none: the installation is older than the code. Install seqeval-rl "
            "again (in a checkout: pip install -e .)."
        )
    return loaded


def find_reader(source: str) -> Reader | None:
    """The reader of a source without its size; None: no reader takes it. A prefix in the source counts before its ending.

    Raises:
        UsageError: several readers take it.
    """
    names = [name for name, reader in readers().items() if reader.matches(source)]
    names = [name for name in names if source.startswith(readers()[name].prefix or "\0")] or names
    if len(names) > 1:
        chosen = [f"{prefix}{source}" for name in names if (prefix := readers()[name].prefix)]
        raise UsageError(
            f"dataset {source!r}: expected one reader for it, found {' and '.join(names)}. "
            + (f"Write {' or '.join(chosen)}." if chosen else "Uninstall one of them.")
        )
    return readers()[names[0]] if names else None


def parse_source(source: str) -> tuple[str, int | None]:
    """`"bundled/hopper/medium:10000"` as `("bundled/hopper/medium", 10000)`; None where no size is given.

    Raises:
        UsageError: what follows the colon is not a number of transitions.
    """
    if "\0" in source:
        raise UsageError(f"dataset {source!r}: expected a name or path, found the character NUL in it. Correct it.")
    if (renamed := rename_source(source)) != source:
        _note_renamed(source, renamed)
        source = renamed
    prefix = next((one.prefix for one in readers().values() if one.prefix and source.startswith(one.prefix)), "")
    rest = source.removeprefix(prefix)
    head, colon, tail = rest.rpartition(":")
    endings = tuple(end for one in readers().values() for end in one.endings)
    if not colon or "/" in tail or has_ending(tail, endings) or Path(rest).expanduser().exists():
        return source, None
    if not re.fullmatch(r"[0-9]+(_[0-9]+)*", tail) or int(tail) < 1:
        raise UsageError(
            f"dataset {source!r}: expected a number of transitions, 1 or more, after ':', found {tail!r}. Correct it."
        )
    return prefix + head, int(tail)


@functools.cache
def _note_renamed(old: str, new: str) -> None:
    """Once per source and process."""
    _log.warning("dataset %s: is now called %s; the old name is still accepted.", old, new)
