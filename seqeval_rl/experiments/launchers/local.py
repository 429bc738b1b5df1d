"""Trains on this machine: on a CPU in one process per core, on CUDA in one process per device, each one job after the other."""

from __future__ import annotations

import math

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
        if names == ["cpu"]:
            worth = math.ceil(sum(job.cost for job in planned.jobs) / WORTH_A_PROCESS)
            names *= max(1, min(available_cores(), worth))
        # A class that was defined in a notebook exists in this process alone.
        if not all(find_algorithm(name).importable for name in {job.algorithm for job in planned.jobs}):
            del names[1:]
        return [*planned.failed, *_train(request, planned.jobs, names[: len(planned.jobs)])]


def _train(request: SweepRequest, jobs: tuple[Job, ...], devices: list[str]) -> list[RunEnd]:
    """In one process for each of `devices`, which may name one several times; in this process if there is one."""
    with request.display(jobs) as display:
        if len(devices) > 1:
            return train_in_processes(jobs, devices, display)
        ends: list[RunEnd] = []
        for number, job in enumerate(jobs):
            ended = execute(job, number, display.update, available_cores())
            display.job_ended(number, ended)
            ends += ended
        return ends
