"""EDAC (An, Moon, Kim and Song, "Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble", NeurIPS 2021,
arXiv 2110.01548): SAC-N whose critics are kept from agreeing on how Q changes with the action.

    y, L(pi), L(alpha)                                                 as in SAC-N                                (1)
    g_i(s, a) = d Q_i(s, a) / d a  /  | d Q_i(s, a) / d a |                                                       (2)
    D = E [ 1/(N-1) sum_(i != j) g_i(s, a) . g_j(s, a) ]               over ordered pairs                         (3)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ] + eta D                                                                  (4)

Where all critics rise in one direction from an action of the dataset, their minimum rises too, and many critics are needed
until one of them does not. With (4) fewer are: the paper has 10 to 50 where SAC-N has 10 to 500. The sum in (3) is computed as
|sum_i g_i|^2 - sum_i |g_i|^2.

As in the authors' code (snu-mllab/EDAC): 1e-10 is added to the length in (2). Different from it: (3) is over all critics, as
in the paper, while the code draws as many of them as there are action dimensions, at most, for each batch, and divides by one
less than that number. Its D of k critics is about k / N of ours. For the rest see `sac_n`.

`critics` and `diversity` are to be chosen for each task; in the paper N is 10 in HalfCheetah and Walker2d, 50 in Hopper, and
eta 1 or 5, on random data also 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from seqeval_rl.algorithms.sac_n import SACN, SACNConfig
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import NonNegative
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.modules import setting

SHORTEST = 1e-10
"""Added to the length of a gradient, so that it may be 0."""

MoreThanOne = Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class EDACConfig(SACNConfig):
    """Settings of EDAC; defaults of the paper on HalfCheetah's medium data."""

    diversity: NonNegative = 1.0  # eta, weight of the diversity term
    critics: MoreThanOne = 10  # N


@fused
def diverse_loss(td_loss: Tensor, slopes: Tensor, diversity: float | Tensor) -> tuple[Tensor, Tensor]:
    """Equation (4) for its first term, [R], and d Q_i(s, a) / d a, [R, N, B, A]: the loss and (3), each [R]."""
    # g_i = d Q_i / d a / |d Q_i / d a|
    directions = slopes / (slopes.norm(dim=-1, keepdim=True) + SHORTEST)
    # D = mean (|sum_i g_i|^2 - sum_i |g_i|^2) / (N - 1)
    pairs = directions.sum(1).square().sum(-1) - directions.square().sum((1, -1))
    similarity = pairs.mean(1) / (slopes.shape[1] - 1)
    return td_loss + diversity * similarity, similarity.detach()


class EDAC(SACN):
    """EDAC for R runs at once."""

    Config = EDACConfig
    name = "EDAC"

    def __init__(self, config: EDACConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.diversity = setting(config.diversity, spec)

    def critic_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation (4), [R], and metrics, each [R]."""
        q, slopes = self.critic.with_slopes(batch.observations, batch.actions)
        td_loss, metrics = self.td_loss(q, batch, noise)
        loss, similarity = diverse_loss(td_loss, slopes, self.diversity)
        return loss, {**metrics, "critic/similarity": similarity}
