"""SHA-256 of dataset files: computed, recorded next to a download, and compared."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from seqeval_rl.errors import DataError, FileError, UsageError
from seqeval_rl.utils.failures import cannot_read


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
