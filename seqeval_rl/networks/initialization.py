"""Initial weights of a perceptron: torch's, and those of the libraries that published runs were made with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

Initialization = Literal["torch", "orthogonal", "drqv2", "haiku", "jaxcql", "edac"]
"""How initial weights are drawn, n the number of a layer's inputs; biases are 0 except for torch and edac.

- `torch`: weights and biases uniform within 1/sqrt(n), as in `torch.nn.Linear`.
- `orthogonal`: sqrt(2) times an orthogonal matrix, in the last layer too, as in jaxrl and the authors' IQL.
- `drqv2`: an orthogonal matrix, as in the authors' DrQ-v2.
- `haiku`: a normal of standard deviation 1/sqrt(n) without what lies beyond two of these, as in `haiku.Linear`.
- `jaxcql`: hidden layers as flax's `Dense`, which is as haiku, scaled up to the variance 1/n; the last layer uniform with
  variance 0.01/n, as in young-geng's JaxCQL.
- `edac`: hidden layers uniform within 1/sqrt(n), with biases of 0.1; weights and biases of the last layer uniform within 0.003,
  as in the authors' EDAC, which has 0.001 for policies.
"""

_TRUNCATED_STD = 0.87962566103423978  # standard deviation of a standard normal without what lies beyond 2


@torch.no_grad()
def draw_weights(layers: Sequence[Tensor], initialization: Initialization, generator: Generator) -> None:
    """Fills the weights of one perceptron, in place.

    Args:
        layers: [in, out] and [1, out] of each layer in turn.
        initialization: one of the above.
        generator: of the draws.
    """
    last = len(layers) - 2
    for n in range(0, len(layers), 2):
        weight, bias = layers[n], layers[n + 1]
        bound = 1 / math.sqrt(len(weight))
        if initialization == "edac" and n < last:
            weight.uniform_(-bound, bound, generator=generator)
            bias.fill_(0.1)
            continue
        if initialization in ("torch", "edac"):
            bound = bound if initialization == "torch" else 3e-3
            for each in (weight, bias):
                each.uniform_(-bound, bound, generator=generator)
            continue
        bias.zero_()
        if initialization in ("orthogonal", "drqv2"):
            _draw_orthogonal(weight, math.sqrt(2) if initialization == "orthogonal" else 1.0, generator)
        elif initialization == "jaxcql" and n == last:
            bound *= math.sqrt(3 * 0.01)
            weight.uniform_(-bound, bound, generator=generator)
        else:
            std = bound if initialization == "haiku" else bound / _TRUNCATED_STD
            nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator)


@torch.no_grad()
def draw_kernel(kernel: Tensor, generator: Generator) -> None:
    """Fills the kernel [out, in, height, width] of a convolution with sqrt(2) times an orthogonal matrix [out, the rest], as in
    the authors' DrQ-v2; in place."""
    _draw_orthogonal(kernel, math.sqrt(2), generator)


def _draw_orthogonal(weight: Tensor, gain: float, generator: Generator) -> None:
    # In float64, so that float32 weights do not depend on the order in which threads sum.
    weight.copy_(nn.init.orthogonal_(weight.double(), gain, generator))
