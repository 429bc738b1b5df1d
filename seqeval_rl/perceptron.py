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


def _inputs(x: Tensor, count: int, together: bool) -> list[Tensor]:
    """The input of each piece, [S, ...], from what the `count` members of a run share, [R, ...]."""
    if together:
        return [x if count == 1 else x.repeat_interleave(count, 0)]
    return [one.expand(count, *one.shape) for one in x.unbind(0)]


def _forward(x: Tensor, extra: Tensor | None, views: Views, members: int | None, kept: list[Tensor] | None) -> Tensor:
    """See `evaluate`; to `kept` go the hidden layers' values, piece after piece."""
    count = members or views.members
    inputs = _inputs(x, count, views.together)
    extras = [None] * len(inputs) if extra is None else _inputs(extra, count, views.together)
    outputs = []
    for i, (h, more) in enumerate(zip(inputs, extras, strict=True)):
        layers = _piece(views, members, i)
        for n, (weight, bias, back) in enumerate(layers):
            if n == 0 and more is not None:
                width = more.shape[-1]
                own = torch.baddbmm(bias, h, weight[:, :-width])
                h = torch.bmm(more.flatten(1, 2), weight[:, -width:])
                h.unflatten(1, more.shape[1:3]).add_(own.unsqueeze(2))
            elif back.shape[1] == 1:  # a row times a matrix is several times faster than a matrix times a column
                h = torch.baddbmm(bias, back, h.mT).mT
            else:
                h = torch.baddbmm(bias, h, weight)
            if n < len(layers) - 1:
                h.relu_()
                if kept is not None:
                    kept.append(h)
        outputs.append(h)
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
        ctx.save_for_backward(x, extra, views.weights[0], *kept)  # the weight so that torch notices if it was changed
        ctx.views, ctx.members = views, members
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, extra, _, *kept = ctx.saved_tensors
        needs_x = ctx.needs_input_grad[0]
        views: Views = ctx.views
        count = ctx.members or views.members
        into = [torch.empty_like(w) for w in views.weights] if len(ctx.needs_input_grad) > 4 else []
        inputs = _inputs(x, count, views.together)
        extras = [None] * len(inputs) if extra is None else _inputs(extra, count, views.together)
        by_x = []
        for i, (own, more) in enumerate(zip(inputs, extras, strict=True)):
            layers = _piece(views, ctx.members, i)
            hidden = kept[i * (len(layers) - 1) : (i + 1) * (len(layers) - 1)]
            g = gradient.flatten(0, 1) if views.together else gradient[i]
            to = [w.flatten(0, 1) if views.together else w[i] for w in into]
            for n in reversed(range(len(layers))):
                h = hidden[n - 1] if n else own
                if to:
                    weight = to[2 * n]
                    if n == 0 and more is not None:
                        width = more.shape[-1]
                        torch.bmm(more.flatten(1, 2).mT, g, out=weight[:, -width:])
                        g = g.unflatten(1, more.shape[1:3]).sum(2)  # over K
                        weight = weight[:, :-width]
                    if weight.shape[-1] == 1:
                        torch.bmm(g.mT, h, out=weight.mT)
                    else:
                        torch.bmm(h.mT, g, out=weight)
                    torch.sum(g, 1, keepdim=True, out=to[2 * n + 1])
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
