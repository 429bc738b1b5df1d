"""How long a sweep will take on this machine, from a few seconds of measurement."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from seqeval_rl.benchmarks.speed.extent import Extent, extent
from seqeval_rl.benchmarks.speed.group_cost import GroupCost, Measurement, measure
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.experiments.grouping import (
    WORTH_A_PROCESS,
    GroupCandidate,
    GroupKey,
    UpdateCost,
    cost_of_run,
    divide,
    room_for_groups,
)
from seqeval_rl.experiments.sweep import Sweep, Variant
from seqeval_rl.interface.config import common_settings, differing, grouped_config
from seqeval_rl.protocol import Schedule
from seqeval_rl.utils.processes import available_cores

SECONDS = 1.5  # the least duration of the measurement of one update, and of that of one environment step


@dataclass(frozen=True)
class Seconds:
    """How long a job, or a run's share of one, takes."""

    training: float
    evaluation: float  # at most: every episode as long as the time limit; 0 where there is no limit


@dataclass(frozen=True)
class Forecast:
    """One algorithm on one stream."""

    stream: str
    algorithm: str
    runs: int
    runs_per_job: int  # in the largest of the groups that its runs are in, runs of other variants and streams included
    updates: int  # gradient steps of one run
    evaluations: int  # of one run
    episodes: int  # of one run in one evaluation
    env_steps: int  # of one run's online phase
    time_limit: int | None
    cost: GroupCost  # in that group, while all of it trains
    seconds: Seconds  # its runs' shares of their jobs, together

    @property
    def hours(self) -> float:
        """Of one worker, all jobs one after the other."""
        return (self.seconds.training + self.seconds.evaluation) / 3600

    @property
    def env_steps_per_second(self) -> float:
        """While a job evaluates, resets not counted."""
        return self.runs_per_job * self.episodes / self.cost.seconds_per_index if self.episodes else 0.0


@dataclass(frozen=True)
class Estimate:
    """A sweep's forecasts and their total."""

    forecasts: tuple[Forecast, ...]
    groups: tuple[int, ...]  # runs of each job
    workers: int  # jobs at once
    threads: int  # of each worker
    seconds: float  # from the first job's start to the last one's end


class _Row(NamedTuple):
    """One variant on one stream."""

    spec: StreamSpec
    extent: Extent
    variant: Variant
    schedule: Schedule


class _Part(NamedTuple):
    """What some runs of a job do together: one stage of it."""

    rows: tuple[_Row, ...]  # one for each run
    cost: GroupCost
    seconds: Seconds


def estimate(
    sweep: Sweep, device: torch.device, backend: str = "auto", seconds: float | None = None, room: float | None = None
) -> Estimate:
    """Estimate a sweep of which nothing has been run yet, divided as by the planner and run as by the local scheduler.

    Args:
        sweep: what to run.
        device: where to train: on CUDA runs that fit together are one group, and jobs run one after the other; on a CPU
            each run is a job and each core a worker.
        backend: of the environments.
        seconds: see `Measurement`; default `SECONDS`.
        room: bytes that run groups may take, see `planner.plan`.

    Raises:
        SeqevalError: whatever is wrong with the sweep, before anything is measured.
    """
    rows = _rows(sweep)
    on_cpu, cores = device.type == "cpu", available_cores()
    groups = _groups(rows, len(sweep.seeds), device, room)
    workers = min(cores, len(groups)) if on_cpu else 1
    threads = max(1, cores // workers)
    costs = _Costs(Measurement(device, threads, backend, SECONDS if seconds is None else seconds))
    parts = [_parts(group, costs) for group in groups]
    jobs = [_total([part.seconds for part in job]) for job in parts]
    forecasts = tuple(_forecast(row, len(sweep.seeds), [part for job in parts for part in job]) for row in rows)
    # As the scheduler: no more processes than the training is worth, and jobs in order of their training alone.
    workers = max(1, min(workers, math.ceil(sum(job.training for job in jobs) / WORTH_A_PROCESS)))
    # On CUDA evaluation is asynchronous.
    both = sum if on_cpu else max
    order = sorted(jobs, key=lambda job: -job.training)
    total = makespan([both((job.training, job.evaluation)) for job in order], workers)
    return Estimate(forecasts, tuple(len(group) for group in groups), workers, threads, total)


def _rows(sweep: Sweep) -> list[_Row]:
    """Every variant on every stream."""
    variants = sweep.variants()
    streams = [(spec, extent(spec)) for spec in sweep.streams]
    return [
        _Row(
            spec, size, variant, Schedule(variant.protocol, size.transitions, f"stream {spec.name!r} in {sweep.where}")
        )
        for spec, size in streams
        for variant in variants
    ]


def _groups(rows: Sequence[_Row], seeds: int, device: torch.device, room: float | None) -> list[list[_Row]]:
    """The runs, one of a row for each seed, in the groups that `planner.plan` makes of them."""
    known: dict[Any, UpdateCost] = {}
    candidates = []
    for row in rows:
        spec, size, variant, schedule = row
        key = GroupKey.of(variant, schedule, size.task)
        # On a CPU no memory is counted, so nothing needs to be measured.
        cuda = device.type == "cuda"
        run_bytes = cost_of_run(variant, size.obs_shape, size.act_dim, device, known).bytes if cuda else 0
        run_bytes += 4 * variant.protocol.online * size.width
        candidates += [GroupCandidate(row, key, spec, 4 * size.transitions * size.width, run_bytes)] * seeds
    room = room_for_groups(device) if room is None else room
    return [[candidate.run for candidate in group] for group in divide(candidates, room)]


class _Costs:
    """Measures each kind of run group once."""

    def __init__(self, measurement: Measurement):
        self._measurement = measurement
        self._known: dict[Any, GroupCost] = {}

    def of(self, rows: Sequence[_Row]) -> GroupCost:
        """The cost of a group of these runs."""
        size, variant = rows[0].extent, rows[0].variant
        entry, protocol = variant.entry, variant.protocol
        config = grouped_config([row.variant.config for row in rows])
        # The cost depends on widths and counts, and on which floats differ between runs, but not on the floats' values.
        key = (
            entry.reference, common_settings(variant.config), differing(config), size.task, size.obs_shape, size.act_dim,
            protocol.batch_size, protocol.episodes, len(rows),
        )  # fmt: skip
        if key not in self._known:
            self._known[key] = measure(entry, config, size, protocol, len(rows), self._measurement)
        return self._known[key]


def _parts(group: Sequence[_Row], costs: _Costs) -> list[_Part]:
    """The stages of a job, whose runs begin together: one where all are equally long, else one more each time that a run ends."""
    parts: list[_Part] = []
    updates = evaluations = 0
    for end in sorted({row.schedule.gradient_steps for row in group}):
        left = tuple(row for row in group if row.schedule.gradient_steps >= end)
        evaluated = min(len(row.schedule.points()) for row in left)
        protocol, limit = left[0].variant.protocol, left[0].extent.time_limit
        cost = costs.of(left)
        # Runs with an online phase are equally long, so theirs is the only stage.
        seconds = seconds_of(cost, end - updates, evaluated - evaluations, protocol.episodes, protocol.online, limit)
        parts.append(_Part(left, cost, seconds))
        updates, evaluations = end, evaluated
    return parts


def _forecast(row: _Row, runs: int, parts: Sequence[_Part]) -> Forecast:
    """What the parts that hold runs of this row say about it."""
    counts = [sum(other is row for other in part.rows) for part in parts]
    own = [(part, count / len(part.rows)) for part, count in zip(parts, counts, strict=True) if count]
    largest = max((part for part, _ in own), key=lambda part: len(part.rows))
    shares = [Seconds(part.seconds.training * share, part.seconds.evaluation * share) for part, share in own]
    protocol, schedule = row.variant.protocol, row.schedule
    return Forecast(
        row.spec.name, row.variant.directory, runs, len(largest.rows), schedule.gradient_steps, len(schedule.points()),
        protocol.episodes, protocol.online, row.extent.time_limit, largest.cost, _total(shares),
    )  # fmt: skip


def seconds_of(
    cost: GroupCost, updates: int, evaluations: int, episodes: int, env_steps: int, limit: int | None
) -> Seconds:
    """Duration of a job, or of a stage of one, whose runs each take `updates` gradient steps, `evaluations` of `episodes`
    episodes and an online phase of `env_steps`, each of which is taken to cost what one step of an evaluation episode does."""
    training = updates * cost.seconds_per_update + env_steps * cost.seconds_per_index / max(episodes, 1)
    if limit is None or not episodes:
        return Seconds(training, 0.0)
    return Seconds(training, evaluations * (cost.seconds_per_reset + limit * cost.seconds_per_index))


def _total(parts: Sequence[Seconds]) -> Seconds:
    return Seconds(sum(part.training for part in parts), sum(part.evaluation for part in parts))


def makespan(jobs: Sequence[float], workers: int) -> float:
    """Seconds until all jobs [seconds] are done, taken in this order by whichever worker is free first."""
    free = [0.0] * workers
    for job in jobs:
        heapq.heapreplace(free, free[0] + job)
    return max(free)
