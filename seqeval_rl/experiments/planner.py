"""Plans a sweep: checks every (stream, variant, seed) before anything is trained, and makes jobs of what is left to do."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from seqeval_rl.data.description import describe_stream
from seqeval_rl.data.stream import Stream, StreamSpec
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.patience import with_patience
from seqeval_rl.environments.spaces import check_time_limit, gymnasium_shapes
from seqeval_rl.errors import UsageError, writing
from seqeval_rl.experiments.forking import first_state, forked
from seqeval_rl.experiments.grouping import (
    GroupCandidate,
    GroupKey,
    UpdateCost,
    cost_of_run,
    divide,
    group_bytes,
    room_for_groups,
)
from seqeval_rl.experiments.job import Job, PlannedRun, RunEnd, forget_streams, load_stream
from seqeval_rl.experiments.sweep import Sweep, Variant
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.protocol import EvaluationPoint, Schedule
from seqeval_rl.results.fork import CODE, FORKED_FROM, ChangedError
from seqeval_rl.results.loggers.logger import check_logger
from seqeval_rl.results.manifest import Manifest, describe_provenance
from seqeval_rl.results.read import read_results
from seqeval_rl.results.write import RunRecorder, identity, recorded_runs
from seqeval_rl.training.build import check_images
from seqeval_rl.training.row_pool import bytes_on_device
from seqeval_rl.training.sequences import check_sequences
from seqeval_rl.training.visible_columns import check_columns
from seqeval_rl.utils.text import file_name

_log = logging.getLogger("seqeval_rl")


@dataclass(frozen=True)
class Plan:
    """A sweep, checked against its data, its environments and the results directory."""

    jobs: tuple[Job, ...]
    finished: int  # runs that were finished before
    failed: tuple[RunEnd, ...]  # runs that had diverged before

    def __str__(self) -> str:
        """One line for people."""
        sizes = Counter((job.algorithm, len(job.runs)) for job in self.jobs)
        parts = [f"{count} x {size} {name}" for (name, size), count in sizes.items()]
        there = f"; {self.finished} were finished already" if self.finished else ""
        runs = sum(len(job.runs) for job in self.jobs)
        return f"{runs} runs in {len(self.jobs)} run groups ({', '.join(parts)}){there}"


def plan(
    sweep: Sweep,
    out: Path,
    device: torch.device,
    backend: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
    room: float | None = None,
    allow_changed_code: bool = False,
    workers: int = 1,
    fork: bool = False,
) -> Plan:
    """Load (or build) the datasets, check everything that can be checked, and divide what is left to do into jobs.

    All arguments but `room` and `workers` are those of `run_sweep`.

    Args:
        room: bytes that run groups may take on the device; none: see `room_for_groups`.
        workers: devices that train run groups at the same time.

    Raises:
        SeqevalError: whatever is wrong, before any training; nothing in `out` is changed.
    """
    variants = sweep.variants()
    _check_directories(sweep, variants)
    for logger in sweep.loggers:
        check_logger(logger, sweep.where)
    forget_streams()
    planner = _Planner(sweep, out, device, overwrite, allow_changed_code, fork)
    with _made(out):
        _add_streams(planner, sweep, variants, progress)
    room = room_for_groups(device) if room is None else room
    jobs = [planner.job(group, backend) for group in divide(planner.candidates, room, workers)]
    # Longest first, so that the last job to end is a short one.
    jobs.sort(key=lambda job: -job.cost)
    return Plan(tuple(jobs), planner.finished, tuple(planner.failed))


@contextmanager
def _made(out: Path) -> Iterator[None]:
    """Make the directory, in which it must be possible to write; gone again where the block raises and left it empty."""
    new = [each for each in (out, *out.parents) if not each.exists()]
    with writing(f"--out {out}", "Choose another directory."):
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another process writes in it
            for each in new:
                each.rmdir()
        raise


def _add_streams(planner: _Planner, sweep: Sweep, variants: Sequence[Variant], progress: bool) -> None:
    """Load each stream that has runs of this shard, check it, and add its runs."""
    for number, spec in enumerate(sweep.streams):
        seeds = [sweep.seeds_in_shard(number, place, len(variants)) for place in range(len(variants))]
        if not any(seeds):
            continue
        stream = load_stream(spec, progress)
        spec = replace(spec, task=stream.task)
        if any(variant.protocol.episodes or variant.protocol.online for variant in variants):
            with with_patience(sweep.patience):
                if stream.blocks:
                    check_environment(stream.blocks[0].dataset)
                else:
                    gymnasium_shapes(stream.task.environment)
                for limit in {variant.protocol.max_episode_steps for variant in variants}:
                    check_time_limit(stream.task.environment, limit)
        dataset = describe_stream(stream, spec.mode, spec.clip_actions)
        for place, (variant, own) in enumerate(zip(variants, seeds, strict=True)):
            first = (place * len(sweep.streams) + number) * len(sweep.seeds)
            numbers = {seed: first + sweep.seeds.index(seed) for seed in own}
            planner.add(spec, stream, dataset, variant, numbers)


def _check_directories(sweep: Sweep, variants: Sequence[Variant]) -> None:
    """Raise `UsageError` where runs of two streams or variants would have one directory, on any file system."""
    owners: dict[str, str] = {}
    for stream, variant in itertools.product(sweep.streams, variants):
        directory, name = f"{file_name(stream.name)}/{variant.directory}", f"{stream.name}, {variant.directory}"
        place = directory.casefold()  # some file systems do not tell upper from lower case
        if place in owners:
            raise UsageError(
                f"{sweep.where}: expected a directory for each run, found {directory} for two: {owners[place]!r} and {name!r}. "
                "Rename one, or give it an --out of its own."
            )
        owners[place] = name


class _Planner:
    """What is left to do of a sweep, collected variant by variant."""

    def __init__(
        self, sweep: Sweep, out: Path, device: torch.device, overwrite: bool, allow_changed_code: bool, fork: bool
    ):
        self._sweep, self._out, self._device = sweep, out, device
        self._overwrite, self._allow_changed_code, self._fork = overwrite, allow_changed_code, fork
        self._fitting: set[tuple[StreamSpec, Path]] = set()  # streams and variants of which a fork was checked
        self._recorded = recorded_runs(out)
        self._provenance = describe_provenance(device.type)
        if device.type == "cuda":
            self._provenance["device_name"] = torch.cuda.get_device_name(device)
        self._costs: dict[Any, UpdateCost] = {}
        self._warned: set[tuple[StreamSpec, str]] = set()
        self.candidates: list[GroupCandidate] = []
        self.finished = 0
        self.failed: list[RunEnd] = []

    def add(
        self, spec: StreamSpec, stream: Stream, dataset: dict[str, Any], variant: Variant, seeds: Mapping[int, int]
    ) -> None:
        """Plan the runs of a variant on a stream, one for each of `seeds`, with their numbers (see `PlannedRun.number`);
        `dataset` is the stream as manifests describe it."""
        sweep, protocol = self._sweep, variant.protocol
        where = f"stream {spec.name!r} in {sweep.where}"
        schedule = Schedule(protocol, len(stream), where)
        settings, points = variant.settings(schedule), schedule.points()
        actions = Spec(stream.obs_shape, stream.act_dim, (0,), self._device, stream.action_classes)
        variant.entry.check_spaces(actions, where)
        columns = variant.entry.columns(variant.config)
        check_columns(variant.entry.name, columns, protocol, where)
        check_sequences(variant.entry, variant.config, protocol, stream, where)
        self._warn_unscaled(spec, stream, variant)
        folder = self._out / file_name(spec.name) / variant.directory
        for seed, number in seeds.items():
            manifest = Manifest(
                sweep.name, dataset, stream.task.as_dict(), variant.entry.name, settings, protocol, seed, sweep.precision,
                len(points), variant.entry.citation, variant.entry.source_sha256, self._provenance,
            ).as_dict()  # fmt: skip
            # A run that is there keeps its place: the same settings can belong to several sweeps, or to none.
            directory = self._recorded.get(identity(manifest), folder / f"seed-{seed}")
            run = PlannedRun(spec, settings, seed, directory, manifest, number)
            try:
                resume_from = self._resume_from(run)
            except ChangedError as error:
                if not self._fork:
                    raise
                run = self._forked(run, error, points, stream, variant)
                resume_from = self._resume_from(run)
            if resume_from is None:
                continue
            cost = self._cost(variant, stream, where)
            if cost.flop is not None:
                run.manifest["flop"] = cost.flop._asdict()
            left = schedule.gradient_steps - points[max(resume_from, 0)].gradient_steps
            self.candidates.append(
                GroupCandidate(
                    run, GroupKey.of(variant, schedule, stream.task, resume_from), spec,
                    _bytes_on_device(stream, self._device),
                    run_bytes=cost.bytes + protocol.online * stream.online_bytes + 8 * len(columns) * schedule.total,
                    seconds=cost.seconds * left,
                )
            )  # fmt: skip

    def _cost(self, variant: Variant, stream: Stream, where: str) -> UpdateCost:
        """See `cost_of_run`. Raises `UsageError` for an algorithm, or settings, that do not suit the stream's observations."""
        try:
            with with_patience(self._sweep.patience):
                cost = cost_of_run(
                    variant, stream.obs_shape, stream.act_dim, self._device, self._costs, stream.action_classes
                )
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        if stream.images:
            check_images(variant.entry.name, where, variant.config)
        return cost

    def _warn_unscaled(self, spec: StreamSpec, stream: Stream, variant: Variant) -> None:
        """Once for an algorithm and a stream: its rewards are to be scaled by reference returns that the task has not."""
        known = stream.task.return_references is not None or (variant.protocol.uses_future_data and len(stream) > 0)
        if known or getattr(variant.config, "return_range", None) is None or (spec, variant.entry.name) in self._warned:
            return
        self._warned.add((spec, variant.entry.name))
        _log.warning(
            "stream %s: %s scales rewards by reference returns, which task %s has none of, so they are not scaled. Give "
            "reference_returns, or %s.return_range=none.",
            spec.name, variant.entry.name, stream.task.name, variant.entry.name,
        )  # fmt: skip

    def _forked(
        self, run: PlannedRun, error: ChangedError, points: list[EvaluationPoint], stream: Stream, variant: Variant
    ) -> PlannedRun:
        """A run that would not be resumed, as a fork. Raises `MismatchError` where that is impossible."""
        changes = [change for change in error.changes if not (self._allow_changed_code and change.field == CODE)]
        run = forked(run, changes, points)
        kind = run.stream, run.directory.parent
        if FORKED_FROM in run.manifest and not run.directory.exists() and kind not in self._fitting:
            first_state(run, stream, variant.entry, variant.protocol, self._sweep.patience)
            self._fitting.add(kind)
        return run

    def _resume_from(self, run: PlannedRun) -> int | None:
        """The evaluation that the run resumes from, -1 for its start; None where nothing is left to do."""
        recorder = RunRecorder(run.directory, run.manifest)
        if not recorder.check(self._overwrite):
            recorder.check_links(self._overwrite)
            return recorder.begins_after
        result = read_results(run.directory)[0]
        again = result.status == "failed" and (result.crashed or self._sweep.retry_failed)
        if result.status == "unfinished" or again:
            recorder.check_links(self._overwrite)
            resume_from = max(recorder.resumable(), default=recorder.begins_after)
            if resume_from >= 0 and not self._allow_changed_code:
                recorder.check_code()
            return resume_from
        recorder.tidy()
        if result.status == "finished":
            self.finished += 1
        else:
            self.failed.append(RunEnd(run.directory, "failed", result.failure or ""))
        return None

    def job(self, group: Sequence[GroupCandidate], backend: str) -> Job:
        """A group as a job."""
        key, runs = group[0].key, tuple(candidate.run for candidate in group)
        return Job(
            runs, key.task, key.algorithm, key.protocol, str(self._device), backend, self._sweep.precision,
            self._overwrite, sum(candidate.seconds for candidate in group), self._sweep.loggers, self._sweep.patience,
            group_bytes(group) if self._device.type == "cuda" else 0,
        )  # fmt: skip


def _bytes_on_device(stream: Stream, device: torch.device) -> int:
    """What a stream's transitions take on a device."""
    nbytes = sum(block.dataset.nbytes for block in stream.blocks)
    images = any(block.dataset.pixels is not None for block in stream.blocks)
    return nbytes if images else bytes_on_device(nbytes, device)
