"""Values of networks together with their gradients with respect to the inputs, for losses on both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqeval_rl.networks.batched_mlp import Hidden, Layer, Views, forward


def value_and_slopes(x: Tensor, views: Views, last: int) -> tuple[Tensor, Tensor]:
    """f_i(x), [R, M, B], and d f_i(x) / d x over the last inputs, [R, M, B, last], for M networks with one output each.

    Both are differentiable in the weights. A perceptron with ReLU units is linear around each input, so d f / d x is a product
    of its matrices without the rows and columns of the units that are 0 there; which these are does not change with the
    weights, almost everywhere. With the slopes d f / d z of a layer's sums z at hand, the derivative of any loss by the layer's
    matrix is one product. On the CPU the runs are computed one after the other, so that a run is the same to the last bit in
    every run group.

    Args:
        x: [R, B, in]; gets no gradient.
        views: of the weights, see `batched_mlp.prepare`; without normalized layers.
        last: for how many of the inputs.

    Raises:
        ValueError: the layers are normalized.
    """
    if views.pieces[0][0].scale is not None:
        raise ValueError("slopes of normalized layers: expected networks without layer_norm")
    value, slopes = _ValueAndSlopes.apply(x, views, last, *views.weights)
    return value.squeeze(-1), slopes.unflatten(0, (-1, views.members))


class _ValueAndSlopes(torch.autograd.Function):
    """Values [R, M, B, 1] and slopes [R * M, B, last]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, views: Views, last: int, *weights: Tensor) -> tuple[Tensor, Tensor]:
        kept: list[Hidden] = []
        value = forward(x, None, views, None, (), False, kept)
        hidden = [layer.out for layer in kept]
        depth = len(views.pieces[0]) - 1  # hidden layers
        by_inputs, slopes = [], list[Tensor]()
        for i, layers in enumerate(views.pieces):
            by_input, own = _slopes(layers, hidden[i * depth : (i + 1) * depth], last)
            by_inputs.append(by_input)
            slopes += own
        ctx.save_for_backward(x, *weights, *hidden, *slopes)  # with the weights, torch notices in-place changes
        ctx.views = views
        return value, by_inputs[0] if len(by_inputs) == 1 else torch.cat(by_inputs)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, of_value: Tensor, of_slopes: Tensor) -> tuple[Tensor | None, ...]:
        views: Views = ctx.views
        x, *saved = ctx.saved_tensors
        first, middle = len(views.weights), (len(views.weights) + len(saved)) // 2
        weights, hidden, slopes = saved[:first], saved[first:middle], saved[middle:]
        gradients = [torch.empty_like(weight) for weight in weights]
        into, of_value = [gradient.flatten(0, 1) for gradient in gradients], of_value.flatten(0, 1)
        count, depth = len(of_value) // len(views.pieces), len(views.pieces[0]) - 1
        for i, layers in enumerate(views.pieces):
            rows = x.repeat_interleave(views.members, 0) if views.together else x[i].expand(count, -1, -1)
            part, own = slice(i * count, (i + 1) * count), slice(i * depth, (i + 1) * depth)
            inputs, targets = [rows, *hidden[own]], [each[part] for each in into]
            _backward(layers, inputs, slopes[own], of_value[part], of_slopes[part], targets)
        return None, None, None, *gradients


def _slopes(layers: list[Layer], hidden: list[Tensor], last: int) -> tuple[Tensor, list[Tensor]]:
    """Of one piece with S networks, d f / d x over the last inputs, [S, B, last], and d f / d z of each hidden layer's sums z,
    [S, B, out]; `hidden` are the values of these layers."""
    by_hidden, slopes = layers[-1].back, list[Tensor]()
    for n in reversed(range(len(hidden))):
        slopes.insert(0, _where_positive(by_hidden.expand_as(hidden[n]), hidden[n]))
        by_hidden = torch.bmm(slopes[0], layers[n].back if n else layers[n].back[..., -last:])
    return by_hidden, slopes


def _backward(
    layers: list[Layer],
    hidden: list[Tensor],  # the inputs h of all layers, [S, B, in]
    slopes: list[Tensor],
    of_value: Tensor,  # [S, B, 1]
    of_slopes: Tensor,  # [S, B, last]
    into: Sequence[Tensor],  # where the gradients of the weights go
) -> None:
    """With z = h W + b, u = d f / d z and e = d f / d h = u W^T, the loss changes with W by (f' h + e')^T u and with b by the sum
    of f' u over rows, where f' and e' are its derivatives by f and by e."""
    row = of_value.mT.contiguous()  # f', [S, 1, B]
    by_hidden = nn.functional.pad(of_slopes, (hidden[0].shape[-1] - of_slopes.shape[-1], 0))  # e', [S, B, in]
    for n, layer in enumerate(layers[:-1]):
        factor = torch.addcmul(by_hidden, hidden[n], of_value)
        torch.bmm(factor.mT, slopes[n], out=into[2 * n])
        torch.bmm(row, slopes[n], out=into[2 * n + 1])
        by_hidden = _where_positive(torch.bmm(by_hidden, layer.weight), hidden[n + 1])
    # Of the last layer u is 1.
    torch.add(torch.bmm(row, hidden[-1]).mT, by_hidden.sum(1).unsqueeze(-1), out=into[-2])
    torch.sum(of_value, 1, keepdim=True, out=into[-1])


def _where_positive(values: Tensor, units: Tensor) -> Tensor:
    """`values` where the `units` are above 0, else 0."""
    return torch.ops.aten.threshold_backward(values, units, 0)
