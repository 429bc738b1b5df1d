"""Receives one file from one address over HTTP: resumed where an earlier attempt stopped, verified, moved into place atomically.

A file `name` is received in `.name.partial`, described by `.name.partial.json`; `name.sha256` is written afterwards, in the
format of `sha256sum -c`. A partial file is resumed only if the server's ETag or modification time says that the file has not
changed since.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from seqeval_rl.data.hashes import sha256_of
from seqeval_rl.errors import DataError, FileError, SeqevalError
from seqeval_rl.utils.console import progress_bar
from seqeval_rl.utils.files import atomic_write, require_room, sync
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
_OTHER = "Nothing is kept. Check the address, or name another server."
_log = logging.getLogger("seqeval_rl")


class SourceFailure(Exception):
    """Why an address did not give the file; the next one may."""

    def __init__(self, url: str, kind: type[SeqevalError], cause: str, remedy: str):
        super().__init__(f"{url}: {cause}")
        self.url, self.kind, self.cause, self.remedy = url, kind, cause, remedy


class Wanted(NamedTuple):
    """What is known of a file before it is received; see `download.download`."""

    sha256: str | None = None
    size: int | None = None
    check: Callable[[Path], None] | None = None
    afterwards: int = 0


def sibling(target: Path, suffix: str) -> Path:
    """A file next to the target that belongs to its download."""
    return target.with_name(f".{target.name}.{suffix}")


@dataclass(frozen=True)
class _Remote:
    """Identifies a version of a file on a server."""

    url: str
    validator: str = ""  # a strong ETag or a modification time; empty: none given, so a partial file cannot be resumed
    size: int | None = None  # total bytes


class Transfer:
    """The download of one file from one address."""

    def __init__(self, url: str, target: Path, wanted: Wanted, progress: bool, attempts: int = ATTEMPTS):
        self._url, self._target, self._wanted, self._attempts = url, target, wanted, attempts
        self._partial, self._facts = sibling(target, "partial"), sibling(target, "partial.json")
        self._remote = _Remote(url)
        self._bar = progress_bar(target.name, None, progress, "B", unit_divisor=1024)

    def run(self) -> None:
        """Try until the file is complete; an attempt that received new bytes resets the count.

        Raises:
            SourceFailure: it cannot be had from this address.
            OSError: it cannot be written.
        """
        failures, most = 0, self._have()
        if self._wanted.size:
            self._require_room(self._wanted.size, most)
        with self._bar:
            while True:
                try:
                    self._receive(self._have())
                    break
                except urllib.error.HTTPError as error:
                    error.close()
                    if error.code not in _RETRIED:
                        cause = f"the server answers {error.code} {error.reason}"
                        raise self._failure(FileError, cause, "Check the address, or name another server.") from error
                    problem: Exception = error
                except _FAILURES as error:
                    problem = error
                failures = 1 if self._have() > most else failures + 1
                most = max(most, self._have())
                if failures >= self._attempts:
                    kept = f" {self._have()} bytes are kept, the same command resumes." if self._have() else ""
                    raise self._failure(
                        FileError,
                        f"download failed {failures} times ({_line(problem)})",
                        f"Check the network, or put the file at {self._target} by other means.{kept}",
                    ) from problem
                pause = FIRST_PAUSE * 2 ** (failures - 1)
                _log.warning("%s: %s; trying again in %.3g s", self._url, _line(problem), pause)
                time.sleep(pause)
        self._finish()

    def _failure(self, kind: type[SeqevalError], cause: str, remedy: str) -> SourceFailure:
        return SourceFailure(self._url, kind, cause, remedy)

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
        except _RefusedRedirection as refused:
            raise self._failure(FileError, str(refused), "Name another server.") from refused
        with answer:
            start = self._start_of(answer, have)
            self._expect_size(answer, start)
            pieces = self._pieces(answer, start)
            # Before a part received earlier is overwritten: the answer may break off at once, or be a page.
            first = next(pieces, b"")
            if not first and start == 0:
                if self._remote.size:
                    raise ConnectionError(f"the connection ended after 0 of {self._remote.size} bytes")
                self._check_beginning(first)
            self._bar.reset(total=self._remote.size)
            self._bar.update(start)
            with self._partial.open("r+b" if start else "wb") as file:
                file.seek(start)
                # Written only after an earlier part is truncated: it must never describe another version than the partial file's.
                self._facts.write_text(json.dumps(asdict(self._remote)), encoding="utf-8")
                for piece in chain((first,), pieces):
                    file.write(piece)
                    self._bar.update(len(piece))
        if self._remote.size is not None and self._have() < self._remote.size:
            raise ConnectionError(f"the connection ended after {self._have()} of {self._remote.size} bytes")

    def _expect_size(self, answer: Any, start: int) -> None:
        """Compare the size that the server says with the one that is known, and with the room on the disk."""
        length = answer.headers.get("Content-Length") or ""
        size = start + int(length) if length.isdigit() else None
        self._remote = _Remote(self._url, _validator(answer), size)
        if size and size != (self._wanted.size or size):
            if start == 0:
                self._check_beginning(answer.read1(_PIECE))  # how a page begins says more than its size
            raise self._failure(DataError, f"expected {self._wanted.size:,} bytes, the server has {size:,}", _OTHER)
        if size:
            self._require_room(size, start)

    def _require_room(self, size: int, have: int) -> None:
        require_room(self._target.parent, size - have + self._wanted.afterwards, size)

    def _pieces(self, answer: Any, start: int) -> Iterator[bytes]:
        """What the server sends, as it comes, within limits of time and size; checked first where it is a file's beginning."""
        begun, have = time.monotonic(), start
        while piece := answer.read1(_PIECE):
            if have == 0:
                self._check_beginning(piece)
            have += len(piece)
            if have > _LARGEST:
                self._drop()
                raise self._failure(
                    FileError,
                    f"expected a dataset of at most {_LARGEST / 1e9:.0f} GB, the server sends more",
                    f"Check the address, or put the file at {self._target} by other means.",
                )
            taken = time.monotonic() - begun
            if taken > _GRACE and have - start < _SLOWEST * taken:
                raise self._failure(
                    FileError,
                    f"the server sends {(have - start) / taken:.0f} bytes per second, expected at least {_SLOWEST}",
                    "Try again, name another server, or get the file by other means. What came is kept, the same command "
                    "resumes.",
                )
            yield piece

    def _check_beginning(self, begun: bytes, whole: bool = False) -> None:
        """Raise `SourceFailure` where a file, or the first bytes of one, does not begin as its name says."""
        expected = _BEGINNINGS.get(self._target.suffix.lower(), b"")
        found = begun[: len(expected)]
        if found != (expected if whole else expected[: len(found)]) or not begun:
            if whole or self._known().validator:  # not a part that another source sent
                self._drop()
            kind = {b"": "a file", b"PK\x03\x04": "an .npz file"}.get(expected, "an HDF5 file")
            sent = f"one that begins with {begun[:40]!r}" if begun else "an empty one"
            raise self._failure(DataError, f"expected {kind}, the server sends {sent}", _OTHER)

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
        with self._partial.open("rb") as file:
            self._check_beginning(file.read(_PIECE), whole=True)
        have, expected = self._have(), self._wanted.size or self._remote.size
        digest = sha256_of(self._partial)
        try:
            if expected is not None and have != expected:
                raise self._failure(DataError, f"expected {expected} bytes, found {have}", _OTHER)
            if self._wanted.sha256 is not None and digest != self._wanted.sha256.lower():
                cause = f"SHA-256 is {digest}, expected {self._wanted.sha256.lower()}"
                raise self._failure(DataError, cause, "Nothing is kept. Correct the hash, or name another server.")
            if self._wanted.check is not None:
                try:
                    self._wanted.check(self._partial)
                except DataError as error:
                    raise self._failure(DataError, f"it sends another file ({one_line(error)})", _OTHER) from error
        except SourceFailure:
            self._drop()
            raise
        sync(self._partial)
        atomic_write(self._target.with_name(f"{self._target.name}.sha256"), f"{digest}  {self._target.name}\n")
        self._partial.rename(self._target)
        self._facts.unlink(missing_ok=True)
        sync(self._target.parent)

    def _drop(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._facts.unlink(missing_ok=True)


class _RefusedRedirection(Exception):
    """A server names an address that must not be followed."""


class _OnlyToHttps(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """See urllib."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise _RefusedRedirection(f"expected an address with https, the server names {newurl!r} instead")
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
