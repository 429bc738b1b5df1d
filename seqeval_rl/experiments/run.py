"""Runs a sweep: plans it, then trains what is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from seqeval_rl.errors import SeqevalError
from seqeval_rl.experiments.job import RunEnd
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.scheduler import run_jobs
from seqeval_rl.experiments.streams import forget_streams
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.results.run_log import RUN_LOG
from seqeval_rl.training.device import choose_device


def run_sweep(
    sweep: Sweep, out: Path, device: str = "auto", backend: str = "auto", overwrite: bool = False, progress: bool = True
) -> list[RunEnd]:
    """Plan and run; returns how each run ended, and which had failed before. Finished runs are not among them.

    Raises:
        Interrupted: Ctrl-C or a request to end; the same command resumes.
        SeqevalError: see `plan`.
    """
    try:
        planned = plan(sweep, out, choose_device(device), backend, overwrite, progress)
        if progress and any(len(job.runs) > 1 for job in planned.jobs):
            print(f"plan: {planned}", file=sys.stderr)
        return [*planned.failed, *run_jobs(planned.jobs, progress, out / RUN_LOG if progress else None)]
    finally:
        forget_streams()


def raise_crashed(ends: Iterable[RunEnd]) -> None:
    """Raise `SeqevalError` if a run stopped with an exception."""
    crashed = [end for end in ends if end.status == "crashed"]
    if crashed:
        raise SeqevalError(
            f"{len(crashed)} runs stopped with an exception, first {crashed[0].directory}: {crashed[0].message}"
        )
