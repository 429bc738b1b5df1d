"""A sweep: every (stream, algorithm, variant, seed) of an experiment, checked as a whole before anything is trained."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from seqeval_rl import recording
from seqeval_rl.dataset import Dataset, check_environment
from seqeval_rl.errors import FileError, UsageError
from seqeval_rl.job import Job, RunEnd
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.readers import load_dataset
from seqeval_rl.registry import AlgorithmEntry
from seqeval_rl.results import read_results
from seqeval_rl.scheduler import run_jobs
from seqeval_rl.speed import seconds_per_update
from seqeval_rl.stream import Stream
from seqeval_rl.tasks import Task
from seqeval_rl.variants import slug, variants


@dataclass(frozen=True)
class StreamSpec:
    """A stream to be loaded: its name and its blocks' sources (see `readers.load_dataset`)."""

    name: str
    sources: tuple[str, ...]
    task: Task | None = None  # where a source does not say


@dataclass(frozen=True)
class Sweep:
    """What to run: the cross product of streams, algorithms with their variants, and seeds under one protocol."""

    name: str
    streams: tuple[StreamSpec, ...]
    algorithms: tuple[AlgorithmEntry, ...]
    protocol: Protocol
    seeds: tuple[int, ...]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)  # by algorithm, one value each
    swept: dict[str, dict[str, tuple[Any, ...]]] = field(default_factory=dict)  # by algorithm, a variant for each value
    where: str = "the suite"  # for messages


@dataclass(frozen=True)
class Plan:
    """A sweep checked against its data, its environments and what lies in the output directory."""

    jobs: tuple[Job, ...]
    finished: int  # runs that were there already
    failed: tuple[RunEnd, ...]  # runs that had diverged before


def choose_device(device: str) -> torch.device:
    """`auto`, `cpu` or `cuda`; raises `UsageError` where CUDA is asked for and not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: expected a CUDA device, found none. Use --device cpu.")
    return torch.device(device)


def plan(
    sweep: Sweep, out: Path, device: torch.device, backend: str = "auto", overwrite: bool = False, progress: bool = True
) -> Plan:
    """Load (or build) the logs, check everything that can be checked, and divide what is left to do into jobs.

    Raises:
        SeqevalError: whatever is wrong, before any training; nothing in `out` is changed.
    """
    chosen = [
        variant
        for entry in sweep.algorithms
        for variant in variants(entry, sweep.settings.get(entry.name, {}), sweep.swept.get(entry.name, {}), sweep.where)
    ]
    _check_writable(out)
    groups = []
    costs: dict[Any, float] = {}
    surroundings = recording.surroundings(str(device))
    finished, failed = 0, []
    for spec in sweep.streams:
        datasets = [load_dataset(source, spec.task, progress=progress) for source in spec.sources]
        stream = Stream(spec.name, datasets)
        check_environment(stream.first)
        schedule = Schedule(sweep.protocol, len(stream), f"stream {spec.name!r} in {sweep.where}")
        described = _describe(stream)
        recorded = recording.recorded_runs(out / slug(spec.name))
        for variant in chosen:
            entry, config = variant.entry, variant.config
            open_runs: dict[int, list[tuple[int, Path, dict[str, Any]]]] = {}
            for seed in sweep.seeds:
                manifest = {
                    "suite": sweep.name,
                    "dataset": described,
                    "task": stream.first.task.as_dict(),
                    "algorithm": {"name": entry.name, "config": asdict(config)},
                    "protocol": sweep.protocol.model_dump(),
                    "seed": seed,
                    "peeks": False,
                    "evaluations_expected": len(schedule.points()),
                    **surroundings,
                }
                # A run that is there keeps its place: the same settings can belong to several sweeps, or to none.
                directory = recorded.get(
                    recording.identity(manifest), out / slug(spec.name) / variant.directory / f"seed-{seed}"
                )
                latest = -1
                if not overwrite and recording.RunRecorder(directory, manifest).check():
                    result = read_results(directory)[0]
                    if result.status == "finished":
                        finished += 1
                        continue
                    if result.status == "failed":
                        failed.append(RunEnd(directory, "failed", result.failure or ""))
                        continue
                    latest = max(recording.RunRecorder(directory, manifest).resumable(), default=-1)
                # Only runs that stand at the same evaluation can train side by side.
                open_runs.setdefault(latest, []).append((seed, directory, manifest))
            if open_runs:
                # Widths and counts make updates dearer, rates do not.
                sizes = repr([value for value in asdict(config).values() if not isinstance(value, float)])
                key = (entry.reference, sizes, stream.first.obs_shape, stream.first.act_dim, sweep.protocol.batch_size)
                if key not in costs:
                    costs[key] = _cost(entry, config, stream, sweep.protocol, device)
            for latest, runs in open_runs.items():
                left = 1.0 if latest < 0 else 1.0 - schedule.points()[latest].gradient_steps / schedule.gradient_steps
                for part in _divide(runs, device):
                    seeds, directories, manifests = zip(*part, strict=True)
                    groups.append(
                        Job(
                            spec.name,
                            spec.sources,
                            stream.first.task,
                            entry.reference,
                            asdict(config),
                            sweep.protocol,
                            seeds,
                            directories,
                            manifests,
                            str(device),
                            backend,
                            overwrite,
                            costs[key] * schedule.gradient_steps * left * len(part),
                        )
                    )
    # Longest first, so that the last job to end is a short one.
    groups.sort(key=lambda job: -job.cost)
    return Plan(tuple(groups), finished, tuple(failed))


def _cost(entry: AlgorithmEntry, config: Any, stream: Stream, protocol: Protocol, device: torch.device) -> float:
    """Seconds of one gradient step of one run; 0 for an algorithm that raises, which its own job will report."""
    first = stream.first
    try:
        return seconds_per_update(entry, config, first.obs_shape, first.act_dim, protocol.batch_size, device)
    except Exception:
        return 0.0


def _divide(runs: Sequence[Any], device: torch.device) -> list[Sequence[Any]]:
    """On CUDA all seeds in one stack; on a CPU one run a job, since one run already fills a core."""
    return [runs] if device.type == "cuda" else [[run] for run in runs]


def run_sweep(
    sweep: Sweep, out: Path, device: str = "auto", backend: str = "auto", overwrite: bool = False, progress: bool = True
) -> list[RunEnd]:
    """Plan and run; returns how each run ended, those that were there already included as one entry each where they failed.

    Raises:
        Interrupted: Ctrl-C or a request to end; the same command goes on.
        SeqevalError: see `plan`.
    """
    planned = plan(sweep, out, choose_device(device), backend, overwrite, progress)
    return [*planned.failed, *run_jobs(planned.jobs, progress)]


def _describe(stream: Stream) -> dict[str, Any]:
    """The stream as manifests name it."""
    first: Dataset = stream.first
    total = len(stream)
    blocks: list[dict[str, Any]] = [
        {
            "name": block.dataset.name,
            "label": block.label,
            "start": block.start,
            "stop": block.stop,
            "sha256": block.dataset.sha256,
            "mean_score": block.dataset.mean_score(),
            "clipped_actions": block.dataset.clipped_actions,
        }
        for block in stream.blocks
    ]
    return {
        "name": stream.name,
        "transitions": total,
        "sha256": first.sha256 if len(blocks) == 1 else _combined([block["sha256"] for block in blocks]),
        "observation_shape": list(first.obs_shape),
        "action_dimensions": first.act_dim,
        "mean_score": sum(block["mean_score"] * (block["stop"] - block["start"]) for block in blocks) / total,
        "blocks": blocks,
    }


def _combined(hashes: Sequence[str]) -> str:
    """One SHA-256 for several, in their order."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _check_writable(out: Path) -> None:
    """Raise `FileError` unless a file can be written under `out`; leaves nothing behind that was not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".writable-{time.monotonic_ns()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FileError(
            f"--out {out}: cannot be written ({error.strerror or error}). Choose another directory."
        ) from error
