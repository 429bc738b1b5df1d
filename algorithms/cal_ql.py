"""Calibrated Q-learning (Nakamoto et al., "Cal-QL: Calibrated Offline RL Pre-Training for Efficient Online Fine-Tuning", NeurIPS
2023, arXiv 2303.05479): CQL that does not push values below those of the behavior policy.

    V(s) = sum_k gamma^k r_k                                           the return of the episode from s on        (1)
    C_i = log 1/(3n) sum_k exp(B_ik) / p(a_k)                          n actions each, uniform, ~ pi(s), ~ pi(s') (2)
    B_ik = Q_i(s, a_k) for uniform a_k, max(Q_i(s, a_k), V(s)) for those of the policy                            (3)

The rest is CQL(H), see `cql`, whose (2) this is with Q in place of B. Where V(s) is the larger, (3) has no gradient: values of
the policy's actions sink to V(s) and not farther, so that the first returns online do not look better than all that was
learned.

V(s) is known where all of the episode's rewards are visible. Elsewhere, and where a time limit cuts the episode so that the
rewards after it would weigh more than 5 %, there is no bound, and (3) is CQL's. So the dataset has to arrive in the order
`episodes` or `logged`: of a shuffled one no episode is visible as a whole before the end.

Online, a share `dataset_share` of each batch comes from the dataset, the rest from what the policy has gathered, whose returns
are known after their episodes. 0.5 is that of the authors' code (nakamotoo/Cal-QL) for antmaze; it has 0.25 for kitchen.

Different from that code, as in `cql`: one learning rate; one action in the target, where it takes the best of 10; no Lagrange
multiplier, which it has for antmaze. It computes (1) of time limits as if no reward came after them, and for episodes of a
sparse reward that is never reached as if they lasted forever.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqeval_rl.algorithms.cql import CQL, CQLConfig
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Fraction


@dataclass(frozen=True)
class CalQLConfig(CQLConfig):
    """Settings of Cal-QL; those of CQL, and one of the online phase."""

    dataset_share: Fraction | None = 0.5  # of each batch of an online phase; none: batches are drawn uniformly


class CalQL(CQL):
    """Cal-QL for R runs at once."""

    Config = CalQLConfig
    name = "Cal-QL"
    citation = r"""@inproceedings{nakamoto2023calql,
      title     = {{Cal-QL}: Calibrated Offline {RL} Pre-Training for Efficient Online Fine-Tuning},
      author    = {Nakamoto, Mitsuhiko and Zhai, Yuexiang and Singh, Anikait and Mark, Max Sobol and Ma, Yi and Finn, Chelsea
                   and Kumar, Aviral and Levine, Sergey},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {36},
      year      = {2023}
    }"""

    def __init__(self, config: CalQLConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        uniform = torch.arange(3 * config.sampled_actions, device=spec.device) < config.sampled_actions
        self.uniform = uniform  # [3n], which of the actions of (2) are not the policy's

    @staticmethod
    def columns(config: CalQLConfig) -> tuple[str, ...]:
        """Batches have (1), -inf where it is not known."""
        return ("returns",)

    def critic_loss(
        self, batch: Batch, sampled: Tensor, log_density: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As of CQL, with (2)."""
        assert batch.returns is not None
        # Q at the dataset's action, [R, M, B], and at the 3n others, [R, M, B, 3n]
        q_all = self.critic.many(batch.observations, torch.cat([batch.actions.unsqueeze(2), sampled], 2))
        q, q_sampled = q_all[..., 0], q_all[..., 1:]
        # B = max(Q_i(s, a_k), V(s)) for the policy's actions
        bound = batch.returns[:, None, :, None].masked_fill(self.uniform, -torch.inf)
        bounded = torch.maximum(q_sampled, bound)
        # L = sum_i mean (Q_i - y)^2 + w sum_i mean (C_i - Q_i(s, a))
        td_loss = (q - target.unsqueeze(1)).square().mean(2).sum(1)
        gap = ((bounded - log_density.unsqueeze(1)).logsumexp(3) - q).mean(2).sum(1)
        return td_loss, gap, q.detach().mean((1, 2))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """As of CQL; also the share of transitions whose return is known."""
        assert batch.returns is not None
        known = batch.returns.isfinite().to(batch.rewards.dtype).mean(1)
        return {**super().update(batch), "critic/known": known}
