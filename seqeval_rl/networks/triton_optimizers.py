"""Adam and soft updates as Triton kernels: one for all parameters, with enough programs to fill a GPU.

torch's fused kernel gives 65 536 numbers to a program. The networks of one run have about 140 000, so that it occupies a few
multiprocessors only. `optimizers` holds the same in operations of torch, which is what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024  # numbers of a program


@triton.jit
def _adam(
    values, gradients, means, squares, count, programs_done, rate, decay, every, horizon,
    DECAYS: tl.constexpr, FALLS: tl.constexpr, COUNTS: tl.constexpr, SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One step on tensors of these SIZES, after `count` steps; COUNTS: the last program to end adds this one to them."""
    before = tl.load(count)
    # In float64, as in torch: 1 - 0.999 has few digits left in float32.
    steps = before.to(tl.float64) + 1.0
    if FALLS:
        rate *= 0.5 + 0.5 * tl.cos(tl.minimum(before, horizon) * (3.141592653589793 / horizon))
    size = (rate / (1.0 - tl.exp(steps * -0.10536051565782628))).to(tl.float32)  # log(0.9)
    root = tl.sqrt(1.0 - tl.exp(steps * -0.0010005003335835335)).to(tl.float32)  # log(0.999)
    program, first = tl.program_id(0), 0
    for i in tl.static_range(len(values)):
        programs = (SIZES[i] + BLOCK - 1) // BLOCK
        if (program >= first) & (program < first + programs):
            place = (program - first) * BLOCK + tl.arange(0, BLOCK)
            mask = place < SIZES[i]
            gradient, mean = tl.load(gradients[i] + place, mask=mask), tl.load(means[i] + place, mask=mask)
            mean += 0.1 * (gradient - mean)
            square = 0.999 * tl.load(squares[i] + place, mask=mask) + 0.001 * gradient * gradient
            value = tl.load(values[i] + place, mask=mask)
            if DECAYS:
                due = steps.to(tl.int64) % every == every // 2
                value -= value * tl.where(due, decay * rate, 0.0)
            value -= size * mean / (tl.sqrt(square) / root + 1e-8)
            tl.store(means[i] + place, mean, mask=mask)
            tl.store(squares[i] + place, square, mask=mask)
            tl.store(values[i] + place, value, mask=mask)
        first += programs
    if COUNTS:
        tl.debug_barrier()  # until here all threads of this program have read the count
        if tl.atomic_add(programs_done, 1) == tl.num_programs(0) - 1:
            tl.store(count, before + 1.0)
            tl.store(programs_done, 0)


@triton.jit
def _soft_update(targets, values, rate, SIZES: tl.constexpr, BLOCK: tl.constexpr):
    """targets += rate (values - targets)."""
    program, first = tl.program_id(0), 0
    for i in tl.static_range(len(values)):
        programs = (SIZES[i] + BLOCK - 1) // BLOCK
        if (program >= first) & (program < first + programs):
            place = (program - first) * BLOCK + tl.arange(0, BLOCK)
            mask = place < SIZES[i]
            old = tl.load(targets[i] + place, mask=mask)
            tl.store(targets[i] + place, old + rate * (tl.load(values[i] + place, mask=mask) - old), mask=mask)
        first += programs


def _sizes(tensors: Sequence[Tensor]) -> tuple[tuple[int, ...], tuple[int]]:
    sizes = tuple(t.numel() for t in tensors)
    return sizes, (sum(triton.cdiv(size, _BLOCK) for size in sizes),)


def adam(
    values: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    count: Tensor,
    programs_done: Tensor | None,
    rate: float,
    decay: float = 0.0,
    every: int = 1,
    horizon: int | None = None,
) -> None:
    """One step of Adam (beta 0.9 and 0.999, epsilon 1e-8), in place.

    Args:
        values, gradients, means, squares: of each parameter.
        count: one number, the steps before this one.
        programs_done: int32, one number, 0: this step is added to `count`; it is 0 again afterwards. None: it is not added.
        rate: learning rate.
        decay: `values` decay by this times the rate times themselves, every `every`-th step.
        horizon: steps over which the rate falls to 0 along half a cosine; None: it is constant.
    """
    sizes, grid = _sizes(values)
    contiguous = tuple(t.contiguous() for t in gradients)
    _adam[grid](
        tuple(values), contiguous, tuple(means), tuple(squares), count, count if programs_done is None else programs_done,
        float(rate), float(decay), every, float(horizon or 1),
        DECAYS=decay != 0, FALLS=horizon is not None, COUNTS=programs_done is not None, SIZES=sizes, BLOCK=_BLOCK,
    )  # fmt: skip


def soft_update(targets: Sequence[Tensor], values: Sequence[Tensor], rate: float) -> None:
    """targets += rate (values - targets), in place."""
    sizes, grid = _sizes(targets)
    _soft_update[grid](tuple(targets), tuple(values), rate, SIZES=sizes, BLOCK=_BLOCK)
