"""Trains run groups as tasks of a Ray cluster (extra `ray`). Results are on storage that its nodes share."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from seqeval_rl.errors import BusyError, SeqevalError, UsageError, writing
from seqeval_rl.experiments.display import Display
from seqeval_rl.experiments.grouping import room_for_groups
from seqeval_rl.experiments.job import Job, Progress, RunEnd
from seqeval_rl.experiments.launchers.launcher import LaunchOptions, SweepRequest, begun, installed
from seqeval_rl.experiments.launchers.ray_cluster import Cluster, Surroundings, connected
from seqeval_rl.experiments.planner import Plan
from seqeval_rl.experiments.pool import sendable
from seqeval_rl.experiments.worker import died, execute
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.utils.text import first_line

_ATTEMPTS = 3  # at a run group whose worker or node is lost without one new evaluation
_PATIENCE = 300.0  # seconds that a later attempt waits for the owner that was lost
_POLL = 0.5  # seconds
_NOTICE = 60.0  # seconds without a task that begins, after which that is said
_SMALLEST = 0.1  # of a GPU: each task takes a few hundred MB for CUDA alone


class RayLauncher:
    """See the module. The command is the driver: it plans, hands out run groups, and tries again those whose node is lost."""

    def __init__(self, options: LaunchOptions):
        """`options.address`: of the cluster; none: the one that is found, else this machine. Raises `UsageError`."""
        options.only("ray", "address")
        installed("ray", "ray", "Ray")
        self._address = options.address

    def launch(self, request: SweepRequest) -> list[RunEnd]:
        """See `Launcher.launch`."""
        if request.device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"--device {request.device}: expected auto, cpu or cuda with --launcher ray, where Ray chooses the devices. "
                "Choose one of these."
            )
        request = replace(request, out=request.out.resolve())
        with connected(self._address), writing(f"--out {request.out}", "Choose another directory."):
            request.out.mkdir(parents=True, exist_ok=True)
            with Cluster(request.out) as cluster:
                planned, room = _plan(request, cluster)
                for name in {job.algorithm for job in planned.jobs}:
                    if not find_algorithm(name).importable:
                        raise UsageError(
                            f"{name}: expected an algorithm in a file or module with --launcher ray. Move it to one."
                        )
                if not planned.jobs:
                    return list(planned.failed)
                with request.display(planned.jobs) as display:
                    return [*planned.failed, *_Driver(begun(planned.jobs), room, cluster, display).run()]


def _plan(request: SweepRequest, cluster: Cluster) -> tuple[Plan, float]:
    """The plan, and the bytes that groups may take on a GPU. For GPUs it is made on a node that has one."""
    import ray

    gpus, _ = cluster.devices()
    if request.device == "cpu" or (request.device == "auto" and not gpus):
        return request.plan(torch.device("cpu")), 0.0
    task = cluster.submit(_plan_on_gpu, replace(request, progress=False), max(1, gpus), gpus=1)
    _wait_for_first([task], "a node with a GPU", request.say)
    try:
        answer = ray.get(task)
    except ray.exceptions.RayError as error:
        raise SeqevalError(f"--launcher ray: planning on a GPU was lost ({first_line(error)}). Try again.") from error
    if isinstance(answer, BaseException):
        raise answer
    planned, room = answer
    request.show(planned)
    return planned, room


def _plan_on_gpu(surroundings: Surroundings, request: SweepRequest, gpus: int) -> tuple[Plan, float] | BaseException:
    try:
        surroundings.enter()
        device = torch.device("cuda")
        room = room_for_groups(device)
        return request.plan(device, room, gpus), room
    except BaseException as error:
        return sendable(error)


def gpu_share(size: float, room: float) -> float:
    """The part of a GPU that a task reserves for a group of so many bytes, where groups may take `room`; 0 without a GPU."""
    if not room:
        return 0.0
    share = math.ceil(100 * size / room) / 100
    return 1.0 if share > 0.5 else max(_SMALLEST, share)


def _train(
    surroundings: Surroundings, job: Job, number: int, queue: Any, patience: float
) -> list[RunEnd] | BaseException:
    """The task: train a job's runs, or say why that is not possible."""
    import ray

    def report(progress: Progress) -> None:
        with suppress(ray.exceptions.RayError):  # training does not depend on what is shown
            queue.put(progress)

    try:
        surroundings.enter()
        cores = max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
        torch.set_num_threads(cores)
        until = time.monotonic() + patience
        while True:
            try:
                return execute(job, number, report, cores)
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(1.0)
    except BaseException as error:
        return sendable(error)


@dataclass
class _Driver:
    """Hands out jobs, until each has ended."""

    jobs: Sequence[Job]
    room: float
    cluster: Cluster
    display: Display
    attempts: Counter[int] = field(default_factory=Counter)  # by job, since its last new evaluation
    recorded: dict[int, int] = field(default_factory=dict)  # by job, bytes of scores when it began
    tasks: dict[Any, int] = field(default_factory=dict)

    def run(self) -> list[RunEnd]:
        """Raises what a job raised, after the tasks of the others have been ended."""
        import ray

        ends: list[RunEnd] = []
        try:
            for number in range(len(self.jobs)):
                self._begin(number)
            _wait_for_first(list(self.tasks), "a node with free cores or GPUs", self.display.say, self._report)
            while self.tasks:
                done, _ = ray.wait(list(self.tasks), timeout=_POLL)
                self._report()
                for task in done:
                    ends += self._end(task)
        except BaseException:
            for task in self.tasks:
                ray.cancel(task, force=True)
            ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=10.0)
            raise
        return ends

    def _begin(self, number: int, patience: float = 0.0) -> None:
        share = gpu_share(self.jobs[number].bytes, self.room)
        cores = max(1, int(self.cluster.devices()[1] * share)) if share else 1
        self.recorded[number] = _recorded(self.jobs[number])
        arguments = self.jobs[number], number, self.cluster.queue, patience
        self.tasks[self.cluster.submit(_train, *arguments, cores=cores, gpus=share)] = number

    def _end(self, task: Any) -> list[RunEnd]:
        """How the runs of a task's job ended; none where the job begins again."""
        import ray

        number = self.tasks.pop(task)
        job = self.jobs[number]
        try:
            ends = ray.get(task)
        except ray.exceptions.RayError as error:
            self.attempts[number] = 1 if _recorded(job) > self.recorded[number] else self.attempts[number] + 1
            why = f"its worker or node was lost ({first_line(error).rstrip('.')})"
            if self.attempts[number] < _ATTEMPTS and not isinstance(error, ray.exceptions.RayTaskError):
                self.display.say(
                    f"{job.runs[0].directory}: {why}; it is resumed on another, attempt {self.attempts[number] + 1}"
                )
                self._begin(number, _PATIENCE)
                return []
            ends = [died(run, why) for run in job.runs]
        if isinstance(ends, BaseException):
            raise ends
        self.display.job_ended(number, ends)
        return list(ends)

    def _report(self) -> bool:
        """Show what was reported, if anything."""
        reports = self.cluster.progress()
        for progress in reports:
            self.display.update(progress)
        return bool(reports)


def _recorded(job: Job) -> int:
    """Bytes of the scores that a job's runs have recorded."""
    files = (run.directory / "metrics.jsonl" for run in job.runs)
    return sum(path.stat().st_size for path in files if path.exists())


def _wait_for_first(
    tasks: list[Any], needed: str, say: Callable[[str], None], begun: Callable[[], bool] = lambda: False
) -> None:
    """Wait until a task has begun or ended, and say so where that takes long: a node may never come."""
    import ray

    since, said = time.monotonic(), False
    while not begun() and not ray.wait(tasks, timeout=_POLL)[0]:
        if time.monotonic() - since > _NOTICE and not said:
            said = True
            free = ray.available_resources()
            there = ", ".join(f"{free[key]:g} {key}" for key in ("CPU", "GPU") if key in free)
            say(
                f"Ray has begun nothing for {_NOTICE:.0f} s: it waits for {needed}; free are {there or 'none'}. Ctrl-C stops."
            )
