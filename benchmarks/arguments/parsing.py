"""Parses `--set` settings, lists of names and lists of numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.utils.files import split_at

_OPENING = ("[", "{", '"', "'")  # how a TOML value that may contain commas begins
_CLOSING = ("]", "}", '"', "'")  # and how it ends


@dataclass(frozen=True)
class Several:
    """Several values for one setting: a sweep, each value a variant."""

    values: tuple[Any, ...]


def parse_setting(text: str) -> tuple[str, str, Any]:
    """`td3_bc.alpha=1.0` as (section, setting, value); with several values, `td3_bc.alpha=1,2.5`, the last is `Several`.

    Values are read as TOML (a list is one value), `none` as None, anything else as a plain word; a word with a
    comma is put in quotation marks. Raises `UsageError` where `text` has another form.
    """
    key, equals, value = text.partition("=")
    section, dot, setting = key.strip().partition(".")
    if not (equals and dot and section and setting):
        raise UsageError(
            f"--set {text!r}: expected section.setting=value, for example td3_bc.alpha=1.0 or protocol.increment=10."
        )
    pieces = _pieces(value.strip())
    if len(pieces) == 1:
        return section, setting, _value(pieces[0])
    for piece in pieces:
        if not piece or (piece.startswith(_OPENING) and not _is_toml(piece)):
            raise UsageError(
                f"--set {text!r}: expected values separated by commas, found "
                f"{f'{piece!r}, which is not closed' if piece else 'nothing before or after a comma'}. "
                "Write for example td3_bc.alpha=1,2.5 or td3_bc.hidden=[64,64],[256,256]."
            )
    return section, setting, Several(tuple(_value(piece) for piece in pieces))


def single_settings(texts: Sequence[str], sections: Iterable[str], otherwise: str) -> dict[str, dict[str, Any]]:
    """The settings of `--set` by section, each with one value; every section is there, also without settings.

    Raises `UsageError` for another section, and for several values, where the message says what to do `otherwise`.
    """
    found: dict[str, dict[str, Any]] = {section: {} for section in sections}
    for text in texts:
        section, setting, value = parse_setting(text)
        if section not in found:
            raise unknown("section", section, found, "--set")
        if isinstance(value, Several):
            raise UsageError(f"--set {text!r}: expected one value, found {len(value.values)}. {otherwise}")
        found[section][setting] = value
    return found


def _pieces(text: str) -> list[str]:
    """`text` split at its commas, except those inside a TOML list, table or string."""
    parts = text.split(",")
    pieces = []
    while parts:
        size = 1
        if parts[0].lstrip().startswith(_OPENING):
            # As many parts as it takes to close it, or all.
            sizes = (n for n in range(1, len(parts) + 1) if parts[n - 1].rstrip().endswith(_CLOSING))
            size = next((n for n in sizes if _is_toml(",".join(parts[:n]))), len(parts))
        pieces.append(",".join(parts[:size]).strip())
        parts = parts[size:]
    return pieces


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    return tomllib.loads(f"value = {text}")["value"] if _is_toml(text) else text


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    return True


def words(text: str | None) -> list[str] | None:
    """`a,b` as a list, in which an existing path may contain a comma; None stays None."""
    return None if text is None else [word.strip() for word in split_at(text, ",") if word.strip()]


def numbers(text: str | None, option: str) -> list[int] | None:
    """`0,1,2` as a list; None stays None. Raises `UsageError` for anything but whole numbers."""
    found = words(text)
    if found is None:
        return None
    if not found or not all(word.isdecimal() for word in found):
        raise UsageError(f"{option} {text!r}: expected whole numbers from 0 separated by commas, for example 0,1,2.")
    return [int(word) for word in found]
