"""Many small perceptrons at once, with their derivative written out.

Automatic differentiation of one operation after the other costs, at these sizes, about as much as the matrix products
themselves; here the whole perceptron is one operation. On the CPU one run is worked out after the other, each with all its
members: its numbers stay in the cache, and its result is the same to the last bit in every stack. On other devices
all runs are worked out at once.

Axes: R runs, M members, B rows, K extra inputs of a row. A *piece* is what is worked out at once: the M perceptrons of one
run, or all R * M of a stack; S is their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 1024
"""About as many rows of extra inputs are worked out at a time on the CPU, so that they stay in the cache."""


class Layer(NamedTuple):
    """The weights of one layer of a piece."""

    weight: Tensor  # [S, in, out]
    bias: Tensor  # [S, 1, out]
    back: Tensor  # the transposed weight, [S, out, in]


class Views(NamedTuple):
    """The weights of a stack as they are worked with, prepared once."""

    weights: tuple[Tensor, ...]  # [R, M, in, out] and [R, M, 1, out] of each layer in turn
    pieces: list[list[Layer]]  # by piece and layer, without gradient
    members: int  # M
    together: bool  # one piece


def prepare(weights: Sequence[Tensor], together: bool | None = None) -> Views:
    """The views of a stack's weights, valid as long as the weights stay where they are in memory.

    Args:
        weights: [R, M, in, out] and [R, M, 1, out] of each layer in turn.
        together: work out all runs at once; none: as suits the device.
    """
    together = weights[0].device.type != "cpu" if together is None else together
    parts = [w.detach().flatten(0, 1) for w in weights] if together else None
    runs = [parts] if parts else [[w.detach()[r] for w in weights] for r in range(weights[0].shape[0])]
    pieces = [[Layer(w, b, w.mT) for w, b in zip(piece[::2], piece[1::2], strict=True)] for piece in runs]
    return Views(tuple(weights), pieces, weights[0].shape[1], together)


def evaluate(x: Tensor, extra: Tensor | None, views: Views, frozen: bool = False, members: int | None = None) -> Tensor:
    """The perceptrons' output, [R, M, B, out], or [R, M, B * K, out] with `extra`.

    Args:
        x: [R, B, in]; shared by the members.
        extra: [R, B, K, E] or none: the last E inputs, K times for each row of `x`, which then has only the others. The
            share of `x` in the first layer is worked out once for all K. Neither gets a gradient then.
        views: what `prepare` made of the weights.
        frozen: no gradient reaches the weights.
        members: work out only so many first members, which must be frozen; none: all.
    """
    if torch.is_grad_enabled():
        weights = () if frozen or not views.weights[0].requires_grad else views.weights
        if weights or x.requires_grad:
            out: Tensor = _Perceptron.apply(x, extra, views, members, *weights)
            return out
    return _forward(x, extra, views, members, None)


def _piece(views: Views, members: int | None, i: int) -> list[Layer]:
    """The layers of a piece, of its first members only where `members` says so."""
    layers = views.pieces[i]
    if members is None or members == views.members:
        return layers
    if views.together:
        return [Layer(*(t.unflatten(0, (-1, views.members))[:, :members].flatten(0, 1) for t in la)) for la in layers]
    return [Layer(*(t[:members] for t in layer)) for layer in layers]


def _inputs(x: Tensor, extra: Tensor | None, count: int, together: bool) -> list[list[tuple[Tensor, Tensor | None]]]:
    """The input of each piece, [S, ...], block of rows by block, from what the `count` members of a run share, [R, ...]."""
    if together:
        wide = [t if t is None or count == 1 else t.repeat_interleave(count, 0) for t in (x, extra)]
        return [[(wide[0], wide[1])]]  # type: ignore[list-item]
    runs = [one.expand(count, *one.shape) for one in x.unbind(0)]
    if extra is None:
        return [[(one, None)] for one in runs]
    rows = max(1, x.shape[1] // -(-x.shape[1] * extra.shape[2] // BLOCK))
    more = [one.expand(count, *one.shape).split(rows, 1) for one in extra.unbind(0)]
    return [list(zip(one.split(rows, 1), other, strict=True)) for one, other in zip(runs, more, strict=True)]


def _forward(x: Tensor, extra: Tensor | None, views: Views, members: int | None, kept: list[Tensor] | None) -> Tensor:
    """See `evaluate`; to `kept` go the hidden layers' values, in the order in which they are worked out."""
    count = members or views.members
    outputs = []
    for i, blocks in enumerate(_inputs(x, extra, count, views.together)):
        layers = _piece(views, members, i)
        parts = []
        for own, more in blocks:
            h = own
            for n, (weight, bias, back) in enumerate(layers):
                if n == 0 and more is not None:
                    width = more.shape[-1]
                    shared = torch.baddbmm(bias, h, weight[:, :-width])
                    h = torch.bmm(more.flatten(1, 2), weight[:, -width:])
                    h.unflatten(1, more.shape[1:3]).add_(shared.unsqueeze(2))
                elif back.shape[1] == 1:  # a row times a matrix is several times faster than a matrix times a column
                    h = torch.baddbmm(bias, back, h.mT).mT
                else:
                    h = torch.baddbmm(bias, h, weight)
                if n < len(layers) - 1:
                    h.relu_()
                    if kept is not None:
                        kept.append(h)
            parts.append(h)
        outputs.append(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
    if len(outputs) == 1:
        return outputs[0].unflatten(0, (x.shape[0], count))
    return torch.stack(outputs)


class _Perceptron(torch.autograd.Function):
    """`evaluate` with its derivative by x and by the weights; no weights: those are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, extra: Tensor | None, views: Views, members: int | None, *weights: Tensor
    ) -> Tensor:
        if extra is not None and (x.requires_grad or extra.requires_grad):
            raise ValueError("inputs beside extra ones get no gradient: expected tensors that require none")
        if members is not None and weights:
            raise ValueError("the weights of some members alone get no gradient: expected frozen ones")
        kept: list[Tensor] = []
        out = _forward(x, extra, views, members, kept)
        ctx.save_for_backward(x, extra, *views.weights, *kept)  # the weights so that torch notices if they were changed
        ctx.views, ctx.members = views, members
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        views: Views = ctx.views
        x, extra, *saved = ctx.saved_tensors
        kept = iter(saved[len(views.weights) :])
        needs_x = ctx.needs_input_grad[0]
        count = ctx.members or views.members
        into = [torch.empty_like(w) for w in views.weights] if len(ctx.needs_input_grad) > 4 else []
        by_x = []
        for i, blocks in enumerate(_inputs(x, extra, count, views.together)):
            layers = _piece(views, ctx.members, i)
            to = [w.flatten(0, 1) if views.together else w[i] for w in into]
            whole = gradient.flatten(0, 1) if views.together else gradient[i]
            parts = whole.split(whole.shape[1] // x.shape[1] * blocks[0][0].shape[1], 1) if len(blocks) > 1 else [whole]
            for part, ((own, more), block_gradient) in enumerate(zip(blocks, parts, strict=True)):
                hidden = [next(kept) for _ in layers[1:]]
                g = block_gradient
                for n in reversed(range(len(layers))):
                    h = hidden[n - 1] if n else own
                    if to:
                        weight, bias = to[2 * n], to[2 * n + 1]
                        if n == 0 and more is not None:
                            width = more.shape[-1]
                            _accumulate(weight[:, -width:], more.flatten(1, 2).mT, g, part)
                            g = g.unflatten(1, more.shape[1:3]).sum(2)  # over K
                            weight = weight[:, :-width]
                        if weight.shape[-1] == 1:
                            # A view, not weight.mT: into its strides oneDNN's kernels, which torch takes at lower precision
                            # than the highest, write wrong numbers.
                            _accumulate(weight.view(weight.shape[0], 1, -1), g.mT, h, part)
                        else:
                            _accumulate(weight, h.mT, g, part)
                        if part:
                            bias += g.sum(1, keepdim=True)
                        else:
                            torch.sum(g, 1, keepdim=True, out=bias)
                    if n or needs_x:
                        back = layers[n].back
                        g = g * back if back.shape[1] == 1 else torch.bmm(g, back)
                    if n:
                        torch.ops.aten.threshold_backward.grad_input(g, h, 0, grad_input=g)
            by_x.append(g)
        if not needs_x:
            return None, None, None, None, *into
        grad_x = by_x[0].unflatten(0, (-1, count)) if len(by_x) == 1 else torch.stack(by_x)
        return (grad_x.squeeze(1) if count == 1 else grad_x.sum(1)), None, None, None, *into


def _accumulate(into: Tensor, a: Tensor, b: Tensor, part: int) -> None:
    """Writes a product to `into`, or adds it where this is not the first part."""
    if part:
        into.baddbmm_(a, b)
    else:
        torch.bmm(a, b, out=into)
