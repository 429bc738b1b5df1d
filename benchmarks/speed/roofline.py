"""Upper bounds for the speed of an update on this machine: its matrix products alone, and the rate of copying memory.

The products are recorded while the algorithm updates, so the count is right for any plug-in. Recorded are `mm`, `addmm`, `bmm`
and `baddbmm` with their in-place and `out` forms, which linear layers consist of, and convolutions, which are products too; not
recorded are products of a matrix and a vector, and elementwise operations.

Arithmetic: a product [S, m, k] x [S, k, n] is 2 S m n k FLOP, one multiplication and one addition for each term; adding a bias
is not counted. A convolution to P numbers, each from k others, is 2 P k FLOP, and so is each of its two gradients. A step of Adam
on P numbers of b bytes moves at least 7 P b bytes: number, gradient and two moments are read; number and moments are written.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqeval_rl.experiments.grouping import timed
from seqeval_rl.training.cuda_graphs import CudaGraphs, side_stream

_aten: Any = torch.ops.aten
# Position of the left factor among the arguments; the right one follows it.
_LEFT = {_aten.mm: 0, _aten.bmm: 0, _aten.addmm: 1, _aten.baddbmm: 1, _aten.addmm_: 1, _aten.baddbmm_: 1}
# Position of the kernel among the arguments, as `_LEFT`.
_KERNEL = {_aten.convolution: 1, _aten.convolution_backward: 2}
_IN_PLACE = (_aten.addmm_, _aten.baddbmm_)
ADAM = (_aten._fused_adam_, _aten._fused_adamw_)
_ALIGNMENT = 64  # bytes; which kernel runs may depend on it


class Operand(NamedTuple):
    """Shape and layout of a tensor of a product."""

    size: tuple[int, ...]
    stride: tuple[int, ...]  # in elements; 0 where the tensor was expanded
    dtype: torch.dtype
    shift: int  # elements between the last boundary of 64 bytes and its first element

    @staticmethod
    def of(tensor: Tensor) -> Operand:
        """The operand of a tensor."""
        shift = tensor.data_ptr() % _ALIGNMENT // tensor.element_size()
        return Operand(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, shift)

    def tensor(self, device: torch.device, numbers: torch.Generator) -> Tensor:
        """A tensor of standard normals with this size, strides and alignment; expanded axes share memory again."""
        reach = sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True)) + 1 if math.prod(self.size) else 0
        memory = torch.randn(self.shift + reach, generator=numbers).to(device, self.dtype)
        return memory.as_strided(self.size, self.stride, self.shift)


@dataclass(frozen=True)
class Product:
    """One call of a matrix product or convolution: tensors as `Operand`s, other arguments unchanged."""

    operator: Any  # torch.ops.aten.…, with its overload
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]
    result: Operand | None  # None of a convolution's gradients, which are several

    @property
    def factors(self) -> tuple[Operand, Operand]:
        """Left and right of a matrix product, [S, m, k] and [S, k, n] or without S."""
        left = _LEFT[self.operator.overloadpacket]
        return self.arguments[left], self.arguments[left + 1]

    @property
    def flop(self) -> int:
        """2 S m n k: the result has S m n numbers, each a sum of k products."""
        packet = self.operator.overloadpacket
        if packet not in _KERNEL:
            assert self.result is not None
            return 2 * math.prod(self.result.size) * self.factors[0].size[-1]
        terms = math.prod(self.arguments[_KERNEL[packet]].size[1:])
        if self.result is not None:
            return 2 * math.prod(self.result.size) * terms
        return 2 * math.prod(self.arguments[0].size) * terms * sum(self.arguments[-1][:2])  # those that are needed


class Recording(TorchDispatchMode):
    """Records the work of consecutive updates: operations below automatic differentiation, those of a backward pass included."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates = updates
        self.products: list[Product] = []  # of all updates, in the order of the calls
        self.adam_bytes = 0  # moved at least by torch's fused Adam kernels, in all updates; 0 where none was called

    @property
    def flop_per_update(self) -> float:
        """FLOP of the matrix products, mean over the updates."""
        return sum(product.flop for product in self.products) / self.updates

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        if func.overloadpacket not in _LEFT and func.overloadpacket not in _KERNEL:
            if func.overloadpacket in ADAM:
                self.adam_bytes += sum(7 * p.numel() * p.element_size() for p in args[0])
            with self:  # in inference mode compound operations such as `linear` arrive whole
                result = func.decompose(*args, **keywords)
            if result is NotImplemented:
                result = func(*args, **keywords)
                self.add(func, args, keywords, result)
            return result
        arguments = tuple(Operand.of(value) if isinstance(value, Tensor) else value for value in args)
        named = tuple((key, Operand.of(v) if isinstance(v, Tensor) else v) for key, v in keywords.items())
        result = func(*args, **keywords)
        made = Operand.of(result) if isinstance(result, Tensor) else None
        self.products.append(Product(func, arguments, named, made))
        self.add(func, args, keywords, result)
        return result

    def add(self, func: Any, args: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
        """Called after each operation, views included."""


def record(update: Callable[[], object], updates: int = 1) -> Recording:
    """Call `update` that many times (a whole period of updates that differ) and record its products."""
    recording = Recording(updates)
    with recording:
        for _ in range(updates):
            update()
    return recording


class Products:
    """A recording's products, run again on tensors of their own with nothing between them.

    Results of matrix products are written to allocated tensors. Products share a tensor where size, strides and role (which
    argument, or the result) are the same, so the caches are at least as warm as during an update. On CUDA all of them are one
    CUDA graph, so that Python does not limit them. On a CPU each is a call from Python, which adds about a microsecond.
    """

    def __init__(self, products: Sequence[Product], device: torch.device) -> None:
        """Allocate the tensors; on CUDA, capture the products."""
        self.tensors: dict[tuple[int | str, Operand], Tensor] = {}
        numbers = torch.Generator().manual_seed(0)

        def tensor(role: int | str, value: Any) -> Any:
            if not isinstance(value, Operand):
                return value
            if (role, value) not in self.tensors:
                self.tensors[role, value] = value.tensor(device, numbers)
            return self.tensors[role, value]

        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        for product in products:
            operator, keywords = product.operator, {key: tensor(key, value) for key, value in product.keywords}
            in_place = operator.overloadpacket in _IN_PLACE
            roles = ["out" if in_place and i == 0 else i for i in range(len(product.arguments))]
            arguments = tuple(map(tensor, roles, product.arguments))
            if operator._overloadname == "default" and not in_place and operator.overloadpacket not in _KERNEL:
                operator, keywords["out"] = operator.overloadpacket.out, tensor("out", product.result)
            self.calls.append((operator, arguments, keywords))
        self._all = self._captured() if device.type == "cuda" and self.calls else self._one_by_one

    def run(self, times: int = 1) -> None:
        """All products, that many times; on CUDA without waiting for the end."""
        with torch.inference_mode():
            for _ in range(times):
                self._all()

    def _one_by_one(self) -> None:
        for operator, arguments, keywords in self.calls:
            operator(*arguments, **keywords)

    def _captured(self) -> Callable[[], None]:
        with torch.inference_mode():
            # Libraries initialize themselves at first use, which must not happen during the capture.
            with side_stream():
                for _ in range(3):
                    self._one_by_one()
            return CudaGraphs()(self._one_by_one)


def copy_rate(device: torch.device, size: int = 256 << 20, repeats: int = 5) -> float:
    """Bytes read plus bytes written per second when copying `size` bytes: median of `repeats` measurements."""
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    source.fill_(1)  # a page of zeros may not be allocated before the first write
    timed(lambda: target.copy_(source), device)
    return 2 * size / statistics.median(timed(lambda: target.copy_(source), device) for _ in range(repeats))
