"""A Ray cluster as the launcher of `ray` uses it: connecting to it, its devices, handing out tasks, and their progress."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqeval_rl.errors import FileError, UsageError
from seqeval_rl.experiments.job import Progress
from seqeval_rl.utils.files import atomic_write
from seqeval_rl.utils.interruption import SIGNALS
from seqeval_rl.utils.text import first_line

_PORT = 6379  # of a cluster's head, if no other is named
_REACH = 10.0  # seconds


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connected to a cluster; where this process is already, to that."""
    import ray

    before = ray.is_initialized()
    if not before:
        full = address if not address or address == "auto" or ":" in address else f"{address}:{_PORT}"
        try:
            _reach(full)
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            ray.init(address=full or None, log_to_driver=False, logging_level="error")
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():  # Ray has put its own in place of some
                    signal.signal(number, handler)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"--address {address or 'auto'}: no Ray cluster answers there ({first_line(error)}). Start one with "
                "`ray start --head`, or name its head."
            ) from error
    try:
        yield
    finally:
        if not before:
            ray.shutdown()


def _reach(address: str) -> None:
    """Raise `OSError` where nothing answers at `HOST:PORT` or `ray://HOST:PORT`: Ray itself tries for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()


@dataclass(frozen=True)
class Surroundings:
    """What a task needs to find the same modules and files as the driver."""

    directory: str
    path: tuple[str, ...]
    variables: dict[str, str]
    shared: Path  # a file in the results directory

    def enter(self) -> None:
        """Take them over. Raises `FileError` where this node does not see the results directory."""
        if not self.shared.exists():
            raise FileError(
                f"--out {self.shared.parent}: node {socket.gethostname()} does not see it. Choose a directory on storage that "
                "all nodes share."
            )
        os.environ.update(self.variables)
        sys.path += [entry for entry in self.path if entry not in sys.path]
        with suppress(OSError):  # then paths relative to it are not found, and the message names them
            os.chdir(self.directory)


class Cluster:
    """The cluster, as the driver uses it: it hands out tasks, and gets their progress through a queue."""

    def __init__(self, out: Path):
        here = str(Path.cwd())
        variables = {
            key: value for key, value in os.environ.items() if key.startswith(("SEQEVAL_", "MINARI_", "MUJOCO_"))
        }
        path = tuple(entry or here for entry in sys.path)
        self.surroundings = Surroundings(here, path, variables, out / f".{uuid.uuid4().hex}.shared")

    def __enter__(self) -> Cluster:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        atomic_write(self.surroundings.shared, "")
        # On the driver's node, if that can take it; where it is lost all the same, only what is shown is.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.queue = Queue(actor_options={"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here})
        return self

    def __exit__(self, *error: object) -> None:
        self.surroundings.shared.unlink(missing_ok=True)
        with suppress(Exception):  # it may be lost
            self.queue.shutdown(force=True)

    def devices(self) -> tuple[int, int]:
        """GPUs of the nodes that are there, and cores for each of them."""
        import ray

        having = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0) >= 1]
        cores = min((int(each.get("CPU", 0) // each["GPU"]) for each in having), default=1)
        return int(sum(each["GPU"] for each in having)), max(1, cores)

    def submit(self, function: Callable[..., Any], *arguments: Any, cores: float = 1, gpus: float = 0) -> Any:
        """Begin a task; returns what `ray.get` takes. The driver itself tries again, from what the files say by then."""
        import ray

        # A process that has used a GPU ends after its task: it would keep memory there.
        remote = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=0, max_calls=1 if gpus else 0)(function)
        return remote.remote(self.surroundings, *arguments)

    def progress(self) -> list[Progress]:
        """What tasks have reported since the last call."""
        import ray

        with suppress(ray.exceptions.RayError):
            waiting = self.queue.qsize()
            return list(self.queue.get_nowait_batch(waiting)) if waiting else []
        return []
