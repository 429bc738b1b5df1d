"""Counts the kernels of an update without computing it: each operation with its floating-point operations and its bytes.

Updates are traced on torch's meta device, which has shapes and no numbers, as the learner for CUDA takes them: gathering the
batch, the update, and the sums of metrics. Each operation below automatic differentiation that is not a view is one kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqeval_rl.benchmarks.speed.contenders import LearnerLoop, Problem
from seqeval_rl.benchmarks.speed.roofline import ADAM, Recording
from seqeval_rl.errors import UsageError
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.training.cuda_graph_learner import WARM_UP

_TRANSITIONS = 64  # of the synthetic data: few, so that few batches are drawn
_aten: Any = torch.ops.aten
_GATHER = (_aten.index_select, _aten.gather, _aten.index)  # of their first argument they read what they return
_OVERWRITE = (_aten.copy_, _aten.fill_, _aten.zero_, _aten._foreach_copy_, _aten._foreach_zero_)


class Kernel(NamedTuple):
    """An operation that computes something."""

    name: str
    flop: int  # of a matrix product; 0 for others
    bytes: int  # read and written, each tensor once


class Kernels(Recording):
    """A recording that also lists the kernels of the updates, in their order."""

    def __init__(self, updates: int) -> None:
        super().__init__(updates)
        self.kernels: list[Kernel] = []

    def add(self, func: Any, args: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
        """See `Recording`: all operations but views, and those that only allocate."""
        name, given = func.overloadpacket.__name__, {_memory(each) for each in _tensors((args, keywords))}
        made = list(_tensors(result))
        views = not func._schema.is_mutable and bool(made) and all(_memory(each) in given for each in made)
        if views or name.startswith(("empty", "new_empty")):
            return
        product = self.products[-1] if self.products and self.products[-1].operator is func else None
        self.kernels.append(Kernel(name, product.flop if product else 0, _bytes_moved(func, args, keywords, made)))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _memory(tensor: Tensor) -> int:
    """Equal for tensors that share memory."""
    return tensor.untyped_storage()._cdata


def _size(tensor: Tensor) -> int:
    """Bytes; axes along which a tensor was expanded are counted once."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(n for n, stride in sizes if stride or not n) * tensor.element_size()


def _bytes_moved(func: Any, args: tuple[Any, ...], keywords: dict[str, Any], made: Sequence[Tensor]) -> int:
    """Bytes that an operation must read and write, if nothing remains in a cache from the one before."""
    packet, schema = func.overloadpacket, func._schema
    if packet in ADAM:
        return sum(7 * _size(each) for each in args[0])  # see `roofline`
    moved = 0 if schema.is_mutable else sum(map(_size, made))
    values = dict(zip((each.name for each in schema.arguments), args, strict=False)) | keywords
    for place, argument in enumerate(schema.arguments):
        written = argument.alias_info is not None and argument.alias_info.is_write
        size = sum(map(_size, _tensors(values.get(argument.name))))
        if place == 0 and packet in _GATHER:
            size = min(size, sum(map(_size, made)))
        moved += size * (2 if written and not argument.is_out and packet not in _OVERWRITE else 1)
    return moved


def trace(
    entry: AlgorithmEntry, config: Any, problem: Problem, runs: int, begins: Callable[[], None] = lambda: None
) -> Kernels:
    """The kernels of a period of updates of R = `runs` runs that the learner for CUDA takes, without computing anything; not
    those of copying a chunk's draws to the device. `begins` is called before this period, after those that warm up.

    Raises:
        UsageError: the algorithm needs numbers, for example because it reads a tensor on the host.
    """
    problem = problem.suited(entry)
    spec = problem.spec(runs, torch.device("meta"))
    few = replace(problem, transitions=_TRANSITIONS)
    try:
        loop = LearnerLoop(entry, config, spec, few, capture=lambda work: work)
        before = (WARM_UP + 1) * loop.period  # what is done once is not counted, a capture included
        loop.learner.train(0, before, lambda _: None)
        begins()
        with Kernels(loop.period) as kernels:
            loop.learner.train(before, before + loop.period, lambda _: None)
    except RuntimeError as error:  # NotImplementedError is one
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{entry.name}: expected an algorithm that can be traced on torch's meta device, found: {why.rstrip('.')}. "
            "Leave it out by --algorithms, or read no tensor on the host."
        ) from error
    return kernels
