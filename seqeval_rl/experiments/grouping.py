"""Run groups: which runs may train together, what they cost on this machine, and how many of them fit on a device.

Runs share a group if their algorithm, task, shapes and protocol are the same and their settings differ in floats only: a
vectorized algorithm takes such a setting as a tensor [R], one value for each run, which its losses [R] broadcast.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from seqeval_rl.environments.patience import UPDATE, patience, within_limits
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import UsageError
from seqeval_rl.experiments.flop import Flop, count_flop
from seqeval_rl.experiments.sweep import DECAY, Variant
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import common_settings
from seqeval_rl.interface.isolation import isolated
from seqeval_rl.interface.per_seed import random_columns
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm
from seqeval_rl.interface.sequences import fold
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.batch_sampler import CHUNK
from seqeval_rl.training.device import torch_threads
from seqeval_rl.utils.processes import WorkerProcess

MEMORY_SHARE = 0.8  # of a device's free memory that run groups may take
_PATIENCE = 300.0  # seconds for the measurement of a plug-in, which may compile something first
WORTH_A_PROCESS = 5.0  # estimated seconds of work; a worker takes some seconds to start


@dataclass(frozen=True)
class GroupKey:
    """What must be equal of two runs for one group to hold both."""

    algorithm: str  # reference, see `registry.find_algorithm`
    settings: Hashable  # all but the floats, and the gradient steps over which a rate decays
    task: Task
    protocol: Protocol
    resume_from: int  # evaluation, -1 for a fresh run: a group begins with one evaluation
    # Transitions, where an online phase follows that all runs enter at the same time; else None.
    dataset_length: int | None

    @classmethod
    def of(cls, variant: Variant, schedule: Schedule, task: Task, resume_from: int = -1) -> GroupKey:
        """The key of a variant's runs on a stream of this task."""
        settings = common_settings(variant.config), variant.settings(schedule).get(DECAY)
        length = schedule.dataset_length if variant.protocol.online else None
        return cls(variant.entry.reference, settings, task, variant.protocol, resume_from, length)


@dataclass(frozen=True)
class GroupCandidate:
    """A run that is to be trained, as the planner sees it."""

    run: Any
    key: Any  # a `GroupKey`
    dataset: Hashable  # runs of one dataset share its rows
    dataset_bytes: int  # of the rows, on the device
    run_bytes: int  # of everything that the run has to itself, on the device
    seconds: float = 0.0  # of one core, estimated


def free_memory(device: torch.device) -> float:
    """Bytes that are free on a CUDA device; on a CPU no limit."""
    if device.type != "cuda":
        return math.inf
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def room_for_groups(*devices: torch.device) -> float:
    """Bytes that a group may take: most of what is free on CUDA; on a CPU none, since one run fills a core.

    Of several devices the fullest counts, unless it has less than half of what another has: groups that do not fit there go
    to the others.
    """
    free = [free_memory(device) for device in devices if device.type == "cuda"]
    return MEMORY_SHARE * min((each for each in free if 2 * each >= max(free)), default=0.0)


def group_bytes(group: Iterable[GroupCandidate]) -> int:
    """What a group takes on a CUDA device: its datasets, each once, and its runs."""
    group = list(group)
    datasets = {each.dataset: each.dataset_bytes for each in group}
    return sum(datasets.values()) + sum(each.run_bytes for each in group)


def divide(candidates: Iterable[GroupCandidate], room: float, workers: int = 1) -> list[list[GroupCandidate]]:
    """Groups: runs of one key, in their order, as many in each as `room` bytes hold; at least one.

    Where there are fewer groups than `workers` that train them, the largest are halved.
    """
    groups: list[list[GroupCandidate]] = []
    filling: dict[Hashable, list[GroupCandidate]] = {}  # by key
    for candidate in candidates:
        group = [*filling.get(candidate.key, []), candidate]
        if len(group) > 1 and group_bytes(group) <= room:
            filling[candidate.key].append(candidate)
        else:
            filling[candidate.key] = [candidate]
            groups.append(filling[candidate.key])
    while 0 < len(groups) < workers and len(largest := max(groups, key=len)) > 1:
        groups.remove(largest)
        half = -(-len(largest) // 2)
        groups += [largest[:half], largest[half:]]
    return groups


def cost_of_run(
    variant: Variant, obs_shape: tuple[int, ...], act_dim: int, device: torch.device, known: dict[Any, UpdateCost],
    action_classes: int | None = None,
) -> UpdateCost:  # fmt: skip
    """The cost of one gradient step of one run, measured once for equal settings (`known`); 0 for an algorithm that raises,
    crashes or hangs, which its own job will report. Raises the `UsageError` of one that is for other observations or actions.
    """
    entry, batch_size = variant.entry, variant.protocol.batch_size
    # Widths and counts change the cost, rates do not.
    key = (entry.reference, common_settings(variant.config), obs_shape, act_dim, batch_size, action_classes)
    if key not in known:
        measure = cost_of_update if entry.is_ours or not entry.importable else _measured_apart
        try:
            with isolated(device), within_limits(UPDATE):
                known[key] = measure(entry, variant.config, obs_shape, act_dim, batch_size, device, action_classes)
        except UsageError:
            raise
        except (Exception, SystemExit):
            known[key] = UpdateCost(0.0, 0)
    return known[key]


def _measured_apart(entry: AlgorithmEntry, config: Any, *rest: Any) -> UpdateCost:
    """`cost_of_update` in another process, which a plug-in may crash."""
    worker = WorkerProcess(f"{__name__}:_measure")
    try:
        worker.send((entry.reference, dataclasses.asdict(config), *rest))
        cost: UpdateCost = worker.receive(min(_PATIENCE, patience().update))
        return cost
    finally:
        worker.kill()
        worker.stop()


def _measure(request: tuple[Any, ...]) -> UpdateCost:
    reference, settings, *rest = request
    entry = find_algorithm(reference)
    return cost_of_update(entry, entry.configure(settings, "the plan"), *rest)


def random_batch(spec: Spec, batch_size: int, noise_dim: int, columns: tuple[str, ...] = ()) -> Batch:
    """A batch of standard normals (actions in [-1, 1] or discrete, no terminals) of the right shapes, with `columns`."""
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(spec.runs, batch_size, *shape, generator=rng).to(spec.device)

    if spec.action_classes is None:
        actions = normal(spec.act_dim).tanh()
    else:
        actions = torch.randint(spec.action_classes, (spec.runs, batch_size), generator=rng).to(spec.device)
    return Batch(
        normal(*spec.obs_shape), actions, normal(), normal(*spec.obs_shape),
        torch.ones(spec.runs, batch_size, device=spec.device), normal(noise_dim),
        **random_columns(columns, normal, spec.act_dim),
    )  # fmt: skip


def random_batch_of(entry: AlgorithmEntry, config: Any, spec: Spec, batch_size: int) -> Any:
    """The same as an algorithm with these settings takes it; sequences are without padding."""
    length = entry.sequence_length(config)
    batch = random_batch(spec, batch_size, entry.noise_dim(config, spec), entry.columns(config))
    if length is None:
        return batch
    rows = random_batch(spec, batch_size * length, 0)._replace(noise=batch.noise)
    last = torch.full((spec.runs, batch_size), length - 1, device=spec.device)
    return fold(rows, last, last, rows.rewards if entry.returns_to_go else None)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of `work`, with the device's part."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def flop_on_paper(entry: AlgorithmEntry, config: Any, spec: Spec, batch_size: int) -> Flop | None:
    """`count_flop` on torch's meta device, where shapes are known and numbers are not; None where the algorithm needs numbers.

    On CUDA torch's counter sees nothing of what Triton's kernels compute.
    """
    spec = dataclasses.replace(spec, device=torch.device("meta"))
    try:
        algorithm = entry.build(config, spec)
        batch = random_batch_of(entry, config, spec, batch_size)
    except RuntimeError:
        return None
    return count_flop(algorithm, batch)


class UpdateCost(NamedTuple):
    """The cost of one run of an algorithm."""

    seconds: float  # wall time of one gradient step
    bytes: int  # of the device's memory that a run of a group may take; 0 on a CPU
    flop: Flop | None = None  # None where they cannot be counted


def cost_of_update(
    entry: AlgorithmEntry, config: Any, obs_shape: tuple[int, ...], act_dim: int, batch_size: int, device: torch.device,
    action_classes: int | None = None,
) -> UpdateCost:  # fmt: skip
    """A quick measurement for planning: bare updates of one run, on a CPU on one thread."""
    cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    spec = Spec(obs_shape, act_dim, (0,), device, action_classes)
    algorithm = entry.build(config, spec)
    batch = random_batch_of(entry, config, spec, batch_size)
    with torch_threads(1):
        for _ in range(min(getattr(algorithm, "period", 1), 4)):  # the first may compile something
            algorithm.update(batch)
        seconds = timed(lambda: [algorithm.update(batch) for _ in range(4)], device) / 4
        flop = (flop_on_paper(entry, config, spec, batch_size) if cuda else None) or count_flop(algorithm, batch)
    if not cuda:
        return UpdateCost(seconds, 0, flop)
    draws = CHUNK * batch_size * (8 + 4 * batch.noise.shape[-1])
    # Twice the peak: a captured graph keeps its own memory in addition to what was allocated before the capture.
    return UpdateCost(seconds, 2 * (torch.cuda.max_memory_allocated(device) - before) + draws, flop)
