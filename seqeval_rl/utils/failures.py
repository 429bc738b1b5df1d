"""Why a file could not be read: a cause outside of the file, such as a lock, memory, permissions or the network, or damage."""

from __future__ import annotations

import errno
import json
import pickle
import re
import zipfile
import zlib
from typing import NamedTuple


class Cause(NamedTuple):
    """What prevents reading, and the way out, each as a part of a message."""

    what: str  # for example "another process has it open for writing"
    remedy: str  # sentences


_LOCKED = Cause("another process has it open for writing", "Wait until that process has closed it.")
_MARKED = Cause(
    "it is marked as open for writing",
    "Wait for the process that writes it; if that was killed, `h5clear -s FILE` removes the mark.",
)
_NO_LOCKS = Cause("its file system has no locks", "Set HDF5_USE_FILE_LOCKING=FALSE.")
_FILTER = Cause(
    "it is compressed with a filter that HDF5 lacks here",
    "Install the filter (many are in the package hdf5plugin, whose folder HDF5_PLUGIN_PATH must name), or compress the file with "
    "gzip.",
)
# Of HDF5's and torch's messages, whose exceptions have no number of an error.
_MESSAGES = (
    (r"open for (SWMR )?write|h5clear", _MARKED),
    (r"(required )?filter .*(is )?not (registered|available)|can't open directory or file|plugin", _FILTER),
)
_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|unable to allocate|memory allocation failed|out of memory", re.IGNORECASE
)
_TEMPORARY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.EBUSY, errno.ENXIO)
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Change its permissions, or those of its directory."),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP), "Check the path."),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit (`ulimit -n`), or use fewer workers."),
    **dict.fromkeys(_TEMPORARY, "Check the disk or the network, and try again."),
}
# How HDF5, Arrow, numpy and torch name what is wrong inside of a file.
_DAMAGE = re.compile(
    r"truncated|signature|checksum|corrupt|inflate|decompress|\bbad |\bwrong |premature|not an arrow file|file is too small|"
    r"metadata bytes|pytorchstreamreader|central directory|failed to decode|address overflow",
    re.IGNORECASE,
)


def cause_of(error: BaseException) -> Cause | None:
    """What prevented reading, where it was something else than the file's contents; None: it may be the contents."""
    text = str(error)
    if is_out_of_memory(error):
        return Cause(f"not enough memory ({_first(text)})", "Close other programs, or use a machine with more memory.")
    if isinstance(error, ImportError):
        return Cause(_first(text), f"Install {error.name}." if error.name else "Install it.")
    number = error.errno if isinstance(error, OSError) else None
    if number is not None:
        if "lock" in text:
            return _LOCKED if number in (errno.EAGAIN, errno.EACCES) else _NO_LOCKS
        found = (error.strerror or text) if isinstance(error, OSError) else text
        # HDF5 puts its own account into `strerror`, and the system's message into that.
        inner = re.search(r"error message = '([^']*)'", found)
        remedy = _REMEDIES.get(number, "Try again.")
        return Cause(inner[1] if inner else _first(found), remedy)
    if isinstance(error, (OSError, RuntimeError)):
        return next((cause for pattern, cause in _MESSAGES if re.search(pattern, text, re.IGNORECASE)), None)
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice: the host's, as Python, numpy, torch and HDF5 say it, or a device's."""
    named = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    return named or bool(_MEMORY.search(str(error)))


def cannot_read(path: object, error: BaseException) -> str:
    """The message about a file that the system does not let us read."""
    cause = cause_of(error) or Cause(_first(str(error)), "Try again.")
    return f"{path}: cannot be read ({cause.what}). {cause.remedy}"


def is_damage(error: BaseException) -> bool:
    """Whether an exception shows that a file's contents are broken."""
    if cause_of(error) is not None:
        return False
    kinds = (zipfile.BadZipFile, zlib.error, EOFError, pickle.UnpicklingError, json.JSONDecodeError, UnicodeDecodeError)
    named = isinstance(error, (OSError, RuntimeError, KeyError)) or type(error).__module__.startswith("pyarrow")
    return isinstance(error, kinds) or (named and bool(_DAMAGE.search(str(error))))


def _first(text: str) -> str:
    return (text.splitlines() or ["no reason given"])[0].rstrip(".")
