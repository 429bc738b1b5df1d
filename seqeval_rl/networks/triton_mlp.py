"""The layers of many perceptrons as Triton kernels: on CUDA one kernel for each layer and direction.

torch takes three kernels for a layer (the bias is copied, the product is added, negative numbers become 0) and four for its
derivative. At these sizes a kernel takes a few microseconds whatever it does, so their number decides. For the same reason a
final tanh is part of the last layer, and inputs in two tensors need not be concatenated. `batched_mlp` holds the same in
operations of torch, which is what the tests compare with.

Axes: R runs, M members of a run of which the first m = `used` are evaluated, S = R * m networks, N rows of a network, K
extra inputs of a row (1 where there are none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

_FULL = 264  # programs that fill the multiprocessors of a large GPU twice
_SPLIT = 256  # fewest rows of a partial sum


@triton.jit
def _inputs(x, extra, rows, columns, count, repeat, X: tl.constexpr, E: tl.constexpr):
    """A tile of a layer's inputs: row i is row i / repeat of x [N / repeat, X], followed by row i of extra [N, E]."""
    inside = rows < count
    mask = inside & (columns < X)
    tile = tl.load(x + (rows // repeat) * X + columns, mask=mask, other=0.0)
    if E > 0:
        more = inside & (columns >= X) & (columns < X + E)
        tile += tl.load(extra + rows * E + (columns - X), mask=more, other=0.0)
    return tile


@triton.jit
def _tanh(x):
    """Near 0, where the quotient has few correct digits, by its series; the error is below 2e-7 of the result."""
    square = x * x
    power = tl.exp(-2.0 * tl.abs(x))
    quotient = (1.0 - power) / (1.0 + power)
    series = x * (1.0 - square * (0.33333333 - square * (0.13333333 - square * (0.053968254 - square * 0.021869488))))
    return tl.where(square < 0.0625, series, tl.where(x < 0, -quotient, quotient))


@triton.jit
def _output_gradient(gradient, out, place, mask, TANH: tl.constexpr):
    """The gradient of a layer's sums from that of its outputs."""
    tile = tl.load(gradient + place, mask=mask, other=0.0)
    if TANH:
        value = tl.load(out + place, mask=mask, other=0.0)
        tile *= 1.0 - value * value
    return tile


@triton.jit
def _forward(
    x, extra, weight, bias, out, count, repeat, used, members, shared,
    X: tl.constexpr, E: tl.constexpr, OUT: tl.constexpr, RELU: tl.constexpr, TANH: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out [S, N, O] = inputs [., N, X + E] weight [R, M, X + E, O] + bias [R, M, O], without what is negative if RELU, or its
    tanh if TANH."""
    s = tl.program_id(0).to(tl.int64)
    source, network = s // shared, s // used * members + s % used
    rows, columns, k = (
        tl.program_id(1) * BM + tl.arange(0, BM),
        tl.program_id(2) * BN + tl.arange(0, BN),
        tl.arange(0, BK),
    )
    x += source * (count // repeat) * X
    extra += source * count * E
    weight += network * (X + E) * OUT
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, X + E, BK):
        inner = start + k
        a = _inputs(x, extra, rows[:, None], inner[None, :], count, repeat, X, E)
        mask = (inner < X + E)[:, None] & (columns < OUT)[None, :]
        b = tl.load(weight + inner[:, None] * OUT + columns[None, :], mask=mask, other=0.0)
        total = tl.dot(a, b, total, input_precision=PRECISION)
    total += tl.load(bias + network * OUT + columns, mask=columns < OUT, other=0.0)[None, :]
    if RELU:
        total = tl.where(total < 0, 0.0, total)  # NaN stays NaN
    if TANH:
        total = _tanh(total)
    mask = (rows < count)[:, None] & (columns < OUT)[None, :]
    tl.store(out + (s * count + rows)[:, None] * OUT + columns[None, :], total, mask=mask)


@triton.jit
def _input_gradient(
    pid, gradient, out, weight, hidden, into, count, used, members,
    SUMMED: tl.constexpr, IN: tl.constexpr, LOW: tl.constexpr, WIDTH: tl.constexpr, OUT: tl.constexpr, RELU: tl.constexpr,
    TANH: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """into [., N, WIDTH] = gradient [S, N, O] times the transposed weight, of inputs from LOW on, summed over SUMMED networks
    that share their inputs; 0 where `hidden`, the inputs, is 0, if RELU."""
    tiles_n: tl.constexpr = (WIDTH + BN - 1) // BN
    tiles_m = tl.cdiv(count, BM)
    group = (pid // (tiles_m * tiles_n)).to(tl.int64)
    rest = pid % (tiles_m * tiles_n)
    rows, columns, k = rest // tiles_n * BM + tl.arange(0, BM), rest % tiles_n * BN + tl.arange(0, BN), tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for member in range(SUMMED):
        s = group * SUMMED + member
        network = s // used * members + s % used
        for start in range(0, OUT, BK):
            inner = start + k
            mask = (rows < count)[:, None] & (inner < OUT)[None, :]
            a = _output_gradient(gradient, out, (s * count + rows)[:, None] * OUT + inner[None, :], mask, TANH)
            mask = (inner < OUT)[:, None] & (columns < WIDTH)[None, :]
            b = tl.load(weight + (network * IN + LOW + columns)[None, :] * OUT + inner[:, None], mask=mask, other=0.0)
            total = tl.dot(a, b, total, input_precision=PRECISION)
    mask = (rows < count)[:, None] & (columns < WIDTH)[None, :]
    place = (group * count + rows)[:, None] * WIDTH + columns[None, :]
    if RELU:
        total = tl.where(tl.load(hidden + place, mask=mask, other=0.0) <= 0, 0.0, total)
    tl.store(into + place, total, mask=mask)


@triton.jit
def _weight_gradient(
    pid, x, extra, gradient, out, weights, biases, count, repeat, shared, networks,
    PART: tl.constexpr, X: tl.constexpr, E: tl.constexpr, OUT: tl.constexpr, TANH: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Parts of the sums over rows: weights [P, S, X + E, O] and biases [P, S, O], each of PART rows."""
    tiles_m: tl.constexpr = (X + E + BM - 1) // BM
    tiles_n: tl.constexpr = (OUT + BN - 1) // BN
    place = (pid // (tiles_m * tiles_n)).to(tl.int64)  # part and network
    rest = pid % (tiles_m * tiles_n)
    part, s = place // networks, place % networks
    tile, k = rest // tiles_n, tl.arange(0, BK)
    columns, outputs = tile * BM + tl.arange(0, BM), rest % tiles_n * BN + tl.arange(0, BN)
    x += s // shared * (count // repeat) * X
    extra += s // shared * count * E
    total, bias = tl.zeros((BM, BN), tl.float32), tl.zeros((BN,), tl.float32)
    for start in range(0, PART, BK):
        rows = part * PART + start + k
        a = _inputs(x, extra, rows[None, :], columns[:, None], count, repeat, X, E)
        mask = (rows < count)[:, None] & (outputs < OUT)[None, :]
        b = _output_gradient(gradient, out, (s * count + rows)[:, None] * OUT + outputs[None, :], mask, TANH)
        total = tl.dot(a, b, total, input_precision=PRECISION)
        bias += tl.sum(b, 0)
    mask = (columns < X + E)[:, None] & (outputs < OUT)[None, :]
    tl.store(weights + (place * (X + E) + columns)[:, None] * OUT + outputs[None, :], total, mask=mask)
    if tile == 0:
        tl.store(biases + place * OUT + outputs, bias, mask=outputs < OUT)


@triton.jit
def _backward(
    x, extra, weight, gradient, out, into, weights, biases, count, repeat, used, members, shared, networks, first,
    SUMMED: tl.constexpr, PART: tl.constexpr, X: tl.constexpr, E: tl.constexpr, LOW: tl.constexpr, WIDTH: tl.constexpr,
    OUT: tl.constexpr, RELU: tl.constexpr, TANH: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr, WM: tl.constexpr, WN: tl.constexpr, WK: tl.constexpr,
):  # fmt: skip
    """The first programs compute the gradient of the inputs, the others that of the weights: they do not depend on each other."""
    pid = tl.program_id(0)
    if pid < first:
        _input_gradient(
            pid, gradient, out, weight, x, into, count, used, members, SUMMED, X + E, LOW, WIDTH, OUT, RELU, TANH, PRECISION,
            BM, BN, BK,
        )  # fmt: skip
    else:
        _weight_gradient(
            pid - first, x, extra, gradient, out, weights, biases, count, repeat, shared, networks, PART, X, E, OUT, TANH,
            PRECISION, WM, WN, WK,
        )  # fmt: skip


class Tiles(NamedTuple):
    """Sizes of what a program computes: a tile of m x n numbers, k terms at a time."""

    m: int
    n: int
    k: int


def _tiles(networks: int, m: int, n: int, k: int) -> Tiles:
    """Large tiles do less work for each product, small ones occupy more multiprocessors; the fastest of some on an H100."""
    large = m > 32 and networks * triton.cdiv(m, 64) * triton.cdiv(n, 32) >= _FULL
    most = Tiles(64, 64 if _precision() == "tf32" else 32, 32) if large else Tiles(16, 32, 64)
    return Tiles(most.m, *(min(limit, triton.next_power_of_2(max(x, 16))) for limit, x in ((most.n, n), (most.k, k))))


def _precision() -> str:
    """What `torch.set_float32_matmul_precision` asks for. Three products of TF32 numbers give one of float32, with smaller errors
    than multiplication and addition in float32 (1.4e-7 of the result's norm instead of 2.9e-7 for 256 terms)."""
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


class Shape(NamedTuple):
    """How many networks are evaluated, and on what."""

    runs: int  # R
    members: int  # M
    used: int  # m
    rows: int  # N
    repeat: int  # K


def shape_of(x: Tensor, extra: Tensor | None, members: int, used: int) -> Shape:
    """The shape for x [R, B, X] and extra [R, B, K, E] or None."""
    repeat = 1 if extra is None else extra.shape[2]
    return Shape(x.shape[0], members, used, x.shape[1] * repeat, repeat)


def forward(
    x: Tensor,
    extra: Tensor | None,
    weights: Sequence[Tensor],
    members: int,
    used: int,
    kept: list[Tensor],
    tanh: bool = False,
) -> Tensor:
    """The output [R, m, N, O] of perceptrons with `weights` [R, M, in, out] and [R, M, 1, out] of each layer in turn.

    x [R, B, X] and extra [R, B, K, E] or None (then N = B, else B * K) are shared by the members. The hidden layers' values
    [S, N, units] are appended to `kept`. With `tanh` the output is its tanh.
    """
    runs, _, _, rows, repeat = shape_of(x, extra, members, used)
    networks, layers = runs * used, len(weights) // 2
    h, more = x.contiguous(), x if extra is None else extra.contiguous()
    for layer in range(layers):
        weight, bias = weights[2 * layer], weights[2 * layer + 1]
        first, last, outputs = layer == 0, layer == layers - 1, weight.shape[-1]
        extras = extra.shape[-1] if extra is not None and first else 0
        out = torch.empty(networks, rows, outputs, device=x.device, dtype=x.dtype)
        tiles = _tiles(networks, rows, outputs, weight.shape[-2])
        grid = (networks, triton.cdiv(rows, tiles.m), triton.cdiv(outputs, tiles.n))
        _forward[grid](
            h, more, weight, bias, out, rows, repeat if first else 1, used, members, used if first else 1,
            X=weight.shape[-2] - extras, E=extras, OUT=outputs, RELU=not last, TANH=tanh and last, PRECISION=_precision(),
            BM=tiles.m, BN=tiles.n, BK=tiles.k, num_warps=2, num_stages=3,
        )  # fmt: skip
        h = out
        if not last:
            kept.append(h)
    return h.unflatten(0, (runs, used))


def backward(
    x: Tensor,
    extra: Tensor | None,
    weights: Sequence[Tensor],
    members: int,
    used: int,
    hidden: Sequence[Tensor],
    gradient: Tensor,
    into: Sequence[Tensor],
    needs: tuple[bool, bool],
    out: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """The backward pass of `forward`, from the output's `gradient` [R, m, N, O] and, of a tanh, the output itself.

    Writes the gradients of the weights to `into`, of their shapes, where all members are evaluated; where it is empty they get
    none. Returns those of x, [R, B, X], and extra, [R, B, K, E], summed over the members, as far as each `needs` one; x only if
    K is 1.
    """
    shape = shape_of(x, extra, members, used)
    g: Tensor | None = gradient.flatten(0, 1).contiguous()
    x, more = x.contiguous(), x if extra is None else extra.contiguous()
    layers, extras, width = len(weights) // 2, 0 if extra is None else extra.shape[-1], x.shape[-1]
    for layer in reversed(range(layers)):
        first = layer == 0
        inputs = x if first else hidden[layer - 1]
        # Of which inputs there is a gradient.
        columns = range(0 if needs[0] else width, width + extras if needs[1] else width)
        assert g is not None
        g = _layer_backward(
            shape, first, inputs, more, extras if first else 0, weights[2 * layer], g,
            out if layer == layers - 1 else None, into[2 * layer : 2 * layer + 2],
            columns if first else range(inputs.shape[-1]),
        )  # fmt: skip
    if g is None:
        return None, None
    of_extra = g[..., width if needs[0] else 0 :].view(extra.shape) if extra is not None and needs[1] else None
    return (g[..., :width] if needs[0] else None), of_extra


def _layer_backward(
    shape: Shape,
    first: bool,
    x: Tensor,
    extra: Tensor,
    extras: int,
    weight: Tensor,
    gradient: Tensor,
    out: Tensor | None,
    into: Sequence[Tensor],
    columns: range,
) -> Tensor | None:
    """One layer of `backward`; `out` of one with a tanh. Returns the gradient of its inputs' `columns`, if these are any."""
    runs, members, used, rows, repeat = shape
    networks, inputs, outputs = runs * used, *weight.shape[-2:]
    groups, widths = (runs if first else networks), len(columns)
    found = torch.empty(groups, rows, widths, device=x.device, dtype=x.dtype) if widths else None
    tiles = _tiles(groups, rows, max(widths, 1), outputs)
    programs = groups * triton.cdiv(rows, tiles.m) * triton.cdiv(widths, tiles.n)
    turned = _tiles(networks, inputs, outputs, rows)
    part, others, sums = rows, 0, tuple[Tensor, ...]()
    if into:
        area = networks * triton.cdiv(inputs, turned.m) * triton.cdiv(outputs, turned.n)
        parts = max(1, min(_FULL // area, rows // _SPLIT))
        part = triton.cdiv(triton.cdiv(rows, parts), turned.k) * turned.k
        parts = triton.cdiv(rows, part)
        others = area * parts
        # Partial sums are added in a second kernel: always in the same order, unlike atomic additions.
        sums = tuple(into) if parts == 1 else tuple(t.new_empty(parts, *t.shape) for t in into)
    weights, biases = sums or (weight, weight)
    if programs + others:
        _backward[(programs + others,)](
            x, extra, weight, gradient, gradient if out is None else out, weight if found is None else found, weights, biases,
            rows, repeat if first else 1, used, members, used if first else 1, networks, programs,
            SUMMED=used if first else 1, PART=part, X=inputs - extras, E=extras, LOW=columns.start, WIDTH=max(widths, 1),
            OUT=outputs, RELU=not first, TANH=out is not None, PRECISION=_precision(),
            BM=tiles.m, BN=tiles.n, BK=tiles.k, WM=turned.m, WN=turned.n, WK=turned.k, num_warps=2, num_stages=3,
        )  # fmt: skip
    if sums and sums[0] is not into[0]:
        for total, each in zip(into, sums, strict=True):
            torch.sum(each, 0, out=total)
    return found
