"""JSON-lines files, which grow by one flushed line at a time: `metrics.jsonl` and `events.jsonl`.

A line begins with the CRC-32 of the rest: `{"crc32": "89abcdef", "evaluation": 0, …}`. Lines of earlier versions have none.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from seqeval_rl.errors import writing

_START = b'{"crc32": "'
# How a line with a checksum begins, also where one byte of it was changed.
_CHECKED = re.compile(rb'\{"crc32": "|.{11}[0-9a-f]{8}", ', re.DOTALL)
_LARGEST = 2**63
_BODY = len(_START) + len('89abcdef", ')  # bytes before the other fields


class Lines(NamedTuple):
    """What a file holds."""

    entries: list[dict[str, Any] | None]  # by line; None for one that is damaged
    damaged: list[str]  # of each damaged line: where it is, and what is wrong with it

    def sound(self) -> list[dict[str, Any]]:
        """The entries that are not damaged."""
        return [entry for entry in self.entries if entry is not None]


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Append one line, on disk when this returns. Raises `FileError`."""
    body = json.dumps(entry, allow_nan=False).encode()
    line = _START + b"%08x" % zlib.crc32(body) + b'", ' + body[1:] + b"\n"
    with writing(path, "Free some space; the same command resumes."), path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path, check: Callable[[Mapping[str, Any]], object] | None = None) -> Lines:
    """All complete lines; one whose checksum is wrong, or for which `check` raises `ValueError`, is damaged.

    A last line that was cut off when the writer was killed does not count. Raises `OSError`.
    """
    lines = Lines([], [])
    # What comes after the last newline was cut off.
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else [], 1):
        try:
            lines.entries.append(_parse(line, check))
        except ValueError as error:
            lines.entries.append(None)
            lines.damaged.append(f"{path}, line {number}: damaged, {error}")
    return lines


def _parse(line: bytes, check: Callable[[Mapping[str, Any]], object] | None) -> dict[str, Any]:
    """The line's fields. Raises `ValueError`, which says what is wrong."""
    if _CHECKED.match(line):
        body = b"{" + line[_BODY:]
        if line[:_BODY] != _START + b"%08x" % zlib.crc32(body) + b'", ':
            raise ValueError("its checksum is not that of its contents")
        line = body
    try:
        # Lines repeat their keys: one string for each key of the file takes a tenth of the memory.
        entry = from_json(line, cache_strings="keys")
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object of fields, found {type(entry).__name__}")
    if check is not None:
        check(entry)
    return entry


def require(fields: Mapping[str, Any], name: str, kind: type, where: str = "") -> Any:
    """The value of a field. Raises `ValueError` where it is missing, of another type, or a whole number beyond 64 bits."""
    value: Any = fields.get(name)
    if not isinstance(value, kind) or (isinstance(value, int) and not -_LARGEST < value < _LARGEST):
        found = f"found {str(value)[:40]!r}" if name in fields else "which is missing"
        raise ValueError(f"expected {where}{name} of type {kind.__name__}, {found}")
    return value


def drop_damaged_end(path: Path, check: Callable[[Mapping[str, Any]], object] | None = None) -> int:
    """Cut off what comes after the last sound line, so that the next append begins a new line; returns the number of bytes."""
    entries = read_lines(path, check).entries
    while entries and entries[-1] is None:
        entries.pop()
    data = path.read_bytes() if path.exists() else b""
    kept = sum(len(line) + 1 for line in data.split(b"\n")[: len(entries)])
    if kept < len(data):
        with path.open("r+b") as file:
            file.truncate(kept)
            os.fsync(file.fileno())
    return len(data) - kept
