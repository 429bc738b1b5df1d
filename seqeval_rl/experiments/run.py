"""Running a sweep: plan it, then train what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

from seqeval_rl.experiments.job import RunEnd
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.scheduler import run_jobs
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.results.run_log import RUN_LOG
from seqeval_rl.training.device import choose_device


def run_sweep(
    sweep: Sweep, out: Path, device: str = "auto", backend: str = "auto", overwrite: bool = False, progress: bool = True
) -> list[RunEnd]:
    """Plan and run; returns how each run ended, those that were there already included as one entry each where they failed.

    Raises:
        Interrupted: Ctrl-C or a request to end; the same command goes on.
        SeqevalError: see `plan`.
    """
    planned = plan(sweep, out, choose_device(device), backend, overwrite, progress)
    if progress and any(len(job.runs) > 1 for job in planned.jobs):
        print(f"plan: {planned}", file=sys.stderr)
    return [*planned.failed, *run_jobs(planned.jobs, progress, out / RUN_LOG if progress else None)]
