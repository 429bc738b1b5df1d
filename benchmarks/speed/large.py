"""Measures training on a dataset larger than memory, compared with a small one: updates per second, memory, and time to open it.

Each dataset is trained on in a process of its own, whose memory is measured. The processes take turns, so that slow changes of
the machine's speed cancel; each turn is as long as the rows of the next gradient steps last that are gathered at once.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqeval_rl.data import cache
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.parts import store_parts
from seqeval_rl.data.stream import Stream
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm
from seqeval_rl.protocol import Order, Protocol
from seqeval_rl.results.manifest import describe_provenance
from seqeval_rl.training.batch_sampler import CHUNK
from seqeval_rl.training.device import torch_threads
from seqeval_rl.training.trainer import Run, Trainer
from seqeval_rl.utils.processes import WorkerProcess, available_cores

SMALL = 1_000_000  # transitions of the dataset that is compared with
ORDERS = ("shuffled", "episodes", "logged", "interleaved")  # interleaved: two shuffled halves
_TASK, _OBS_DIM, _ACT_DIM = TASKS["halfcheetah"], 17, 6
EPISODE = 1_000
_PART = 1_000_000  # transitions that are made at once
_BEGIN = 0.95  # of the transitions that are visible when updates are measured


def dataset_of(transitions: int) -> Dataset:
    """Noise in HalfCheetah's shapes, from the cache; in episodes of 1 000 transitions that end by a time limit."""
    rng = np.random.default_rng(0)
    most = min(transitions, _PART)
    truncations = np.zeros(most, np.bool_)
    truncations[EPISODE - 1 :: EPISODE] = True
    raw = RawTransitions(
        observations=rng.standard_normal((most, _OBS_DIM), np.float32),
        actions=np.tanh(rng.standard_normal((most, _ACT_DIM), np.float32)),
        rewards=rng.standard_normal(most, np.float32),
        next_observations=rng.standard_normal((most, _OBS_DIM), np.float32),
        terminations=np.zeros(most, np.bool_),
        truncations=truncations,
    )
    part = Dataset.from_arrays("noise", _TASK, raw)

    def parts() -> Iterator[Dataset]:
        for start in range(0, transitions, most):
            rows = part.rows + np.float32(start / transitions)  # parts differ
            rows[:, _OBS_DIM : _OBS_DIM + _ACT_DIM] = part.actions
            rows[:, _OBS_DIM + _ACT_DIM + 1] = 1.0
            yield replace(part, rows=rows).prefix(min(most, transitions - start))

    key = _key(transitions)
    with cache.lock(key):
        found = store_parts(key, f"noise:{transitions}", parts(), transitions * (part.rows[0].nbytes + 1))
    time.sleep(2.0)  # a hash is remembered of files that have not changed just now
    return found


def _key(transitions: int) -> str:
    return f"bench-{_OBS_DIM}x{_ACT_DIM}-{transitions}-v1"


@contextmanager
def _at_hand(transitions: int) -> Iterator[dict[str, float | None]]:
    """The dataset in the cache, with the seconds of writing it and of checking it the first time; it is deleted afterwards,
    unless it was there before."""
    started = time.perf_counter()
    there = cache.open(_key(transitions)) is not None
    checked = time.perf_counter() - started
    seconds: dict[str, float | None] = {"write_seconds": None, "first_opening_seconds": checked if there else None}
    try:
        if not there:
            started = time.perf_counter()
            dataset_of(transitions)
            seconds["write_seconds"] = time.perf_counter() - started
            started = time.perf_counter()
            cache.open(_key(transitions))
            seconds["first_opening_seconds"] = time.perf_counter() - started
        yield seconds
    finally:
        if not there:
            shutil.rmtree(cache.root() / _key(transitions), ignore_errors=True)


@dataclass(frozen=True)
class Request:
    """What a process is to train on."""

    transitions: int
    order: str  # one of `ORDERS`
    algorithm: str
    device: str
    threads: int


class _Training:
    """A run on one dataset, near its end."""

    def __init__(self, request: Request):
        entry = find_algorithm(request.algorithm)
        started = time.perf_counter()
        dataset = cache.open(_key(request.transitions))
        assert dataset is not None
        self.seconds = {"opening_seconds": time.perf_counter() - started}
        interleaved = request.order == "interleaved"
        stream = Stream("bench", _halves(dataset) if interleaved else [dataset], interleave=interleaved)
        order: Order = "shuffled" if interleaved else request.order  # type: ignore[assignment]
        protocol = Protocol(initial=min(5_000, len(stream) // 2), order=order)
        device = torch.device(request.device)
        run = Run(stream, entry.configure({}, "the benchmark"), 0)
        started = time.perf_counter()
        self.trainer = Trainer([run], entry, protocol, device)
        self.seconds["building_seconds"] = time.perf_counter() - started
        steps = self.trainer.schedules[0].gradient_steps
        # The first rows of a pool, so that each turn gathers one.
        self._done = self.trainer.learner.batches.pool_of(int(_BEGIN * steps) // CHUNK).start * CHUNK
        started = time.perf_counter()
        self.train(CHUNK)
        self.seconds["first_updates_seconds"] = time.perf_counter() - started

    def train(self, updates: int) -> tuple[float, float]:
        """Seconds of that many more updates: wall time, and the CPU time of all threads."""
        started, used = time.perf_counter(), time.process_time()
        self.trainer.learner.train(self._done, self._done + updates, lambda _: None)
        self.trainer.learner.metrics()  # waits for the device
        self._done += updates
        return time.perf_counter() - started, time.process_time() - used

    def turn(self) -> int:
        """Updates of a turn: as many as a pool has; of a dataset without, some seconds' worth."""
        chunks = self.trainer.learner.batches.pool_of(self._done // CHUNK)
        return len(chunks) * CHUNK

    def score(self) -> float:
        """Seconds of an evaluation point: statistics and scores of some transitions, with what is computed once for all."""
        seen = len(self.trainer.runs[0].stream) - 2_000
        started = time.perf_counter()
        self.trainer.prequential.score(seen, [seen + 1_000])
        return time.perf_counter() - started


def _halves(dataset: Dataset) -> list[Dataset]:
    starts = dataset.episode_starts
    middle = len(starts) // 2
    row = int(starts[middle])
    second = replace(
        dataset, rows=dataset.rows[row:], truncations=dataset.truncations[row:], episode_starts=starts[middle:] - row,
        digest="",
    )  # fmt: skip
    return [dataset.prefix(row), second]


_training: list[_Training] = []  # of this process


def _serve(request: Request | tuple[str, Any]) -> Any:
    """What a process answers: it opens a dataset, takes updates, or says how much memory it takes."""
    if isinstance(request, Request):
        torch.set_num_threads(request.threads)
        _training.append(_Training(request))
        return _training[0].seconds, _training[0].turn()
    what, value = request
    if what == "train":
        return _training[0].train(value)
    return _training[0].score() if what == "score" else _memory()


def _memory() -> dict[str, int]:
    """Bytes of resident memory of this process by kind, as Linux counts it; empty elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return {}
    fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    names = {"peak": "VmHWM", "resident": "VmRSS", "anonymous": "RssAnon", "file": "RssFile"}
    return {name: 1024 * int(fields[key].split()[0]) for name, key in names.items() if key in fields}


def bench_large(
    entry: AlgorithmEntry,
    transitions: int,
    device: torch.device,
    threads: int,
    repeats: int,
    orders: Sequence[str] = ORDERS,
    updates: int | None = None,
) -> dict[str, Any]:
    """Measure; returns the machine's description and a row for each order. `updates` of a turn: by default those of a pool."""
    threads = threads or available_cores()
    sizes = (min(SMALL, transitions), transitions)
    with ExitStack() as stack, torch_threads(threads):
        written = [stack.enter_context(_at_hand(size)) for size in dict.fromkeys(sizes)][-1]
        rows = []
        for order in orders:
            requests = [Request(size, order, entry.reference, str(device), threads) for size in sizes]
            rows.append({"order": order, **_row(requests, repeats, updates)})
    return {
        "what": "updates per second near the end of a large dataset over those of a small one; medians over turns",
        "transitions": transitions,
        "small": sizes[0],
        "bytes": transitions * 4 * (2 * _OBS_DIM + _ACT_DIM + 2),
        "algorithm": entry.name,
        "repeats": repeats,
        "threads": threads,
        **written,
        **describe_provenance(str(device)),
        "rows": rows,
    }


def _row(requests: Sequence[Request], repeats: int, updates: int | None) -> dict[str, Any]:
    """The measurements of a small and a large dataset in one order."""
    with ExitStack() as stack:
        workers = []
        for _ in requests:
            workers.append(WorkerProcess(f"{__name__}:_serve"))
            stack.callback(workers[-1].stop)

        def ask(worker: WorkerProcess, request: Any) -> Any:
            worker.send(request)
            return worker.receive()

        opened = [ask(worker, request) for worker, request in zip(workers, requests, strict=True)]
        turn = updates or opened[-1][1]
        taken = np.array([[ask(worker, ("train", turn)) for worker in workers] for _ in range(repeats)])
        before = [ask(worker, ("memory", None)) for worker in workers]
        scored = [ask(worker, ("score", None)) for worker in workers]
        after = [ask(worker, ("memory", None)) for worker in workers]
    speeds, cpu = np.moveaxis(turn / taken, -1, 0)  # each [repeats, small and large]
    return {
        "updates_per_turn": turn,
        "updates_per_second": dict(zip(("small", "large"), speeds.T.tolist(), strict=True)),
        "updates_per_cpu_second": dict(zip(("small", "large"), cpu.T.tolist(), strict=True)),
        "large_over_small": float(np.median(speeds[:, 1] / speeds[:, 0])),
        "large_over_small_by_cpu_time": float(np.median(cpu[:, 1] / cpu[:, 0])),
        "seconds": [
            {**seconds, "first_scores_seconds": once} for (seconds, _), once in zip(opened, scored, strict=True)
        ],
        "memory": before,
        "memory_with_scores": after,
        "request": asdict(requests[-1]),
    }


def as_table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [
        report["what"],
        f"{report['algorithm']}: {report['transitions']:,} transitions ({report['bytes'] / 1e9:.1f} GB) compared with "
        f"{report['small']:,}; {report['threads']} threads, {report['processor']}; medians of {report['repeats']}",
    ]
    if report["first_opening_seconds"] is not None:
        lines.append(f"first opening, which reads and checks everything: {report['first_opening_seconds']:.1f} s")
    lines += [
        "",
        f"{'order':<12} {'updates/s':>10} {'over small':>11} {'by CPU':>7} {'peak memory':>12} {'above small':>12} "
        f"{'opening':>9} {'trainer':>9} {'first updates':>14} {'first scores':>13}",
    ]
    for row in report["rows"]:
        small, large = (memory.get("peak", 0) / 2**30 for memory in row["memory_with_scores"])
        seconds = row["seconds"][-1]
        lines.append(
            f"{row['order']:<12} {np.median(row['updates_per_second']['large']):>10.1f} {row['large_over_small']:>11.3f} "
            f"{row['large_over_small_by_cpu_time']:>7.3f} "
            f"{large:>8.2f} GiB {large - small:>8.2f} GiB {seconds['opening_seconds']:>7.2f} s "
            f"{seconds['building_seconds']:>7.2f} s {seconds['first_updates_seconds']:>12.2f} s "
            f"{seconds['first_scores_seconds']:>11.1f} s"
        )
    lines += [
        "",
        "over small: ratio to the updates/s on the small dataset, in turns; by CPU: to those per second of CPU time of all",
        "threads, as on a machine without a spare core. peak memory: largest resident memory of the process. opening: of the",
        "dataset, not the first time. trainer: order of arrival, networks, first statistics. first updates: 32 of them, with",
        "the rows that are gathered first. first scores: what prequential scores compute once.",
    ]
    return "\n".join(lines)
