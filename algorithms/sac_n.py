"""SAC-N (An, Moon, Kim and Song, "Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble", NeurIPS 2021,
arXiv 2110.01548): soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) with N critics.

    y = r + gamma m ( min_i Q'_i(s', a') - alpha log pi(a' | s') )     a' ~ pi(s'), m = 0 where terminated, else 1 (1)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                               i = 1, ..., N                              (2)
    L(pi) = E [ alpha log pi(b | s) - min_i Q_i(s, b) ]                b ~ pi(s), reparametrised                  (3)
    L(alpha) = - log alpha E [ log pi(b | s) + H ]                     H = - number of action dimensions          (4)

Nothing but the minimum over many critics keeps the policy near the dataset: where actions are rare in it, the critics
disagree, and their minimum is low. Every update ends with a soft update of Q' by `target_rate`. The policy is tanh of a normal
whose log standard deviation is clipped to [-5, 2]; the greedy action is tanh of the mean.

As in the authors' code (snu-mllab/EDAC): all losses are computed at the same weights; log alpha in (4), where the paper has
alpha; initial weights. Different from it: the policy's last layer begins within 0.003 of 0, not within 0.001.

`critics` is to be chosen for each task: on medium data the paper has 10 in HalfCheetah, 20 in Walker2d and 500 in Hopper. With
too few the minimum is not low enough, and the critics overestimate: their values grow without bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqeval_rl.algorithms.sac import actor_losses, critic_losses, draw  # the same equations
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, Positive
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import ActorCritic, Critic, TanhGaussianActor, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update

LOG_STD = (-5.0, 2.0)
"""Range of the log standard deviation, the same as in the authors' code."""


@dataclass(frozen=True)
class SACNConfig:
    """Settings of SAC-N; defaults of the paper."""

    hidden: Layers = (256, 256, 256)  # widths of the hidden layers of actor and critics
    critics: Count = 10  # N
    learning_rate: Positive = 3e-4  # Adam's, of actor, critics and temperature
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    initialization: Initialization = "edac"  # of the networks
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


@fused
def spread_of(q: Tensor) -> Tensor:
    """The mean over transitions of the critics' standard deviation, [R], for Q_i(s, a), [R, N, B]."""
    return q.detach().std(1, correction=0).mean(1)


class SACN(ActorCritic):  # which has act, values and log_prob
    """SAC-N for R runs at once."""

    Config = SACNConfig
    vectorized = True
    name = "SAC-N"
    citation = r"""@inproceedings{an2021uncertainty,
      title     = {Uncertainty-Based Offline Reinforcement Learning with Diversified {Q}-Ensemble},
      author    = {An, Gaon and Moon, Seungyong and Kim, Jang-Hyun and Song, Hyun Oh},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {34},
      year      = {2021}
    }"""

    def __init__(self, config: SACNConfig, spec: Spec) -> None:
        self.target_entropy = -float(spec.act_dim)
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.actor = TanhGaussianActor(spec, "actor", config.hidden, *LOG_STD, config.initialization)
        self.critic = Critic(spec, "critic", config.hidden, config.critics, config.initialization)
        self.critic_target = frozen_copy(self.critic)
        self.log_alpha = nn.Parameter(torch.zeros(spec.runs, device=spec.device))
        self.actor_optimiser = Adam([*self.actor.parameters(), self.log_alpha], config.learning_rate)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)

    @staticmethod
    def noise_dim(config: SACNConfig, spec: Spec) -> int:
        """Two normals per action dimension: one action sampled at s' for (1) and one at s for (3)."""
        return 2 * spec.act_dim

    @torch.no_grad()
    def next_q(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Q'_i(s', a'), [R, N, B], and log pi(a' | s'), [R, B], for noise [R, B, A]."""
        mean, log_std = self.actor(batch.next_observations)
        next_actions, log_prob = draw(mean, log_std, noise)
        return self.critic_target(batch.next_observations, next_actions), log_prob

    def critic_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Equations (1) and (2), [R], and metrics, each [R]."""
        return self.td_loss(self.critic(batch.observations, batch.actions), batch, noise)

    def td_loss(self, q: Tensor, batch: Batch, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The same for Q_i(s, a), [R, N, B]."""
        loss, mean_q = critic_losses(
            q, *self.next_q(batch, noise), batch.rewards, batch.masks, self.log_alpha.detach(), self.discount
        )
        return loss, {"critic/loss": loss.detach(), "critic/q": mean_q, "critic/spread": spread_of(q)}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (2), (3) and (4), then the soft update."""
        next_noise, noise = batch.noise.chunk(2, -1)
        critic_loss, metrics = self.critic_loss(batch, next_noise)
        mean, log_std = self.actor(batch.observations)
        actions, log_prob = draw(mean, log_std, noise)
        q = self.critic(batch.observations, actions, frozen=True)
        actor_loss, alpha_loss, log_prob = actor_losses(q, log_prob, self.log_alpha, self.target_entropy)
        self.actor_optimiser.minimise(actor_loss + alpha_loss)
        self.critic_optimiser.minimise(critic_loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            **metrics,
            "actor/loss": actor_loss.detach(),
            "actor/log_prob": log_prob,
            "actor/alpha": self.log_alpha.detach().exp(),
        }
