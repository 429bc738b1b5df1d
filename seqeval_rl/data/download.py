"""Downloads a file from the first of its sources that has it, and says why the others did not serve.

A source is an address of the same file: its authors' server, a public copy, the user's mirror. Which file is the right one is
decided by its size and SHA-256 where they are known, else by what can be checked: how it begins, and a reader's own check.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from seqeval_rl.data import cache
from seqeval_rl.data.hashes import check_form_of_sha256, check_sha256
from seqeval_rl.data.transfer import ATTEMPTS, SourceFailure, Transfer, Wanted, sibling
from seqeval_rl.errors import DataError, FileError, SeqevalError, UsageError, writing
from seqeval_rl.utils.files import lock_file

_HUB = "https://huggingface.co"
_log = logging.getLogger("seqeval_rl")


def is_offline(offline: bool | None = None) -> bool:
    """Whether the network must not be used: `offline`, or where that is None `SEQEVAL_OFFLINE` (1, true, yes)."""
    return os.environ.get("SEQEVAL_OFFLINE", "").lower() in ("1", "true", "yes") if offline is None else offline


def hub_address(repository: str, path: str) -> str:
    """The address of a file in a dataset repository of the Hugging Face Hub, or of its mirror in `HF_ENDPOINT`."""
    endpoint = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    return f"{endpoint}/datasets/{repository}/resolve/main/{quote(path)}"


def sources(variable: str, path: str, public: Sequence[str]) -> list[str]:
    """Addresses of a file in the order in which they are tried.

    Args:
        variable: environment variable in which a user names mirrors, separated by spaces; then only these are tried.
        path: of the file on a mirror.
        public: its addresses where no mirror is named.

    Raises:
        UsageError: a mirror is no http(s) address.
    """
    mirrors = os.environ.get(variable, "").split()
    for mirror in mirrors:
        if urlsplit(mirror).scheme not in ("http", "https"):
            raise UsageError(
                f"{variable}: expected an address such as https://example.org/data, under which {path} is, found {mirror!r}. "
                "Correct it; several are separated by spaces."
            )
    return [f"{mirror.rstrip('/')}/{path}" for mirror in mirrors] or list(public)


def download(
    urls: str | Sequence[str],
    target: Path,
    sha256: str | None = None,
    offline: bool | None = None,
    progress: bool = True,
    *,
    size: int | None = None,
    check: Callable[[Path], None] | None = None,
    afterwards: int = 0,
) -> Path:
    """The file at `target`, downloaded if it does not exist; one process at a time.

    Args:
        urls: http or https; several are tried in this order until one has the file.
        target: path of the file.
        sha256: that the file must have, whether it exists already or not; None: unknown.
        offline: use no network; None: as `SEQEVAL_OFFLINE` says.
        progress: show a bar.
        size: bytes of the file; None: unknown.
        check: raises `SeqevalError` for what is another file, of the path of one that is complete.
        afterwards: bytes that are written to the same disk when it is there.

    Raises:
        UsageError: `sha256` is none.
        FileError: no network, no such file, too little room, too slow, or offline. The part received is kept, and resumed next
            time.
        DataError: its size or its hash is wrong, or it is a file of another kind than its name says. It is not kept.
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    if sha256 is not None:
        check_form_of_sha256(sha256)
    if not target.is_file():
        if is_offline(offline):
            raise FileError(
                f"{target}: no such file on this machine, and the network is not to be used (offline). Unset "
                f"SEQEVAL_OFFLINE, or get it from {' or '.join(urls)} by other means and put it there."
            )
        inside = target.is_relative_to(cache.root())
        with writing(
            target, "Make room" + (", or set SEQEVAL_CACHE to a directory with room." if inside else " there.")
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            with lock_file(sibling(target, "lock")):
                if not target.is_file():  # another process may have downloaded it meanwhile
                    _from_first(urls, target, Wanted(sha256, size, check, afterwards), progress)
                    return target
    if sha256 is not None:
        check_sha256(target, sha256)
    return target


def _from_first(urls: Sequence[str], target: Path, wanted: Wanted, progress: bool) -> None:
    """Download from the first source that has the file. Raises as `download` does, and `OSError` for too little room."""
    failures: list[SourceFailure] = []
    for number, url in enumerate(urls):
        others = len(urls) - number - 1
        try:
            # With another source at hand a server that is down is left sooner.
            Transfer(url, target, wanted, progress, 2 if others else ATTEMPTS).run()
            return
        except SourceFailure as failure:
            failures.append(failure)
            if others:
                _log.warning("%s: %s; trying %s", url, failure.cause, urls[number + 1])
    raise _error(target, failures) from failures[-1]


def _error(target: Path, failures: Sequence[SourceFailure]) -> SeqevalError:
    """What is said where no source has the file: each one and why."""
    kind = DataError if all(failure.kind is DataError for failure in failures) else FileError
    said = "; ".join(f"{failure.url}: {failure.cause}" for failure in failures)
    if len(failures) == 1:
        return kind(f"{said}. {failures[0].remedy}")
    return kind(
        f"{target.name}: none of its {len(failures)} sources has the file. {said}. Try again later, or put the file at {target} "
        "by other means."
    )
