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
multiplier, which it has for antmaze. It computes (1) of an antmaze episode that reaches the goal as if no reward came after it,
and of one that does not, or of kitchen, as if its last reward came forever. Its scripts also have other networks, no importance
sampling for kitchen, and rewards of antmaze times 10 less 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqeval_rl.algorithms.cql import CQL, CQLConfig
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Fraction
from seqeval_rl.networks.fusion import fused


@dataclass(frozen=True)
class CalQLConfig(CQLConfig):
    """Settings of Cal-QL; those of CQL, and one of the online phase."""

    dataset_share: Fraction | None = 0.5  # of each batch of an online phase; none: batches are drawn uniformly


@fused
def bounded(q: Tensor, returns: Tensor, of_policy: Tensor) -> Tensor:
    """Equation (3) for Q_i(s, a_k), [R, M, B, K], V(s), [R, B], and which actions are the policy's, [K]."""
    # B = max(Q_i(s, a_k), V(s)) for the policy's actions
    return torch.maximum(q, returns[:, None, :, None].masked_fill(~of_policy, -torch.inf))


@fused
def share_known(returns: Tensor) -> Tensor:
    """The share of transitions whose return is known, [R]."""
    return returns.isfinite().to(returns.dtype).mean(1)


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
        n = config.sampled_actions
        # [1 + 3n], which actions are the policy's: neither that of the dataset nor one of the n uniform ones.
        self.of_policy = torch.arange(1 + 3 * n, device=spec.device) > n

    @staticmethod
    def columns(config: CalQLConfig) -> tuple[str, ...]:
        """Batches have (1), -inf where it is not known."""
        return ("returns",)

    def action_values(self, batch: Batch, actions: Tensor) -> Tensor:
        """Equation (3) for the actions of (2), after Q_i at the dataset's action, [R, M, B, 1 + 3n]."""
        assert batch.returns is not None
        return bounded(super().action_values(batch, actions), batch.returns, self.of_policy)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """As of CQL; also the share of transitions whose return is known."""
        assert batch.returns is not None
        return {**super().update(batch), "critic/known": share_known(batch.returns)}
