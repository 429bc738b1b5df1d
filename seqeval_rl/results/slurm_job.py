"""The SLURM array job that works for a results directory: which it is, and what its tasks do. Needs no torch."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from seqeval_rl.utils.files import atomic_write

FOLDER = ".slurm"  # in the results directory: the array's id, what its tasks are told, and their output
_SUBMITTED = "submitted.json"


def remember(out: Path, array: str) -> None:
    """Record the id of the array that was submitted for a results directory. Raises `OSError`."""
    atomic_write(out / FOLDER / _SUBMITTED, json.dumps({"job": int(array)}))


def submitted(out: Path) -> str | None:
    """The array that was last submitted for a results directory."""
    try:
        found: Any = json.loads((out / FOLDER / _SUBMITTED).read_text(encoding="utf-8"))
        return str(int(found["job"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def queued(array: str | None) -> Counter[str]:
    """How many tasks of an array are in which state, `pending (Resources)`; none when SLURM has them no more.

    Raises `OSError` where `squeue` cannot be called.
    """
    if array is None:
        return Counter()
    command = ["squeue", "--noheader", "--array", "--jobs", array, "--format", "%T (%r)"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return Counter({"in an unknown state (squeue does not answer)": 1})
    if found.returncode:
        if "Invalid job id" in found.stderr:  # ended and forgotten
            return Counter()
        # A controller that restarts must not look like an array that has ended.
        return Counter({f"in an unknown state ({' '.join(found.stderr.split()) or 'squeue failed'})": 1})
    states = (line.strip().partition(" ") for line in found.stdout.splitlines() if line.strip())
    return Counter(f"{state.lower()} {reason}".removesuffix(" (None)") for state, _, reason in states)


def described(out: Path) -> str:
    """`SLURM job 12: 3 running, 5 pending (Resources)`; empty where SLURM has nothing for this directory."""
    array = submitted(out)
    try:
        states = queued(array)
    except OSError:
        return f"SLURM job {array}: unknown here, squeue cannot be called"
    return f"SLURM job {array}: {', '.join(f'{count} {state}' for state, count in states.items())}" if states else ""
