"""A sweep of 24 short runs, what they have recorded, and the runs that a second start would begin."""

from groups import CPU, found, write_dataset

from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol


def sweep_of(folder, seeds=6, length=150, evaluate_every=40, batch_size=16):
    """Two algorithms on two streams, with so many seeds."""
    streams = tuple(
        write_dataset(folder / f"data-{total}.npz", [total - 50, 50], seed=total) for total in (length, length + 40)
    )
    protocol = Protocol(initial=100, batch_size=batch_size, evaluate_every=evaluate_every, episodes=1)
    entries = tuple(find_algorithm(name) for name in ("bc", "td3_bc"))
    settings = {entry.name: {"hidden": (16, 16)} for entry in entries}
    return Sweep("launched", streams, entries, protocol, tuple(range(seeds)), settings)


def same(out, other):
    """Whether two directories hold the same runs with the same numbers, seconds aside."""
    return found(out) == found(other)


def left(sweep, out):
    """How many runs a second start would begin."""
    return sum(len(job.runs) for job in plan(sweep, out, CPU, "gymnasium", progress=False).jobs)
