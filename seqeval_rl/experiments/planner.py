"""A sweep: every (stream, algorithm, variant, seed) of an experiment, checked as a whole before anything is trained."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from seqeval_rl.data.stream import Stream, StreamSpec
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.errors import FileError
from seqeval_rl.experiments.grouping import GroupCandidate, divide, kind, room_for_groups
from seqeval_rl.experiments.job import Job, PlannedRun, RunEnd
from seqeval_rl.experiments.sweep import Sweep, Variant
from seqeval_rl.experiments.update_cost import UpdateCost, cost_of_run
from seqeval_rl.protocol import Schedule
from seqeval_rl.results.provenance import describe_provenance
from seqeval_rl.results.read import read_results
from seqeval_rl.results.write import RunRecorder, identity, recorded_runs
from seqeval_rl.utils.text import directory_name

DECAY = "decay_steps"  # an algorithm's setting: gradient steps over which its rate decays; as published, the whole run


@dataclass(frozen=True)
class Plan:
    """A sweep checked against its data, its environments and what lies in the output directory."""

    jobs: tuple[Job, ...]
    finished: int  # runs that were there already
    failed: tuple[RunEnd, ...]  # runs that had diverged before

    def __str__(self) -> str:
        """In one line, for people."""
        sizes = Counter((job.algorithm, len(job.runs)) for job in self.jobs)
        parts = [f"{count} x {size} {name}" for (name, size), count in sizes.items()]
        there = f"; {self.finished} were there already" if self.finished else ""
        return f"{sum(len(job.runs) for job in self.jobs)} runs in {len(self.jobs)} stacks ({', '.join(parts)}){there}"


def plan(
    sweep: Sweep,
    out: Path,
    device: torch.device,
    backend: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
    room: float | None = None,
) -> Plan:
    """Load (or build) the logs, check everything that can be checked, and divide what is left to do into jobs.

    Args:
        sweep: what to run.
        out: results directory.
        device: where to train.
        backend: of the environments.
        overwrite: begin again what is there.
        progress: show it while logs are built.
        room: bytes that stacks may take on the device; none: most of what is free on CUDA, and on a CPU no stacks at
            all, since one run fills a core.

    Raises:
        SeqevalError: whatever is wrong, before any training; nothing in `out` is changed.
    """
    chosen = sweep.variants()
    _check_writable(out)
    costs: dict[Any, UpdateCost] = {}
    candidates: list[GroupCandidate] = []
    seconds: dict[Path, float] = {}
    surroundings = describe_provenance(str(device))
    finished, failed = 0, []
    recorded = recorded_runs(out)  # whatever the stream was called when they were made
    for spec in sweep.streams:
        stream = spec.load(progress)
        _check_environment(stream, chosen)
        described = _describe(stream, spec)
        for variant in chosen:
            protocol = variant.protocol
            schedule = Schedule(protocol, len(stream), f"stream {spec.name!r} in {sweep.where}")
            points = schedule.points()
            config = settings_of_run(variant, schedule)
            for seed in sweep.seeds:
                manifest = {
                    "suite": sweep.name,
                    "dataset": described,
                    "task": stream.task.as_dict(),
                    "algorithm": {"name": variant.entry.name, "config": config},
                    "protocol": protocol.model_dump(),
                    "seed": seed,
                    "uses_future_data": protocol.uses_future_data,
                    "precision": sweep.precision,
                    "evaluations_expected": len(points),
                    "citation": variant.entry.citation,
                    **surroundings,
                }
                # A run that is there keeps its place: the same settings can belong to several sweeps, or to none.
                directory = recorded.get(
                    identity(manifest), out / directory_name(spec.name) / variant.directory / f"seed-{seed}"
                )
                latest = -1
                if not overwrite and RunRecorder(directory, manifest).check():
                    result = read_results(directory)[0]
                    if result.status == "finished":
                        finished += 1
                        continue
                    if result.status == "failed":
                        failed.append(RunEnd(directory, "failed", result.failure or ""))
                        continue
                    latest = max(RunRecorder(directory, manifest).resumable(), default=-1)
                cost = cost_of_run(variant, stream.obs_shape, stream.act_dim, device, costs)
                left = schedule.gradient_steps - (0 if latest < 0 else points[latest].gradient_steps)
                seconds[directory] = cost.seconds * left
                run = PlannedRun(spec, config, seed, directory, manifest)
                length = len(stream) if protocol.online else None
                alike = kind(
                    variant.entry.reference, variant.config, config.get(DECAY), stream.task, protocol, latest, length
                )
                dataset_bytes = sum(block.dataset.nbytes for block in stream.blocks)
                own_bytes = cost.bytes + 4 * protocol.online * stream.width
                candidates.append(GroupCandidate(run, alike, spec, dataset_bytes, own_bytes))
    room = room_for_groups(device) if room is None else room
    jobs = [
        Job(
            tuple(candidate.run for candidate in stack),
            stack[0].kind[2],
            stack[0].kind[0],
            stack[0].kind[3],
            str(device),
            backend,
            sweep.precision,
            overwrite,
            sum(seconds[candidate.run.directory] for candidate in stack),
        )
        for stack in divide(candidates, room)
    ]
    # Longest first, so that the last job to end is a short one.
    jobs.sort(key=lambda job: -job.cost)
    return Plan(tuple(jobs), finished, tuple(failed))


def _check_environment(stream: Stream, chosen: Sequence[Variant]) -> None:
    """Check the environment of a stream's task where something is to be played in it."""
    if any(variant.protocol.episodes or variant.protocol.online for variant in chosen):
        if stream.blocks:
            check_environment(stream.blocks[0].dataset)
        else:
            gymnasium_shapes(stream.task.environment)


def settings_of_run(variant: Variant, schedule: Schedule) -> dict[str, Any]:
    """The algorithm's settings as the run will have them."""
    config, protocol = asdict(variant.config), variant.protocol
    if protocol.uses_future_data and DECAY in config and not protocol.online:
        # As published: the rate's decay knows where the run will end.
        config[DECAY] = schedule.gradient_steps
    return config


def _describe(stream: Stream, spec: StreamSpec) -> dict[str, Any]:
    """The stream as manifests name it."""
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
        "sha256": blocks[0]["sha256"] if len(blocks) == 1 else _combined([block["sha256"] for block in blocks]),
        "observation_shape": list(stream.obs_shape),
        "action_dimensions": stream.act_dim,
        "mean_score": sum(block["mean_score"] * (block["stop"] - block["start"]) for block in blocks) / total
        if blocks
        else None,
        "blocks": blocks,
        **({} if spec.mode == "native" else {"mode": spec.mode}),
        **(
            {"action_repeat": repeat}
            if (repeat := max((b.dataset.action_repeat for b in stream.blocks), default=1)) > 1
            else {}
        ),
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
