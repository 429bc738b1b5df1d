"""Downloads one file over HTTP: resumed where an earlier attempt stopped, verified, then moved into place atomically.

A file `name` is downloaded to `.name.partial`, described by `.name.partial.json`; `name.sha256` is written afterwards, in the
format of `sha256sum -c`. A partial file is resumed only if the server's ETag or modification time says that the file has not
changed since.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from seqeval_rl.errors import DataError, FileError, UsageError, writing
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.failures import cannot_read
from seqeval_rl.utils.files import atomic_write, lock_file, sync
from seqeval_rl.utils.text import one_line

ATTEMPTS = 4  # in a row without a new byte
FIRST_PAUSE = 1.0  # seconds before the second of them; doubled each time
_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 18  # bytes read at once
_LARGEST = 64 << 30  # bytes of a file; every dataset that has a name here is smaller
_SLOWEST = 1024  # bytes per second, on average over an attempt
_GRACE = 60.0  # seconds of an attempt in which it may be slower
# How the files of a format begin, by the ending of their name: a server may answer with a page that says it has no such file.
_BEGINNINGS = {".hdf5": b"\x89HDF\r\n\x1a\n", ".h5": b"\x89HDF\r\n\x1a\n", ".npz": b"PK\x03\x04"}
# Raised by network failures.
_FAILURES = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
_RETRIED = (408, 425, 429, 500, 502, 503, 504)  # statuses that may be temporary
_log = logging.getLogger("seqeval_rl")


def is_offline(offline: bool | None = None) -> bool:
    """Whether the network must not be used: `offline`, or where that is None `SEQEVAL_OFFLINE` (1, true, yes)."""
    return os.environ.get("SEQEVAL_OFFLINE", "").lower() in ("1", "true", "yes") if offline is None else offline


def address(variable: str, server: str, path: str) -> str:
    """The address of a file on a server, or on the mirror that an environment variable names.

    Raises:
        UsageError: the mirror is no http(s) address.
    """
    mirror = os.environ.get(variable) or server
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise UsageError(
            f"{variable}: expected an address such as https://example.org/data, under which {path} is, found {mirror!r}. "
            "Correct it."
        )
    return f"{mirror.rstrip('/')}/{path}"


def check_form_of_sha256(text: str) -> None:
    """Raise `UsageError` unless a text is a SHA-256 in hexadecimal digits."""
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise UsageError(
            f"SHA-256 {text[:80]!r}: expected 64 hexadecimal digits, found {len(text)} characters. Correct it."
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's contents; raises `FileError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(cannot_read(path, error)) from error


def recorded_sha256(path: Path) -> str | None:
    """The SHA-256 recorded when the file was downloaded, or None."""
    record = path.with_name(f"{path.name}.sha256")
    try:
        words = record.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(cannot_read(record, error)) from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"{record}: expected a SHA-256, found other bytes. Delete it; the file itself may be kept."
        ) from error
    return words[0] if words else None


def check_sha256(path: Path, expected: str) -> None:
    """Raise `DataError` unless the file has that SHA-256."""
    found = sha256_of(path)
    if found != expected.lower():
        raise DataError(
            f"{path}: SHA-256 is {found}, expected {expected.lower()}. Delete the file and get it again, or correct the hash."
        )


def download(
    url: str, target: Path, sha256: str | None = None, offline: bool | None = None, progress: bool = True
) -> Path:
    """The file at `target`, downloaded from `url` if it does not exist; one process at a time.

    Args:
        url: http or https.
        target: path of the file.
        sha256: that the file must have, whether it exists already or not; None: unknown.
        offline: use no network; None: as `SEQEVAL_OFFLINE` says.
        progress: show a bar.

    Raises:
        UsageError: `sha256` is none.
        FileError: no network, no such file, a full disk, too slow, or offline. The part received is kept, and resumed next time.
        DataError: its size or its hash is wrong, or it is a file of another kind than its name says. The file is deleted.
    """
    if sha256 is not None:
        check_form_of_sha256(sha256)
    if not target.is_file():
        if is_offline(offline):
            raise FileError(
                f"{target}: no such file on this machine, and the network is not to be used (offline). Unset "
                f"SEQEVAL_OFFLINE, or get it from {url} by other means and put it there."
            )
        with writing(target, "Set SEQEVAL_CACHE to a directory with room."):
            target.parent.mkdir(parents=True, exist_ok=True)
            with lock_file(_sibling(target, "lock")):
                if not target.is_file():  # another process may have downloaded it meanwhile
                    _Transfer(url, target, sha256, progress).run()
                    return target
    if sha256 is not None:
        check_sha256(target, sha256)
    return target


def _sibling(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")


@dataclass(frozen=True)
class _Remote:
    """Identifies a version of a file on a server."""

    url: str
    validator: str = ""  # a strong ETag or a modification time; empty: none given, so a partial file cannot be resumed
    size: int | None = None  # total bytes


class _Transfer:
    """The download of one file."""

    def __init__(self, url: str, target: Path, sha256: str | None, progress: bool):
        self._url, self._target, self._sha256 = url, target, sha256
        self._partial, self._facts = _sibling(target, "partial"), _sibling(target, "partial.json")
        self._remote = _Remote(url)
        self._bar = progress_bar(target.name, None, progress, "B", unit_divisor=1024)

    def run(self) -> None:
        """Try until the file is complete; an attempt that received new bytes resets the count."""
        failures, most = 0, self._have()
        with self._bar:
            while True:
                try:
                    self._receive(self._have())
                    break
                except urllib.error.HTTPError as error:
                    error.close()
                    if error.code not in _RETRIED:
                        raise FileError(
                            f"{self._url}: the server answers {error.code} {error.reason}. Check the address, or name "
                            "another server."
                        ) from error
                    problem: Exception = error
                except _FAILURES as error:
                    problem = error
                failures = 1 if self._have() > most else failures + 1
                most = max(most, self._have())
                if failures >= ATTEMPTS:
                    kept = f" {self._have()} bytes are kept, the same command resumes." if self._have() else ""
                    raise FileError(
                        f"{self._url}: download failed {ATTEMPTS} times ({_line(problem)}). Check the network, or put the "
                        f"file at {self._target} by other means.{kept}"
                    ) from problem
                pause = FIRST_PAUSE * 2 ** (failures - 1)
                _log.warning("%s: %s; trying again in %.3g s", self._url, _line(problem), pause)
                time.sleep(pause)
        self._finish()

    def _have(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _receive(self, have: int) -> None:
        """Request the missing bytes and append them to the partial file."""
        known = self._known()
        if not known.validator:
            have = 0
        headers = {"User-Agent": "seqeval-rl", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
        try:
            answer = _OPENER.open(urllib.request.Request(self._url, headers=headers), timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # the partial file is as long as the file, or longer
                raise
            error.close()
            if known.size == have:
                self._remote = known
                return
            self._drop()
            raise ConnectionError("the file is now shorter than the part received; starting over") from error
        with answer:
            start = self._start_of(answer, have)
            length = answer.headers.get("Content-Length") or ""
            size = int(length) if length.isdigit() else None
            self._remote = _Remote(self._url, _validator(answer), None if size is None else start + size)
            free = shutil.disk_usage(self._target.parent).free
            if size is not None and free < size:
                raise FileError(
                    f"{self._target}: {size / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free. Make room, or set "
                    "SEQEVAL_CACHE to a directory with room."
                )
            self._bar.reset(total=self._remote.size)
            self._bar.update(start)
            with self._partial.open("r+b" if start else "wb") as file:
                file.seek(start)
                # Written only after an earlier part is truncated: it must never describe another version than the partial file's.
                self._facts.write_text(json.dumps(asdict(self._remote)), encoding="utf-8")
                for piece in self._pieces(answer, start):
                    file.write(piece)
                    self._bar.update(len(piece))
        if self._remote.size is not None and self._have() < self._remote.size:
            raise ConnectionError(f"the connection ended after {self._have()} of {self._remote.size} bytes")

    def _pieces(self, answer: Any, start: int) -> Iterator[bytes]:
        """What the server sends, as it comes, within limits of time and size; checked first where it is a file's beginning."""
        begun, have = time.monotonic(), start
        while piece := answer.read1(_PIECE):
            if have == 0:
                self._check_beginning(piece)
            have += len(piece)
            if have > _LARGEST:
                self._drop()
                raise FileError(
                    f"{self._url}: expected a dataset of at most {_LARGEST / 1e9:.0f} GB, the server sends more. Check the "
                    f"address, or put the file at {self._target} by other means."
                )
            taken = time.monotonic() - begun
            if taken > _GRACE and have - start < _SLOWEST * taken:
                raise FileError(
                    f"{self._url}: the server sends {(have - start) / taken:.0f} bytes per second, expected at least {_SLOWEST}. "
                    "Try again, name another server, or get the file by other means. What came is kept, the same command resumes."
                )
            yield piece

    def _check_beginning(self, begun: bytes, whole: bool = False) -> None:
        """Raise `DataError` where a file, or the first bytes of one, does not begin as its name says."""
        expected = _BEGINNINGS.get(self._target.suffix.lower(), b"")
        found = begun[: len(expected)]
        if found != (expected if whole else expected[: len(found)]) or not begun:
            self._drop()
            kind = {b"": "a file", b"PK\x03\x04": "an .npz file"}.get(expected, "an HDF5 file")
            sent = f"one that begins with {begun[:40]!r}" if begun else "an empty one"
            raise DataError(
                f"{self._url}: expected {kind}, the server sends {sent}. Nothing is kept. Check the address, or name another "
                "server."
            )

    def _start_of(self, answer: Any, have: int) -> int:
        """The byte at which the answer begins: the requested one, or 0 where the server sends the full file."""
        if answer.status != 206:
            return 0
        sent = answer.headers.get("Content-Range", "no Content-Range")
        match, known = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", sent), self._known()
        same = known.validator != "" and known.validator == _validator(answer)
        sizes = ("*", match[2] if match and known.size is None else str(known.size))
        if not (same and match and int(match[1]) == have and match[2] in sizes):
            self._drop()
            raise ConnectionError(f"requested bytes from {have}, the server sends others ({sent}); starting over")
        return have

    def _known(self) -> _Remote:
        """The version that the partial file belongs to; without a validator where it is unknown or of another address."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            known = _Remote(**json.loads(self._facts.read_text(encoding="utf-8")))
            if known.url == self._url:
                return known
        return _Remote(self._url)

    def _finish(self) -> None:
        """Verify the file and move it into place."""
        have, expected = self._have(), self._remote.size
        with self._partial.open("rb") as file:
            self._check_beginning(file.read(_PIECE), whole=True)
        if expected is not None and have != expected:
            self._drop()
            raise DataError(
                f"{self._url}: expected {expected} bytes, found {have}. Get it again, or name another server."
            )
        digest = sha256_of(self._partial)
        if self._sha256 is not None and digest != self._sha256.lower():
            self._drop()
            raise DataError(
                f"{self._url}: SHA-256 is {digest}, expected {self._sha256.lower()}. Nothing is kept. Correct the hash, or "
                "name another server."
            )
        sync(self._partial)
        atomic_write(self._target.with_name(f"{self._target.name}.sha256"), f"{digest}  {self._target.name}\n")
        self._partial.rename(self._target)
        self._facts.unlink(missing_ok=True)
        sync(self._target.parent)

    def _drop(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._facts.unlink(missing_ok=True)


class _OnlyToHttps(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """See urllib."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise FileError(
                f"{req.full_url}: expected an address with https, the server names {newurl!r} instead. Name another server."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_OnlyToHttps)


def _validator(answer: Any) -> str:
    """A strong ETag, or the modification time; a weak ETag does not guarantee equal bytes."""
    etag = answer.headers.get("ETag") or ""
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified") or ""


def _line(error: Exception) -> str:
    # A `URLError` only wraps the reason; its subclass `HTTPError` describes itself.
    reason: Any = error.reason if type(error) is urllib.error.URLError else error
    return one_line(reason)
