"""Trains on this machine: on a CPU in one process per core, on CUDA in one process per device, each one job after the other. A
device has two processes where every job leaves it half empty.

Small sweeps of this project's algorithms in Gymnasium's environments train in this process: a new one takes some seconds.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import gymnasium
import torch

from seqeval_rl.environments.tasks import Task
from seqeval_rl.experiments.grouping import WORTH_A_PROCESS, room_for_groups
from seqeval_rl.experiments.job import Job, RunEnd
from seqeval_rl.experiments.launchers.launcher import LaunchOptions, SweepRequest
from seqeval_rl.experiments.pool import train_in_processes
from seqeval_rl.experiments.worker import execute
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.training.device import choose_devices
from seqeval_rl.utils.processes import available_cores


class LocalLauncher:
    """The default; see the module."""

    def __init__(self, options: LaunchOptions):
        """It takes no options. Raises `UsageError` where one was given."""
        options.only("local")

    def launch(self, request: SweepRequest) -> list[RunEnd]:
        """See `Launcher.launch`."""
        devices = choose_devices(request.device)
        planned = request.plan(devices[0], room_for_groups(*devices), len(devices))
        if not planned.jobs:
            return list(planned.failed)
        names = [str(device) for device in devices]
        # A device with a number is the only one that a process of its own sees.
        small = sum(job.cost for job in planned.jobs) <= WORTH_A_PROCESS and devices[0].index is None
        if names == ["cpu"] and not small:
            worth = math.ceil(sum(job.cost for job in planned.jobs) / WORTH_A_PROCESS)
            names *= max(1, min(available_cores(), worth))
        elif names != ["cpu"] and all(job.small for job in planned.jobs):
            names *= 2
        algorithms = [find_algorithm(name) for name in {job.algorithm for job in planned.jobs}]
        # A class that was defined in a notebook exists in this process alone.
        here = not all(algorithm.importable for algorithm in algorithms)
        # What can crash its process, or fill the memory, gets one of its own.
        ours = all(algorithm.is_ours for algorithm in algorithms)
        here |= small and ours and all(_is_gymnasiums(job.task) for job in planned.jobs)
        names = names[: 1 if here else len(planned.jobs)]
        with torch.cuda.device(devices[0]) if devices[0].type == "cuda" and here else nullcontext():
            return [*planned.failed, *_train(request, planned.jobs, names, here)]


def _is_gymnasiums(task: Task) -> bool:
    """Whether its environment, if it has one, is registered by Gymnasium itself."""
    if task.env_id is None:
        return True
    spec = gymnasium.registry.get(task.env_id)
    return task.environment == task.env_id and str(getattr(spec, "entry_point", "")).startswith("gymnasium.")


def _train(request: SweepRequest, jobs: tuple[Job, ...], devices: list[str], here: bool) -> list[RunEnd]:
    """In one process for each of `devices`, which may name one several times, or in this process."""
    with request.display(jobs) as display:
        if not here:
            return train_in_processes(jobs, devices, display)
        ends: list[RunEnd] = []
        for number, job in enumerate(jobs):
            ended = execute(job, number, display.update, available_cores())
            display.job_ended(number, ended)
            ends += ended
        return ends
