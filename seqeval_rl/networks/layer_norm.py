"""Layer normalization (Ba, Kiros and Hinton 2016) with a run axis."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqeval_rl.interface.algorithm import Spec


class LayerNorm(nn.Module):
    """Normalizes the last axis; each of R runs has a scale and a shift of its own, which begin at 1 and 0."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(spec.runs, 1, width, device=spec.device))
        self.shift = nn.Parameter(torch.zeros(spec.runs, 1, width, device=spec.device))

    def forward(self, x: Tensor) -> Tensor:
        """[R, N, width] -> the same."""
        return functional.layer_norm(x, x.shape[-1:]) * self.scale + self.shift
