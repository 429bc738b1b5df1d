"""Runs a sweep with a launcher: plans it, then trains what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from seqeval_rl.errors import DivergedError, Interrupted, SeqevalError, UsageError
from seqeval_rl.experiments.job import RunEnd, forget_streams
from seqeval_rl.experiments.launchers.launcher import LaunchOptions, SweepRequest, find_launcher
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.utils.interruption import signals_interrupt


def run_sweep(
    sweep: Sweep,
    out: Path,
    device: str = "auto",
    backend: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
    allow_changed_code: bool = False,
    launcher: str = "local",
    options: LaunchOptions | None = None,
    fork: bool = False,
) -> list[RunEnd]:
    """Plan and run; returns how each run ended, and which had failed before. Finished runs are not among them.

    Args:
        sweep: what to run.
        out: results directory.
        device: what to train on: `auto` (CUDA where it is available), `cpu`, `cuda` (every visible device), `cuda:1`, `cuda:0,2`.
        backend: of the environments: `auto`, `envpool` or `gymnasium`.
        overwrite: begin again what is there.
        progress: show it on standard error: a table on a terminal, else plain lines.
        allow_changed_code: resume runs also where the file that defines their algorithm has changed since they began.
        launcher: where to train: `local`, `ray`, `slurm`, another registered name, `module:Class` or `file.py:Class`.
        options: of the launcher.
        fork: where the settings, the data or the algorithm's code of a run have changed since its checkpoint, start a new run
            from it, in a directory of its own.

    Raises:
        Interrupted: by a signal, see `signals_interrupt`; the same command resumes.
        SeqevalError: see `plan`; or what a job raised (a full disk, say), after the other processes have been stopped. A run
            that diverges or a plug-in that raises ends that job alone.
    """
    if fork and overwrite:
        raise UsageError("--fork: expected no --overwrite, which deletes the runs that it starts from. Leave one out.")
    request = SweepRequest(sweep, out, device, backend, overwrite, progress, allow_changed_code, fork)
    chosen = find_launcher(launcher)(options or LaunchOptions())
    try:
        with signals_interrupt():
            return chosen.launch(request)
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; every run is saved up to its last evaluation. The same command resumes from there."
        ) from None
    finally:
        forget_streams()


def raise_crashed(ends: Iterable[RunEnd]) -> None:
    """Raise `SeqevalError` if a run stopped with an exception, or its process died."""
    crashed = [end for end in ends if end.status == "crashed"]
    if crashed:
        remedy = "The same command tries again; details are in that directory's events.jsonl."
        raise SeqevalError(f"{_first(crashed, 'crashed')}. {remedy}")


def raise_diverged(ends: Iterable[RunEnd]) -> None:
    """Raise `DivergedError` if a run diverged."""
    diverged = [end for end in ends if end.status == "failed"]
    if diverged:
        raise DivergedError(
            f"{_first(diverged, 'diverged')}. They stay so unless they are run with --retry-failed or --overwrite."
        )


def _first(ends: Sequence[RunEnd], how: str) -> str:
    """How many runs ended like this, and why the first did."""
    return f"{len(ends)} run{'s' * (len(ends) != 1)} {how}, first {ends[0].directory}: {ends[0].message.rstrip('.')}"
