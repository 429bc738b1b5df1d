"""Gradients of networks with respect to their inputs, for losses on these gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def input_gradients(x: Tensor, weights: Sequence[Tensor], last: int) -> Tensor:
    """d f_i(x) / d x for M networks with one output each, over the last inputs: [R, M, B, last]; differentiable in the weights.

    A perceptron with ReLU units is linear around each input, so its gradient is a product of its matrices without the rows and
    columns of the units that are 0 there; which these are does not change with the weights, almost everywhere. On the CPU the
    runs are computed one after the other, so that a run is the same to the last bit in every run group.

    Args:
        x: [R, B, in]; gets no gradient.
        weights: [R, M, in, out] and [R, M, 1, out] of each layer in turn, without normalized layers; the last has one output.
        last: for how many of the inputs.
    """
    if x.device.type != "cpu":
        return _gradients(x.unsqueeze(1), weights, last)
    runs = zip(x.unbind(0), *(weight.unbind(0) for weight in weights), strict=True)
    return torch.stack([_gradients(one, own, last) for one, *own in runs])


def _gradients(x: Tensor, weights: Sequence[Tensor], last: int) -> Tensor:
    """The same for x [..., B, in] and weights [..., M, in, out], where `...` broadcasts."""
    matrices, biases = weights[::2], weights[1::2]
    active = []  # of each hidden layer, 1 where a unit is above 0
    with torch.no_grad():
        h = x
        for matrix, bias in zip(matrices[:-1], biases[:-1], strict=True):
            h = (h @ matrix + bias).relu_()
            active.append(h.sign())
    gradient = matrices[-1].mT
    for units, matrix in zip(reversed(active), reversed(matrices[1:-1]), strict=False):
        gradient = (gradient * units) @ matrix.mT
    return (gradient * active[0]) @ matrices[0][..., -last:, :].mT
