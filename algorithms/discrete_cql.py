"""Discrete CQL (Kumar, Zhou, Tucker and Levine, "Conservative Q-Learning for Offline Reinforcement Learning", NeurIPS 2020, arXiv
2006.04779): DQN whose values of actions that the data lack are pushed down.

    y = r + gamma m Q'(s', argmax_a' Q(s', a'))                        m = 0 where terminated, else 1             (1)
    L(Q) = alpha E [ log sum_a exp Q(s, a) - Q(s, a_data) ] + 1/2 E [ (Q(s, a_data) - y)^2 ]                      (2)

(2) is the paper's CQL(H), equation (4), whose sum over actions is exact here. Different from the paper's Atari agent: it is on
top of QR-DQN, whose values are quantiles; this one is on top of Double DQN, see `dqn`, also for what differs from that.

alpha was 1 on the paper's larger Atari datasets and 4 on its smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seqeval_rl.algorithms.cql import CQL
from seqeval_rl.algorithms.dqn import DQN, DQNConfig, td_loss
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import NonNegative
from seqeval_rl.networks.distributions import of_class
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.modules import setting


@dataclass(frozen=True)
class DiscreteCQLConfig(DQNConfig):
    """Settings of discrete CQL."""

    alpha: NonNegative = 1.0  # weight of the conservative term
    double: bool = True  # the online Q chooses the next action in (1); else its maximum over the target


@fused
def conservative_loss(q: Tensor, actions: Tensor, td_loss: Tensor, alpha: float | Tensor) -> tuple[Tensor, Tensor]:
    """Equation (2) for Q(s, .), [R, B, n], the dataset's actions, [R, B], and E [(Q - y)^2], [R]: the loss and its conservative
    term without the weight, each [R]."""
    # L = alpha mean (log sum_a exp Q(s, a) - Q(s, a_data)) + 1/2 mean (Q(s, a_data) - y)^2
    gap = (q.logsumexp(-1) - of_class(q, actions)).mean(1)
    return alpha * gap + 0.5 * td_loss, gap.detach()


class DiscreteCQL(DQN):
    """Discrete CQL for R runs at once."""

    Config = DiscreteCQLConfig
    name = "discrete CQL"
    citation = CQL.citation

    def __init__(self, config: DiscreteCQLConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.alpha = setting(config.alpha, spec)

    def critic_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation (2), [R], and metrics, each [R]."""
        q, next_value = self.q(batch.observations), self.next_value(batch)
        td, mean_q = td_loss(q, batch.actions, next_value, batch.rewards, batch.masks, self.discount)
        loss, gap = conservative_loss(q, batch.actions, td, self.alpha)
        return loss, {"critic/q": mean_q, "critic/gap": gap}
