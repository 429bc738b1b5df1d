"""Several values in one argument of a command."""

from __future__ import annotations

from seqeval_rl.errors import UsageError


def words(text: str | None) -> list[str] | None:
    """`a,b` as a list; None stays None."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str | None, option: str) -> list[int] | None:
    """`0,1,2` as a list; None stays None. Raises `UsageError` for anything but whole numbers."""
    found = words(text)
    if found is None:
        return None
    if not found or not all(word.isdigit() for word in found):
        raise UsageError(f"{option} {text!r}: expected whole numbers from 0 separated by commas, for example 0,1,2.")
    return [int(word) for word in found]
