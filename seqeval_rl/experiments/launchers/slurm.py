"""Trains on a SLURM cluster (extra `slurm`): one array job, whose tasks are shards that are trained as `local` does.

A task that is preempted, or whose node fails, is queued again by SLURM and resumes; near the limit of time it does so itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from seqeval_rl.errors import Interrupted, UsageError, writing
from seqeval_rl.experiments.job import PlannedRun, RunEnd
from seqeval_rl.experiments.launchers.launcher import LaunchOptions, SweepRequest, begun, installed
from seqeval_rl.experiments.launchers.local import LocalLauncher
from seqeval_rl.experiments.sweep import Shard
from seqeval_rl.experiments.worker import died
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.results.read import scan_results
from seqeval_rl.results.slurm_job import FOLDER, described, remember, submitted
from seqeval_rl.utils.interruption import signals_interrupt
from seqeval_rl.utils.text import first_line

_MOST = 1000  # tasks of an array; SLURM's own limit is 1001, if the cluster sets no other
_CORES = 8  # for a task with a GPU: they evaluate
_DEFAULT_MINUTES = 24 * 60
_LEAST_MINUTES = 5
_SIGNAL_SECONDS = 120  # before the limit of time at which SLURM tells a task
_POLL = 5.0  # seconds between two looks at the queue
_ENDING = 600.0  # seconds that an interrupted task waits for SLURM to end it
_RESTARTS = 1000  # of a task near its limit of time


class SlurmLauncher:
    """See the module. The command submits, and waits; interrupted it leaves the array in SLURM, and waits for it again."""

    def __init__(self, options: LaunchOptions):
        """`options.partition`: default the cluster's; `options.time`: limit of each task, default 1 day. Raises `UsageError`."""
        options.only("slurm", "partition", "time")
        self._partition, self._minutes = options.partition, minutes(options.time)
        installed("submitit", "slurm", "submitit")
        if shutil.which("squeue") is None:
            raise UsageError(
                "--launcher slurm: expected the command squeue, found none. Run this on a node of a SLURM cluster."
            )

    def launch(self, request: SweepRequest) -> list[RunEnd]:
        """See `Launcher.launch`."""
        if request.device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"--device {request.device}: expected auto, cpu or cuda with --launcher slurm, where SLURM chooses the devices. "
                "Choose one of these."
            )
        if request.sweep.shard != Shard(1, 1):
            raise UsageError(
                "--shard: expected none with --launcher slurm, whose tasks are shards already. Leave it out."
            )
        request = replace(request, out=request.out.resolve())
        before = submitted(request.out)
        if before is not None and described(request.out):
            request.say(f"SLURM job {before} works for {request.out} already: waiting for it, then for what it leaves")
            self._wait(before, request)
        # Here only to see what is missing: each task plans its own part, on the device that it gets.
        planned = request.plan(torch.device("cpu"))
        if not planned.jobs:
            return list(planned.failed)
        for name in {job.algorithm for job in planned.jobs}:
            if not find_algorithm(name).importable:
                raise UsageError(
                    f"{name}: expected an algorithm in a file or module with --launcher slurm. Move it to one."
                )
        begun(planned.jobs)
        runs = [run for job in planned.jobs for run in job.runs]
        array = self._submit(replace(request, overwrite=False), runs)
        self._wait(array, request)
        for pickled in (request.out / FOLDER).glob(f"{array}_*.pkl"):  # what the tasks were told
            pickled.unlink(missing_ok=True)
        return [*planned.failed, *(_end(run, array, request.out) for run in runs)]

    def _submit(self, request: SweepRequest, runs: Collection[PlannedRun]) -> str:
        """Submit an array with a task for each run (on a GPU for each algorithm and stream) of which something is missing."""
        import submitit

        seeds, cuda = len(request.sweep.seeds), request.device == "cuda"
        pairs = len(request.sweep.variants()) * len(request.sweep.streams)
        count = min(pairs if cuda else pairs * seeds, _MOST)
        # As `Sweep.seeds_in_shard` counts.
        numbers = sorted({(run.number // seeds if pairs >= count else run.number) % count for run in runs})
        shards = [replace(request, sweep=replace(request.sweep, shard=Shard(number + 1, count))) for number in numbers]
        folder = request.out / FOLDER
        with writing(folder, "Choose another --out."):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            executor = submitit.SlurmExecutor(folder)
            executor.update_parameters(
                job_name=f"seqeval-{request.sweep.name}"[:60], time=self._minutes, array_parallelism=_MOST, nodes=1,
                ntasks_per_node=1, cpus_per_task=_CORES if cuda else 1, stderr_to_stdout=True,
                additional_parameters={"requeue": True, "signal": f"USR1@{_SIGNAL_SECONDS}"},
                **({"gpus_per_node": 1} if cuda else {}), **({"partition": self._partition} if self._partition else {}),
            )  # fmt: skip
            with executor.batch():  # an array, also of one task
                jobs = [executor.submit(_Task(self._minutes), shard) for shard in shards]
        except (RuntimeError, OSError, submitit.core.utils.FailedJobError) as error:
            raise UsageError(
                f"--launcher slurm: the array was not submitted ({first_line(error)}). Correct it; `sinfo` shows the partitions."
            ) from error
        array = str(jobs[0].job_id).partition("_")[0]
        remember(request.out, array)
        request.say(f"SLURM job {array}: {len(jobs)} tasks for {len(runs)} runs; their output is in {folder}")
        return array

    def _wait(self, array: str, request: SweepRequest) -> None:
        """Wait until SLURM has no task of an array any more; what the tasks do is said when it changes."""
        said = ""
        try:
            while text := described(request.out):
                if text != said:
                    request.say(f"{time.strftime('%H:%M:%S')} {text}")
                    said = text
                time.sleep(_POLL)
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped waiting; SLURM job {array} continues. The same command waits for it again, `seqeval status "
                f"{request.out}` shows its runs, and `scancel {array}` ends it."
            ) from None


class _Task:
    """What a task of the array calls."""

    def __init__(self, minutes: int):
        self._minutes = minutes  # limit of time

    def __call__(self, request: SweepRequest) -> None:
        """Train what is missing of a shard."""
        begun = time.monotonic()
        try:
            with signals_interrupt():
                LocalLauncher(LaunchOptions()).launch(request)
        except (KeyboardInterrupt, Interrupted):
            late = time.monotonic() - begun > 60 * self._minutes - 2 * _SIGNAL_SECONDS
            if late and int(os.environ.get("SLURM_RESTART_COUNT", "0")) < _RESTARTS:
                subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
            # Whether it is queued again or cancelled is SLURM's to decide: a task that ends by itself would have failed.
            time.sleep(_ENDING)
            raise


def minutes(text: str) -> int:
    """Of a limit as SLURM writes them: `90`, `12:30:00`, `2-0`, `2-00:00:00`; 1 day where it is empty. Raises `UsageError`."""
    if not text:
        return _DEFAULT_MINUTES
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    found = 0
    if all(part.isascii() and part.isdecimal() for part in [days if dash else "0", *parts]) and len(parts) <= 3:
        # With days the first part is hours; without them one or two parts are minutes and seconds.
        parts = [*parts, "0", "0"][:3] if dash else ["0"] * (len(parts) < 3) + [*parts, "0"][: max(2, len(parts))]
        hours, of_hour, seconds = map(int, parts)
        found = (24 * int(days or 0) + hours) * 60 + of_hour + -(-seconds // 60)
    if found < _LEAST_MINUTES:
        raise UsageError(
            f"--time {text}: expected a limit as HH:MM:SS, D-HH:MM:SS or minutes, at least {_LEAST_MINUTES} minutes. Correct it."
        )
    return found


def _end(run: PlannedRun, array: str, out: Path) -> RunEnd:
    """How a run has ended, by its files."""
    results = scan_results(run.directory) if run.directory.exists() else []
    if results and results[0].crashed:
        return RunEnd(run.directory, "crashed", results[0].failure or "")
    return died(run, f"its task of SLURM job {array} ended without it, see {out / FOLDER}/{array}_*_log.out")
