"""A memory of files' hashes, by their sizes and times of modification, so that a large log is not read anew to be recognised."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

# A file that was changed less than this before it was hashed could change again without its time of modification showing it.
_SETTLED = 2_000_000_000  # nanoseconds


class HashMemo:
    """What is remembered of one set of files."""

    def __init__(self, folder: Path, paths: Sequence[Path]):
        """Look at the files' state now. Memories lie in `folder`. Raises `OSError` where a file cannot be found."""
        self._begun = time.time_ns()
        # (path, bytes, nanoseconds); absolute, since a relative path means another file elsewhere.
        self.state = [(path, *self._look(path)) for path in (Path(os.path.abspath(path)) for path in paths)]
        names = "\0".join(str(path) for path, _, _ in self.state)
        self._place = folder / f"{hashlib.sha256(names.encode()).hexdigest()[:32]}.json"

    @staticmethod
    def _look(path: Path) -> tuple[int, int]:
        found = path.stat()
        return found.st_size, found.st_mtime_ns

    def recall(self) -> str | None:
        """The hash of the files as they are, or None."""
        try:
            memory = json.loads(self._place.read_text())
            return str(memory["sha256"]) if memory["files"] == self._files() else None
        except (OSError, ValueError, KeyError, TypeError):  # none there, or damaged: it is computed again
            return None

    def remember(self, sha256: str) -> None:
        """Keep the files' hash, unless they were changed just now or cannot be told apart; a full disk is no error."""
        if any(self._begun - changed < _SETTLED for _, _, changed in self.state):
            return
        with contextlib.suppress(OSError):
            self._place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._place.parent, delete=False) as file:
                json.dump({"files": self._files(), "sha256": sha256}, file)
            Path(file.name).replace(self._place)

    def _files(self) -> list[list[str | int]]:
        return [[str(path), size, changed] for path, size, changed in self.state]
