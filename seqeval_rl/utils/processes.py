"""Processes: how many cores there are, and worker processes that end with their parent."""

from __future__ import annotations

import os
import time


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def exit_with_parent(parent: int) -> None:
    """End with the parent even where the pipe stays open, because another child of the parent has inherited its end."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
