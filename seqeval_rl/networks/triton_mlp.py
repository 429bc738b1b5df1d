"""The layers of many perceptrons as Triton kernels: on CUDA one kernel for each layer and direction.

torch takes three kernels for a layer (the bias is copied, the product is added, negative numbers become 0) and four for its
derivative. At these sizes a kernel takes a few microseconds whatever it does, so their number decides. `batched_mlp` holds the
same in operations of torch, which is what the tests compare with.

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
def _forward(
    x, extra, weight, bias, out, count, repeat, used, members, shared,
    X: tl.constexpr, E: tl.constexpr, OUT: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out [S, N, O] = inputs [., N, X + E] weight [R, M, X + E, O] + bias [R, M, O], without what is negative if RELU."""
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
    mask = (rows < count)[:, None] & (columns < OUT)[None, :]
    tl.store(out + (s * count + rows)[:, None] * OUT + columns[None, :], total, mask=mask)


@triton.jit
def _input_gradient(
    pid, gradient, weight, hidden, into, count, used, members,
    SUMMED: tl.constexpr, X: tl.constexpr, E: tl.constexpr, OUT: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """into [., N, X] = gradient [S, N, O] times the transposed weight, summed over SUMMED networks that share their inputs;
    0 where `hidden`, the inputs, is 0, if RELU."""
    tiles_n: tl.constexpr = (X + BN - 1) // BN
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
            a = tl.load(gradient + (s * count + rows)[:, None] * OUT + inner[None, :], mask=mask, other=0.0)
            mask = (inner < OUT)[:, None] & (columns < X)[None, :]
            b = tl.load(weight + (network * (X + E) + columns)[None, :] * OUT + inner[:, None], mask=mask, other=0.0)
            total = tl.dot(a, b, total, input_precision=PRECISION)
    mask = (rows < count)[:, None] & (columns < X)[None, :]
    place = (group * count + rows)[:, None] * X + columns[None, :]
    if RELU:
        total = tl.where(tl.load(hidden + place, mask=mask, other=0.0) <= 0, 0.0, total)
    tl.store(into + place, total, mask=mask)


@triton.jit
def _weight_gradient(
    pid, x, extra, gradient, weights, biases, count, repeat, shared, networks,
    PART: tl.constexpr, X: tl.constexpr, E: tl.constexpr, OUT: tl.constexpr, PRECISION: tl.constexpr,
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
        b = tl.load(gradient + (s * count + rows)[:, None] * OUT + outputs[None, :], mask=mask, other=0.0)
        total = tl.dot(a, b, total, input_precision=PRECISION)
        bias += tl.sum(b, 0)
    mask = (columns < X + E)[:, None] & (outputs < OUT)[None, :]
    tl.store(weights + (place * (X + E) + columns)[:, None] * OUT + outputs[None, :], total, mask=mask)
    if tile == 0:
        tl.store(biases + place * OUT + outputs, bias, mask=outputs < OUT)


@triton.jit
def _backward(
    x, extra, weight, gradient, into, weights, biases, count, repeat, used, members, shared, networks, first,
    SUMMED: tl.constexpr, PART: tl.constexpr, X: tl.constexpr, E: tl.constexpr, OUT: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, WM: tl.constexpr, WN: tl.constexpr,
    WK: tl.constexpr,
):  # fmt: skip
    """The first programs compute the gradient of the inputs, the others that of the weights: they do not depend on each other."""
    pid = tl.program_id(0)
    if pid < first:
        _input_gradient(
            pid, gradient, weight, x, into, count, used, members, SUMMED, X, E, OUT, RELU, PRECISION, BM, BN, BK
        )
    else:
        _weight_gradient(
            pid - first, x, extra, gradient, weights, biases, count, repeat, shared, networks, PART, X, E, OUT, PRECISION,
            WM, WN, WK,
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
    x: Tensor, extra: Tensor | None, weights: Sequence[Tensor], members: int, used: int, kept: list[Tensor]
) -> Tensor:
    """The output [R, m, N, O] of perceptrons with `weights` [R, M, in, out] and [R, M, 1, out] of each layer in turn.

    x [R, B, X] and extra [R, B, K, E] or None (then N = B, else B * K) are shared by the members. The hidden layers' values
    [S, N, units] are appended to `kept`.
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
            X=weight.shape[-2] - extras, E=extras, OUT=outputs, RELU=not last, PRECISION=_precision(),
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
    needs_x: bool,
) -> Tensor | None:
    """The backward pass of `forward`, from the output's `gradient` [R, m, N, O].

    Writes the gradients of the weights to `into`, of their shapes, where all members are evaluated; where it is empty they get
    none. Returns the gradient of x, [R, B, X], summed over the members, where `needs_x`.
    """
    shape = shape_of(x, extra, members, used)
    g: Tensor | None = gradient.flatten(0, 1).contiguous()
    x, more = x.contiguous(), x if extra is None else extra.contiguous()
    for layer in reversed(range(len(weights) // 2)):
        extras = extra.shape[-1] if extra is not None and layer == 0 else 0
        inputs, needed = (hidden[layer - 1], True) if layer else (x, needs_x)
        assert g is not None
        g = _layer_backward(
            shape, layer == 0, inputs, more, extras, weights[2 * layer], g, into[2 * layer : 2 * layer + 2], needed
        )
    return g


def _layer_backward(
    shape: Shape,
    first: bool,
    x: Tensor,
    extra: Tensor,
    extras: int,
    weight: Tensor,
    gradient: Tensor,
    into: Sequence[Tensor],
    needs_x: bool,
) -> Tensor | None:
    """One layer of `backward`; returns the gradient of its inputs where it is needed."""
    runs, members, used, rows, repeat = shape
    networks, inputs, outputs = runs * used, *weight.shape[-2:]
    groups, widths = (runs if first else networks), inputs - extras
    found = torch.empty(groups, rows, widths, device=x.device, dtype=x.dtype) if needs_x else None
    tiles = _tiles(groups, rows, widths, outputs)
    programs = groups * triton.cdiv(rows, tiles.m) * triton.cdiv(widths, tiles.n) if needs_x else 0
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
            x, extra, weight, gradient, weight if found is None else found, weights, biases, rows, repeat if first else 1,
            used, members, used if first else 1, networks, programs,
            SUMMED=used if first else 1, PART=part, X=widths, E=extras, OUT=outputs, RELU=not first, PRECISION=_precision(),
            BM=tiles.m, BN=tiles.n, BK=tiles.k, WM=turned.m, WN=turned.n, WK=turned.k, num_warps=2, num_stages=3,
        )  # fmt: skip
    if sums and sums[0] is not into[0]:
        for total, each in zip(into, sums, strict=True):
            torch.sum(each, 0, out=total)
    return found
