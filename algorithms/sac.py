"""Soft actor-critic (Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", 2018, arXiv 1812.05905).

An online algorithm without offline regularization; here it trains the behavior policies that datasets are collected with.

    y = r + gamma m ( min_i Q'_i(s', a') - alpha log pi(a' | s') )     a' ~ pi(s'), m = 0 where terminated, else 1 (1)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                                                                          (2)
    L(pi) = E [ alpha log pi(b | s) - min_i Q_i(s, b) ]                b ~ pi(s), reparametrised                  (3)
    L(alpha) = - log alpha E [ log pi(b | s) + H ]                     H = - number of action dimensions          (4)

Every `policy_delay`-th update also takes a step on (3) and (4), after the critics' step; (3) uses alpha before that step.
Every update ends with a soft update of Q' by `target_rate`. The policy is tanh of a normal whose log standard deviation is
clipped to [-5, 2]; the greedy action is tanh of the mean.

As in the authors' code: log alpha in (4), where the paper has alpha. Different from it, as in the bundled behavior policies:
(3) and (4) are delayed, with one step every `policy_delay` updates, and the clip is narrower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, Positive
from seqeval_rl.networks.distributions import tanh_normal
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.modules import ActorCritic, Critic, TanhGaussianActor, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update

LOG_STD = (-5.0, 2.0)
"""Range of the log standard deviation, the same as in the behavior policies' file format."""


@dataclass(frozen=True)
class SACConfig:
    """Settings of SAC; defaults of the bundled behavior policies."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of actor and critics
    learning_rate: Positive = 3e-4  # Adam's, of actor, critics and temperature
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    policy_delay: Count = 2  # critic updates for each update of actor and temperature
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


draw = fused(tanh_normal)


@fused
def critic_losses(
    q: Tensor,
    next_q: Tensor,
    log_prob: Tensor,
    rewards: Tensor,
    masks: Tensor,
    log_alpha: Tensor,
    discount: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """Equations (1) and (2) for Q_i(s, a) and Q'_i(s', a'), [R, M, B], and log pi(a' | s'): the loss and the mean Q, each [R]."""
    # y = r + gamma m (min_i Q'_i(s', a') - alpha log pi(a' | s'));  L = sum_i mean (Q_i(s, a) - y)^2
    soft = next_q.amin(1) - log_alpha.exp().unsqueeze(1) * log_prob
    target = rewards + discount * masks * soft
    return (q - target.unsqueeze(1)).square().mean(2).sum(1), q.detach().mean((1, 2))


@fused
def actor_losses(q: Tensor, log_prob: Tensor, log_alpha: Tensor, entropy: float) -> tuple[Tensor, Tensor, Tensor]:
    """Equations (3) and (4) for Q_i(s, b), [R, M, B], and log pi(b | s): both losses and the mean log-density, each [R]."""
    # L = mean (alpha log pi(b | s) - min_i Q_i(s, b));  L = - log alpha mean (log pi(b | s) + H)
    mean = log_prob.detach().mean(1)
    actor_loss = log_alpha.detach().exp() * log_prob.mean(1) - q.amin(1).mean(1)
    return actor_loss, -log_alpha * (mean + entropy), mean


class SAC(ActorCritic):  # which has act, values and log_prob
    """SAC for R runs at once."""

    Config = SACConfig
    vectorized = True
    name = "SAC"
    period = 2
    citation = r"""@article{haarnoja2018applications,
      title   = {Soft Actor-Critic Algorithms and Applications},
      author  = {Haarnoja, Tuomas and Zhou, Aurick and Hartikainen, Kristian and Tucker, George and Ha, Sehoon and Tan, Jie
                 and Kumar, Vikash and Zhu, Henry and Gupta, Abhishek and Abbeel, Pieter and Levine, Sergey},
      journal = {arXiv preprint arXiv:1812.05905},
      year    = {2018}
    }"""
    counters = ("turn",)

    def __init__(self, config: SACConfig, spec: Spec) -> None:
        self.period = config.policy_delay
        self.turn = 0  # updates so far, modulo the period
        self.target_entropy = -float(spec.act_dim)
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.actor = TanhGaussianActor(spec, "actor", config.hidden, *LOG_STD)
        self.critic = Critic(spec, "critic", config.hidden)
        self.critic_target = frozen_copy(self.critic)
        self.log_alpha = nn.Parameter(torch.zeros(spec.runs, device=spec.device))
        self.actor_optimiser = Adam([*self.actor.parameters(), self.log_alpha], config.learning_rate)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)
        # The metrics of the last actor update, part of the state so that a resumed run reports the same.
        self.last_loss = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)
        self.last_log_prob = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)

    @staticmethod
    def noise_dim(config: SACConfig, spec: Spec) -> int:
        """Two normals per action dimension: one action sampled at s' for (1) and one at s for (3)."""
        return 2 * spec.act_dim

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (2), every `policy_delay`-th update also one on (3) and (4), then the soft update."""
        next_noise, noise = batch.noise.chunk(2, -1)
        with torch.no_grad():
            mean, log_std = self.actor(batch.next_observations)
            next_actions, next_log_prob = draw(mean, log_std, next_noise)
            next_q = self.critic_target(batch.next_observations, next_actions)
        q = self.critic(batch.observations, batch.actions)
        critic_loss, mean_q = critic_losses(
            q, next_q, next_log_prob, batch.rewards, batch.masks, self.log_alpha.detach(), self.discount
        )
        self.critic_optimiser.minimise(critic_loss)
        self.turn = (self.turn + 1) % self.period
        if self.turn == 0:
            mean, log_std = self.actor(batch.observations)
            actions, log_prob = draw(mean, log_std, noise)
            q = self.critic(batch.observations, actions, frozen=True)
            actor_loss, alpha_loss, log_prob = actor_losses(q, log_prob, self.log_alpha, self.target_entropy)
            self.actor_optimiser.minimise(actor_loss, alpha_loss)
            torch._foreach_copy_([self.last_loss, self.last_log_prob], [actor_loss.detach(), log_prob])
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "actor/loss": self.last_loss.detach(),
            "actor/log_prob": self.last_log_prob.detach(),
            "actor/alpha": self.log_alpha.detach().exp(),
        }
