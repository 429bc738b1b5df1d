"""JSON-lines files, which grow by one flushed line at a time: `metrics.jsonl` and `events.jsonl`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from seqeval_rl.errors import DataError, writing


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Append one line, on disk when this returns. Raises `FileError`."""
    with writing(path, "Free some space; the same command resumes."), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All complete lines. A last line that was cut off when the writer was killed does not count.

    Raises:
        DataError: another line is damaged.
    """
    entries, damaged = read_sound_lines(path)
    if damaged:
        raise DataError(f"{damaged[0]}. Restore the file, or move the run's directory away to begin it again.")
    return entries


def read_sound_lines(path: Path, **needed: type) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines that hold the needed fields of these types; and for each other line, where it is and what is wrong with it."""
    sound, damaged = [], []
    # What comes after the last newline was cut off.
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            for name, kind in needed.items():
                if not isinstance(entry[name], kind):
                    raise TypeError(f"{name}: expected {kind.__name__}, found {type(entry[name]).__name__}")
        except (ValueError, KeyError, TypeError) as error:
            what = "not JSON" if isinstance(error, ValueError) else "fields are missing"
            damaged.append(f"{path}, line {number}: damaged, {what} ({error!r})")
        else:
            sound.append(entry)
    return sound, damaged


def cut_torn_line(path: Path) -> None:
    """Delete a last line that was cut off when its writer was killed, so that the next append begins a new line."""
    data = path.read_bytes() if path.exists() else b""
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
