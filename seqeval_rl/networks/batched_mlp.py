"""Many small multilayer perceptrons evaluated together, as one autograd operation with a hand-written backward pass.

At these sizes torch's automatic differentiation, operation by operation, costs about as much as the matrix products
themselves. On the CPU the runs are computed one after the other, each with all its members: the numbers of a run stay in the
cache, and its result is the same to the last bit in every run group. On other devices all runs are computed at once, on CUDA
by the kernels of `triton_mlp`.

Axes: R runs, M members, B rows, K extra inputs of a row. A *piece* is what is computed at once: the M networks of one run, or
all R * M of a run group; S is their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqeval_rl.networks.triton_support import uses_triton

EPSILON = 1e-5
"""Added to the variance of a layer's units where they are normalized, as in `torch.nn.LayerNorm`."""

BLOCK = 1024
"""About as many rows of extra inputs are computed at a time on the CPU, so that they stay in the cache."""


class Layer(NamedTuple):
    """The weights of one layer of a piece; with `scale` and `shift` its units are normalized over the layer, after the ReLU."""

    weight: Tensor  # [S, in, out]
    bias: Tensor  # [S, 1, out]
    back: Tensor  # the transposed weight, [S, out, in]
    scale: Tensor | None = None  # [S, 1, out]
    shift: Tensor | None = None  # [S, 1, out]


class Hidden(NamedTuple):
    """A hidden layer's values in one block, [S, rows, units]; those after the first where they are normalized."""

    out: Tensor  # what the next layer gets
    # Before the normalization; mean and 1 / standard deviation of each row, [S, rows, 1].
    units: tuple[Tensor, ...] = ()


class Views(NamedTuple):
    """Views of the weights of all runs, prepared once."""

    # [R, M, in, out] and [R, M, 1, out] of each layer in turn, then scales and shifts in turn
    weights: tuple[Tensor, ...]
    pieces: list[list[Layer]]  # by piece and layer, without gradient
    members: int  # M
    together: bool  # one piece
    fused: bool  # computed by `triton_mlp`


def prepare(
    weights: Sequence[Tensor],
    together: bool | None = None,
    norms: Sequence[Tensor] = (),
    fused: bool | None = None,
) -> Views:
    """Views of the weights of all runs, valid until the weights move in memory.

    Args:
        weights: [R, M, in, out] and [R, M, 1, out] of each layer in turn.
        together: compute all runs at once; None: on every device but the CPU.
        norms: scale and shift [R, M, 1, out] of each hidden layer in turn; none: these are not normalized.
        fused: use the kernels of `triton_mlp`; None: for float32 on CUDA, where Triton is installed and no layer is normalized.
    """
    if fused is None:
        fused = not norms and weights[0].dtype == torch.float32 and uses_triton(weights[0].device)
    together = weights[0].device.type != "cpu" if together is None else together
    everything = (*weights, *norms)
    parts = [w.detach().flatten(0, 1) for w in everything] if together else None
    runs = [parts] if parts else [[w.detach()[r] for w in everything] for r in range(weights[0].shape[0])]
    pieces = []
    for piece in runs:
        absent = [None] * (2 if norms else len(weights))  # the last layer is not normalized
        matrices, scales = piece[: len(weights)], [*piece[len(weights) :], *absent]
        layers = zip(matrices[::2], matrices[1::2], scales[::2], scales[1::2], strict=True)
        pieces.append([Layer(w, b, w.mT, scale, shift) for w, b, scale, shift in layers])
    return Views(everything, pieces, weights[0].shape[1], together, fused)


def evaluate(
    x: Tensor,
    extra: Tensor | None,
    views: Views,
    frozen: bool = False,
    members: int | None = None,
    dropout: Sequence[Tensor] = (),
    tanh: bool = False,
) -> Tensor:
    """The networks' output, [R, M, B, out], or [R, M, B * K, out] with `extra`.

    Args:
        x: [R, B, in]; shared by the members.
        extra: [R, B, K, E] or None: the last E inputs, K of them for each row of `x`, which then holds the other inputs only.
            The first layer's product with `x` is computed once for all K. Neither gets a gradient then, unless K is 1 and the
            views are fused.
        views: the result of `prepare`.
        frozen: the weights get no gradient.
        members: evaluate only the first so many members, which must be frozen; None: all.
        dropout: of each hidden layer, what its units are multiplied by, [R, M, B, units], without gradient: 0, or 1 over the
            share of units that are kept. Not together with `extra`; none: no dropout.
        tanh: return tanh of the output.

    Raises:
        ValueError: `x` or `extra` requires a gradient that it does not get, or the weights do where `members` is given; or
            `dropout` with `extra`.
    """
    if tanh and not (views.fused and not dropout):
        return evaluate(x, extra, views, frozen, members, dropout).tanh()
    if dropout and extra is not None:
        raise ValueError("dropout with extra inputs: expected one of them")
    if torch.is_grad_enabled():
        weights = () if frozen or not views.weights[0].requires_grad else views.weights
        if weights or x.requires_grad or (extra is not None and extra.requires_grad):
            return _Perceptron.apply(x, extra, views, members, dropout, tanh, *weights)
    return forward(x, extra, views, members, dropout, tanh, None)


def _piece(views: Views, members: int | None, i: int) -> list[Layer]:
    layers = views.pieces[i]
    if members is None or members == views.members:
        return layers
    if views.together:
        return [
            _each(layer, lambda t: t.unflatten(0, (-1, views.members))[:, :members].flatten(0, 1)) for layer in layers
        ]
    return [_each(layer, lambda t: t[:members]) for layer in layers]


def _each(layer: Layer, change: Callable[[Tensor], Tensor]) -> Layer:
    return Layer(*(None if t is None else change(t) for t in layer))  # type: ignore[arg-type]


def _inputs(x: Tensor, extra: Tensor | None, count: int, together: bool) -> list[list[tuple[Tensor, Tensor | None]]]:
    """For each piece its blocks of rows (x, extra), [S, ...]; `x` and `extra` [R, ...] are shared by the `count` members."""
    if together:
        wide = [t if t is None or count == 1 else t.repeat_interleave(count, 0) for t in (x, extra)]
        return [[(wide[0], wide[1])]]  # type: ignore[list-item]
    runs = [one.expand(count, -1, -1) for one in x.unbind(0)]
    if extra is None:
        return [[(one, None)] for one in runs]
    rows = max(1, x.shape[1] // -(-x.shape[1] * extra.shape[2] // BLOCK))
    more = [one.expand(count, -1, -1, -1).split(rows, 1) for one in extra.unbind(0)]
    return [list(zip(one.split(rows, 1), other, strict=True)) for one, other in zip(runs, more, strict=True)]


def _of_piece(tensors: Sequence[Tensor], views: Views, i: int) -> list[Tensor]:
    """The part of tensors [R, M, ...] that belongs to piece `i`, [S, ...]."""
    return [t.flatten(0, 1) if views.together else t[i] for t in tensors]


def forward(
    x: Tensor,
    extra: Tensor | None,
    views: Views,
    members: int | None,
    dropout: Sequence[Tensor],
    tanh: bool,  # only where the views are fused
    kept: list[Hidden] | None,
) -> Tensor:
    """See `evaluate`; the hidden layers' values are appended to `kept`, in the order of computation."""
    count = members or views.members
    if views.fused and not dropout:
        from seqeval_rl.networks import triton_mlp  # Triton comes with torch for CUDA only

        hidden: list[Tensor] = []
        out = triton_mlp.forward(x, extra, views.weights, views.members, count, hidden, tanh)
        if kept is not None:
            kept += map(Hidden, hidden)
        return out
    outputs = []
    for i, blocks in enumerate(_inputs(x, extra, count, views.together)):
        layers, factors = _piece(views, members, i), _of_piece(dropout, views, i)
        parts = []
        for h, more in blocks:
            for n, (weight, bias, back, scale, shift) in enumerate(layers):
                if n == 0 and more is not None:
                    width = more.shape[-1]
                    shared = torch.baddbmm(bias, h, weight[:, :-width])
                    h = torch.bmm(more.flatten(1, 2), weight[:, -width:])
                    h.unflatten(1, more.shape[1:3]).add_(shared.unsqueeze(2))
                elif back.shape[1] == 1:  # a row times a matrix is several times faster than a matrix times a column
                    h = torch.baddbmm(bias, back, h.transpose(1, 2)).transpose(1, 2)  # ONNX has no `mT`
                else:
                    h = torch.baddbmm(bias, h, weight)
                if n < len(layers) - 1:
                    h.relu_()
                    if factors:
                        h.mul_(factors[n])
                    layer = Hidden(h)
                    if scale is not None and shift is not None:
                        normal, mean, slope = torch.native_layer_norm(h, h.shape[-1:], None, None, EPSILON)
                        layer = Hidden(torch.addcmul(shift, normal, scale, out=normal), (h, mean, slope))
                        h = layer.out
                    if kept is not None:
                        kept.append(layer)
            parts.append(h)
        outputs.append(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
    if len(outputs) == 1:
        return outputs[0].unflatten(0, (x.shape[0], count))
    return torch.stack(outputs)


class _Perceptron(torch.autograd.Function):
    """`evaluate` with gradients for `x` and for the weights; without weights, those are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        extra: Tensor | None,
        views: Views,
        members: int | None,
        dropout: Sequence[Tensor],
        tanh: bool,
        *weights: Tensor,
    ) -> Tensor:
        single = views.fused and extra is not None and extra.shape[2] == 1
        if extra is not None and not single and (x.requires_grad or extra.requires_grad):
            raise ValueError("x and extra together get no gradient: expected tensors that require none")
        if members is not None and weights:
            raise ValueError("the weights of some members alone get no gradient: expected frozen weights")
        kept: list[Hidden] = []
        out = forward(x, extra, views, members, dropout, tanh, kept)
        tensors = [tensor for layer in kept for tensor in (layer.out, *layer.units)] + [out] * tanh
        ctx.save_for_backward(x, extra, *views.weights, *tensors)  # with the weights, torch notices in-place changes
        ctx.views, ctx.members, ctx.dropout, ctx.tanh = views, members, dropout, tanh
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        views: Views = ctx.views
        x, extra, *saved = ctx.saved_tensors
        kept = iter(saved[len(views.weights) :])
        needs_x = ctx.needs_input_grad[0]
        count = ctx.members or views.members
        weight_gradients = [torch.empty_like(w) for w in views.weights] if len(ctx.needs_input_grad) > 6 else []
        if views.fused and not ctx.dropout:
            from seqeval_rl.networks import triton_mlp

            layers, needs = list(kept), (needs_x, ctx.needs_input_grad[1])
            out = layers.pop() if ctx.tanh else None
            of_inputs = triton_mlp.backward(
                x, extra, views.weights, views.members, count, layers, gradient, weight_gradients, needs, out
            )
            return *of_inputs, None, None, None, None, *weight_gradients
        x_gradients = []
        for i, blocks in enumerate(_inputs(x, extra, count, views.together)):
            layers = _piece(views, ctx.members, i)
            into, factors = _of_piece(weight_gradients, views, i), _of_piece(ctx.dropout, views, i)
            g = gradient.flatten(0, 1) if views.together else gradient[i]
            parts = g.split(g.shape[1] // x.shape[1] * blocks[0][0].shape[1], 1) if len(blocks) > 1 else [g]
            for part, (block, block_gradient) in enumerate(zip(blocks, parts, strict=True)):
                normalized = 3 if layers[0].scale is not None else 0
                hidden = [Hidden(next(kept), tuple(next(kept) for _ in range(normalized))) for _ in layers[1:]]
                x_gradients.append(_backward(layers, block, hidden, factors, block_gradient, into, part, needs_x))
        if not needs_x:
            return None, None, None, None, None, None, *weight_gradients
        one_piece = len(x_gradients) == 1
        by_member = x_gradients[0].unflatten(0, (-1, count)) if one_piece else torch.stack(x_gradients)
        of_x = by_member.squeeze(1) if count == 1 else by_member.sum(1)
        return of_x, None, None, None, None, None, *weight_gradients


def _backward(
    layers: list[Layer],  # of the piece
    block: tuple[Tensor, Tensor | None],  # the rows of `x` and of `extra`
    hidden: list[Hidden],
    factors: list[Tensor],  # what dropout multiplied them by; empty: none
    gradient: Tensor,  # of the output
    into: list[
        Tensor
    ],  # where the gradients of the weights go, in the order of `Views.weights`; empty: they are frozen
    part: int,  # number of the block; the gradients of blocks after the first are added
    needs_x: bool,  # whether `x` needs its gradient
) -> Tensor:
    """The backward pass of one block of rows of one piece; returns the gradient of `x`, if it needs one."""
    x, extra = block
    g = gradient
    for n in reversed(range(len(layers))):
        h = hidden[n - 1].out if n else x
        if into:
            weight, bias = into[2 * n], into[2 * n + 1]
            if n == 0 and extra is not None:
                width = extra.shape[-1]
                _accumulate(weight[:, -width:], extra.flatten(1, 2).mT, g, part)
                g = g.unflatten(1, extra.shape[1:3]).sum(2)  # over K
                weight = weight[:, :-width]
            if weight.shape[-1] == 1:
                # A view instead of weight.mT: oneDNN's kernels, which torch uses below the highest precision of matrix products,
                # write wrong numbers into the strides of weight.mT.
                _accumulate(weight.view(weight.shape[0], 1, -1), g.mT, h, part)
            else:
                _accumulate(weight, h.mT, g, part)
            _accumulate_sum(bias, g, part)
        if n or needs_x:
            back = layers[n].back
            g = g * back if back.shape[1] == 1 else torch.bmm(g, back)
        if n:
            if hidden[n - 1].units:
                place = 2 * len(layers) + 2 * (n - 1)
                g = _through_norm(layers[n - 1], hidden[n - 1], g, into[place : place + 2], part)
                h = hidden[n - 1].units[0]
            if factors:
                g.mul_(factors[n - 1])
            torch.ops.aten.threshold_backward.grad_input(g, h, 0, grad_input=g)
    return g


def _through_norm(layer: Layer, hidden: Hidden, gradient: Tensor, into: list[Tensor], part: int) -> Tensor:
    """The gradient of a hidden layer's units from that of what they are normalized to, which is overwritten; `into` as of
    `_backward`."""
    assert layer.scale is not None
    units, mean, slope = hidden.units
    if into:
        _accumulate_sum(into[0], (units - mean).mul_(slope).mul_(gradient), part)
        _accumulate_sum(into[1], gradient, part)
    wanted, width = [True, False, False], units.shape[-1:]
    through: Tensor = torch.ops.aten.native_layer_norm_backward(
        gradient.mul_(layer.scale), units, width, mean, slope, None, None, wanted
    )[0]
    return through


def _accumulate_sum(into: Tensor, terms: Tensor, part: int) -> None:
    """Writes the sum of `terms` over rows to `into`; for parts after the first, adds it."""
    if part:
        into += terms.sum(1, keepdim=True)
    else:
        torch.sum(terms, 1, keepdim=True, out=into)


def _accumulate(into: Tensor, a: Tensor, b: Tensor, part: int) -> None:
    """Writes the product a b to `into`; for parts after the first, adds it."""
    if part:
        into.baddbmm_(a, b)
    else:
        torch.bmm(a, b, out=into)
