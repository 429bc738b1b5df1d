"""`seqeval bench --estimate`: how long a sweep will take on this machine, from a few seconds of measurement."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch

from seqeval_rl.benchmarks.speed.group_cost import Extent, GroupCost, extent, measure
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.experiments import grouping
from seqeval_rl.experiments.grouping import WORTH_A_PROCESS, GroupCandidate, GroupKey, UpdateCost
from seqeval_rl.experiments.sweep import Sweep, Variant
from seqeval_rl.interface.config import common_settings, differing, grouped_config
from seqeval_rl.protocol import Schedule
from seqeval_rl.results.manifest import describe_provenance
from seqeval_rl.utils.processes import available_cores


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
    env_steps_per_second: float  # while a job evaluates, resets not counted
    hours: float  # of one worker, all jobs one after the other


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


class _Stage(NamedTuple):
    """What some runs of a job do together."""

    rows: tuple[_Row, ...]  # one for each run
    cost: GroupCost
    seconds: Seconds


def estimate(
    sweep: Sweep, device: torch.device, room: float | None = None, cost: Callable[..., GroupCost] | None = None
) -> Estimate:
    """Estimate a sweep of which nothing has been run yet, divided as by the planner and run as by the local scheduler.

    Args:
        sweep: what to run.
        device: where to train: on CUDA runs that fit together are one group, and jobs run one after the other; on a CPU
            each run is a job and each core a worker.
        room: bytes that run groups may take, see `planner.plan`; infinite: memory is not measured.
        cost: what a group costs, with the arguments of `group_cost.measure`; none: that function.

    Raises:
        SeqevalError: whatever is wrong with the sweep, before anything is measured.
    """
    rows = _rows(sweep)
    on_cpu, cores, seeds = device.type == "cpu", available_cores(), len(sweep.seeds)
    groups = _groups(rows, seeds, device, grouping.room_for_groups(device) if room is None else room)
    workers = min(cores, len(groups)) if on_cpu else 1
    threads = max(1, cores // workers)
    known: dict[Any, GroupCost] = {}

    def cost_of(left: Sequence[_Row]) -> GroupCost:
        return _cost(left, device, threads, known, cost or measure)

    stages = [_stages(group, cost_of) for group in groups]
    jobs = [_total([stage.seconds for stage in job]) for job in stages]
    forecasts = tuple(_forecast(row, seeds, [stage for job in stages for stage in job]) for row in rows)
    # As the scheduler: no more processes than the training is worth, and jobs in order of their training alone.
    workers = max(1, min(workers, math.ceil(sum(job.training for job in jobs) / WORTH_A_PROCESS)))
    # On CUDA evaluation is asynchronous.
    both = sum if on_cpu else max
    order = sorted(jobs, key=lambda job: -job.training)
    total = makespan([both((job.training, job.evaluation)) for job in order], workers)
    return Estimate(forecasts, tuple(len(group) for group in groups), workers, threads, total)


def _rows(sweep: Sweep) -> list[_Row]:
    variants, rows = sweep.variants(), []
    for spec, size in [(spec, extent(spec)) for spec in sweep.streams]:
        where = f"stream {spec.name!r} in {sweep.where}"
        rows += [_Row(spec, size, each, Schedule(each.protocol, size.transitions, where)) for each in variants]
    return rows


def _groups(rows: Sequence[_Row], seeds: int, device: torch.device, room: float) -> list[list[_Row]]:
    """The runs, one of a row for each seed, in the groups that `planner.plan` makes of them."""
    known: dict[Any, UpdateCost] = {}
    candidates = []
    for row in rows:
        spec, size, variant, schedule = row
        key = GroupKey.of(variant, schedule, size.task)
        # On a CPU no memory is counted, so nothing needs to be measured.
        limited = device.type == "cuda" and math.isfinite(room)
        shapes = size.obs_shape, size.act_dim
        run_bytes = grouping.cost_of_run(variant, *shapes, device, known, size.action_classes).bytes if limited else 0
        run_bytes += 4 * variant.protocol.online * size.width
        candidates += [GroupCandidate(row, key, spec, 4 * size.transitions * size.width, run_bytes)] * seeds
    return [[candidate.run for candidate in group] for group in grouping.divide(candidates, room)]


def _stages(group: Sequence[_Row], cost_of: Callable[[Sequence[_Row]], GroupCost]) -> list[_Stage]:
    """The stages of a job, whose runs begin together: one where all are equally long, else one more each time that a run ends."""
    stages: list[_Stage] = []
    updates = evaluations = 0
    for end in sorted({row.schedule.gradient_steps for row in group}):
        left = tuple(row for row in group if row.schedule.gradient_steps >= end)
        evaluated = min(len(row.schedule.points()) for row in left)
        protocol, limit = left[0].variant.protocol, left[0].extent.time_limit
        cost = cost_of(left)
        # Runs with an online phase are equally long, so theirs is the only stage.
        seconds = seconds_of(cost, end - updates, evaluated - evaluations, protocol.episodes, protocol.online, limit)
        stages.append(_Stage(left, cost, seconds))
        updates, evaluations = end, evaluated
    return stages


def _cost(
    rows: Sequence[_Row],
    device: torch.device,
    threads: int,
    known: dict[Any, GroupCost],
    measured: Callable[..., GroupCost],
) -> GroupCost:
    """The cost of a group of these runs, measured once for equal ones (`known`)."""
    size, variant = rows[0].extent, rows[0].variant
    entry, protocol = variant.entry, variant.protocol
    config = grouped_config([row.variant.config for row in rows])
    # The cost depends on widths and counts, and on which floats differ between runs, but not on the floats' values.
    key = (
        entry.reference, common_settings(variant.config), differing(config), size.task, size.obs_shape, size.act_dim,
        size.action_classes, protocol.batch_size, protocol.episodes, len(rows),
    )  # fmt: skip
    if key not in known:
        known[key] = measured(entry, config, size, protocol, len(rows), device, threads)
    return known[key]


def _forecast(row: _Row, runs: int, stages: Sequence[_Stage]) -> Forecast:
    """What the stages that hold runs of this row say about it."""
    own = [stage for stage in stages if any(other is row for other in stage.rows)]
    largest = max(own, key=lambda stage: len(stage.rows))
    shares = [sum(other is row for other in stage.rows) / len(stage.rows) for stage in own]
    training = sum(stage.seconds.training * share for stage, share in zip(own, shares, strict=True))
    evaluation = sum(stage.seconds.evaluation * share for stage, share in zip(own, shares, strict=True))
    protocol, schedule = row.variant.protocol, row.schedule
    num_envs, per_index = len(largest.rows) * protocol.episodes, largest.cost.seconds_per_index  # 0: no environment
    return Forecast(
        row.spec.name, row.variant.directory, runs, len(largest.rows), schedule.gradient_steps, len(schedule.points()),
        protocol.episodes, protocol.online, row.extent.time_limit, largest.cost, Seconds(training, evaluation),
        num_envs / per_index if per_index else 0.0, (training + evaluation) / 3600,
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


def as_report(estimate: Estimate, sweep: Sweep, device: torch.device) -> dict[str, Any]:
    """All figures, for a JSON file."""
    totals = {name: value for name, value in vars(estimate).items() if name != "forecasts"}
    return {
        "what": "estimate of the wall time of a sweep of which nothing has been run",
        "suite": sweep.name,
        "protocol": sweep.protocol.model_dump(),
        **totals,
        **describe_provenance(str(device)),
        "rows": [asdict(row) for row in estimate.forecasts],
    }


def duration(seconds: float) -> str:
    """In words: `40 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for unit, size, digits in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _group_sizes(sizes: Sequence[int]) -> str:
    """In words: `36 jobs of one run`, or `run groups: 2 of 20, 1 of 4`."""
    if max(sizes) == 1:
        return f"{len(sizes)} jobs of one run"
    counts = sorted(Counter(sizes).items(), reverse=True)
    return "run groups: " + ", ".join(f"{count} of {size}" for size, count in counts)


def as_table(report: dict[str, Any]) -> str:
    """The report as text: algorithm by stream, the total, and what the estimate assumes."""
    rows = report["rows"]
    width = max(len("stream"), *(len(row["stream"]) for row in rows))
    name = max(len("algorithm"), *(len(row["algorithm"]) for row in rows))
    worker = "one core" if report["device"] == "cpu" else report["device"]
    lines = [
        f"{report['suite']} on {report['device']}, {report['processor']}; {_group_sizes(report['groups'])}, "
        f"{report['workers']} jobs at once, {report['threads']} threads each",
        "",
        f"{'stream':<{width}} {'algorithm':<{name}} {'runs':>4} {'updates/run':>12} {'s/update':>9} {'evaluations/run':>16} "
        f"{'env steps/s':>12} {'hours of ' + worker:>18}",
    ]
    for row in rows:
        lines.append(
            f"{row['stream']:<{width}} {row['algorithm']:<{name}} {row['runs']:>4} {row['updates']:>12,} "
            f"{row['cost']['seconds_per_update']:>9.2g} {row['evaluations']:>16,} {row['env_steps_per_second']:>12,.0f} "
            f"{row['hours']:>18.3g}"
        )
    training, evaluation = (sum(row["seconds"][part] for row in rows) for part in ("training", "evaluation"))
    limits = sorted({row["time_limit"] for row in rows if row["time_limit"] is not None})
    allowed = f"{', '.join(map(str, limits))} steps" if limits else "none is known"
    lines += [
        "",
        f"total: at most about {duration(report['seconds'])}; {duration(training)} of work are updates and at most "
        f"{duration(evaluation)} evaluations.",
        "Assumed: updates take as long as those measured just now on synthetic data, one job at a time, with whatever else",
        f"runs here; every evaluation episode lasts as long as the time limit allows ({allowed}), which is too long for",
        "agents that fall early; jobs do not slow each other down.",
        "Not included: building datasets, starting processes. Runs that are finished already are counted again.",
    ]
    endless = sorted({row["stream"] for row in rows if row["time_limit"] is None})
    if endless:
        lines.append(f"No time limit is known for {', '.join(endless)}: their evaluations are not included either.")
    return "\n".join(lines)
