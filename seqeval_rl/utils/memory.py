"""Memory: how much of it this process may still take."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of memory that this process may still take: what the machine has free, within the limits of its control group and of
    `ulimit -v`; `sys.maxsize` where the system does not say."""
    free = [sys.maxsize]
    with contextlib.suppress(OSError, ValueError, IndexError):
        free.append(1024 * int(re.findall(r"MemAvailable: +(\d+) kB", _text(Path("/proc/meminfo")))[0]))
    with contextlib.suppress(OSError, ValueError):  # no control group, or "max", which is no limit
        limit, taken = (int(_text(_CONTROL_GROUP / f"memory.{name}")) for name in ("max", "current"))
        # Files that are cached are given back when memory is wanted.
        cached = sum(map(int, re.findall(r"inactive_file (\d+)", _text(_CONTROL_GROUP / "memory.stat"))))
        free.append(limit - taken + cached)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit >= 0:
            free.append(limit - int(_text(Path("/proc/self/statm")).split()[0]) * os.sysconf("SC_PAGESIZE"))
    return max(0, min(free))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
