"""What a launcher is, what it is asked to run, and how one is found by name, module or file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.experiments.display import Display
from seqeval_rl.experiments.job import Job, RunEnd
from seqeval_rl.experiments.planner import Plan, plan
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.loading import load_class
from seqeval_rl.results.run_log import RUN_LOG
from seqeval_rl.results.write import RunRecorder
from seqeval_rl.utils.console import error_stream


@dataclass(frozen=True)
class SweepRequest:
    """What a launcher is asked to run, with the arguments of `run_sweep`. It can be sent to another process."""

    sweep: Sweep
    out: Path
    device: str  # as given: `auto`, `cpu`, `cuda`, `cuda:1` or `cuda:0,2`
    backend: str
    overwrite: bool
    progress: bool
    allow_changed_code: bool
    fork: bool = False

    def plan(self, device: torch.device, room: float | None = None, workers: int = 1) -> Plan:
        """Check everything and divide what is missing into jobs, see `planner.plan`; shown in one line."""
        planned = plan(
            self.sweep,
            self.out,
            device,
            self.backend,
            self.overwrite,
            self.progress,
            room,
            self.allow_changed_code,
            workers,
            self.fork,
        )
        self.show(planned)
        return planned

    def show(self, planned: Plan) -> None:
        """Show a plan in one line, where it has groups of several runs."""
        if any(len(job.runs) > 1 for job in planned.jobs):
            self.say(f"plan: {planned}")

    def say(self, text: str) -> None:
        """Write a line to standard error, unless nothing is to be shown."""
        if self.progress:
            print(text, file=error_stream(), flush=True)

    def display(self, jobs: tuple[Job, ...]) -> Display:
        """What shows the progress of these jobs and writes `run.log`."""
        return Display(jobs, self.progress, self.out / RUN_LOG if self.progress else None)


@dataclass(frozen=True)
class LaunchOptions:
    """What a launcher may be told; empty where nothing was given. Each launcher refuses what is not for it."""

    address: str = ""  # of a cluster's head
    partition: str = ""  # of a cluster that nodes are asked for
    time: str = ""  # limit of each of its jobs

    def only(self, launcher: str, *names: str) -> None:
        """Raise `UsageError` where an option other than `names` was given."""
        given = [field.name for field in fields(self) if getattr(self, field.name) and field.name not in names]
        if given:
            raise UsageError(
                f"--{given[0]} {getattr(self, given[0])}: expected none with --launcher {launcher}, which does not use it. "
                "Leave it out, or name another --launcher."
            )


class Launcher(Protocol):
    """Decides where the run groups of a sweep are trained."""

    def __init__(self, options: LaunchOptions):
        """Raise `UsageError` where an option does not fit, or what it needs is not installed."""

    def launch(self, request: SweepRequest) -> list[RunEnd]:
        """Plan a sweep and train what is missing. Returns how each run ended, and which had failed before.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, after it has stopped what works for it; runs are saved up to their last
                evaluation.
            SeqevalError: see `run_sweep`.
        """


def installed(module: str, extra: str, name: str) -> None:
    """Raise `UsageError` where a package that a launcher needs is not installed."""
    if find_spec(module) is None:
        raise UsageError(f"--launcher {extra}: {name} is not installed. Install it: pip install 'seqeval-rl[{extra}]'.")


def begun(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """The jobs, where runs that are to be overwritten have begun again: a later attempt at a job resumes them.

    Raises:
        SeqevalError: see `RunRecorder.open`.
    """
    jobs = tuple(jobs)
    for job in jobs:
        for run in job.runs if job.overwrite else ():
            recorder = RunRecorder(run.directory, run.manifest)
            try:
                recorder.open(job.overwrite)
            finally:
                recorder.close()
    return tuple(replace(job, overwrite=False) for job in jobs)


GROUP = "seqeval_rl.launchers"


def find_launcher(reference: str) -> type[Launcher]:
    """A launcher's class, by name of an entry point `seqeval_rl.launchers`, `module:Class`, `path/to/file.py:Class`, or
    `path/to/file.py` where that defines one launcher.

    Raises:
        UsageError: there is no such launcher, or it lacks `launch`.
    """
    registered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    if ":" not in reference and not reference.endswith(".py") and reference not in registered:
        raise unknown("launcher", reference, registered, "--launcher")
    launcher = load_class(registered.get(reference, reference), reference, ("launch",))
    if not callable(getattr(launcher, "launch", None)):
        raise UsageError(
            f"{reference}: expected a method {launcher.__name__}.launch, found none. Add it, see "
            "seqeval_rl.experiments.launchers."
        )
    return launcher
