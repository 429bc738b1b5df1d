"""Soft actor-critic (Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", 2018, arXiv 1812.05905), which has no
defence against the errors of offline data: made for interaction, where it trains the behavior policies of logs.

    y = r + gamma m ( min_i Q'_i(s', a') - alpha log pi(a' | s') )     a' ~ pi(s'), m = 0 where terminated, else 1 (1)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                                                                          (2)
    L(pi) = E [ alpha log pi(b | s) - min_i Q_i(s, b) ]                b ~ pi(s), reparametrised                  (3)
    L(alpha) = - log alpha E [ log pi(b | s) + H ]                     H = - number of action dimensions          (4)

Every `policy_delay`-th update also takes (3) and (4), after the critics' step and with the alpha of before. The targets Q' move
by `target_rate` in every update. The policy is tanh of a normal whose log standard deviation is clipped to [-5, 2];
greedy is tanh of the mean.

As in the authors' code: log alpha in (4), where the paper has alpha. Different from it, as in the bundled behavior policies:
the delay of (3) and (4), whose updates left out are not made up for, and the narrower clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.distributions import tanh_normal, tanh_normal_log_prob
from seqeval_rl.networks.modules import MLP, Critic, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update

LOG_STD = (-5.0, 2.0)
"""Range of the log standard deviation, that of the behavior policies' format."""


@dataclass(frozen=True)
class SACConfig:
    """Settings of SAC; defaults of the bundled behavior policies."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of actor and critics
    learning_rate: Positive = 3e-4  # Adam's, of actor, critics and temperature
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each move of the targets
    policy_delay: Count = 2  # critic updates for each update of actor and temperature
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = (
        None  # distance of the task's reference returns after reward scaling; none: as logged
    )


class SquashedActor(nn.Module):
    """tanh of a normal whose mean and log standard deviation depend on the state."""

    def __init__(self, spec: Spec, purpose: str, config: SACConfig) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, config.hidden, 2 * spec.act_dim)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """[R, B, O] -> mean and log standard deviation before tanh, each [R, B, A]."""
        mean, log_std = self.net(observations).squeeze(1).chunk(2, -1)
        return mean, log_std.clamp(*LOG_STD)


class SAC(Stateful):
    """SAC of a stack of runs."""

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
        self.actor = SquashedActor(spec, "actor", config)
        self.critic = Critic(spec, "critic", config.hidden)
        self.critic_target = frozen_copy(self.critic)
        self.log_alpha = nn.Parameter(torch.zeros(spec.runs, device=spec.device))
        self.actor_optimiser = Adam([*self.actor.parameters(), self.log_alpha], config.learning_rate)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)
        # The metrics of the last actor update, part of the state so that a run which goes on reports what it would have.
        self.last_loss = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)
        self.last_log_prob = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)

    @staticmethod
    def noise_dim(config: SACConfig, spec: Spec) -> int:
        """Per action dimension: a sample at s' for the target and one at s for the policy."""
        return 2 * spec.act_dim

    @torch.no_grad()
    def target(self, batch: Batch, noise: Tensor) -> Tensor:
        """Equation (1), [R, B], for noise [R, B, A]."""
        # y = r + gamma m (min_i Q'_i(s', a') - alpha log pi(a' | s'))
        mean, log_std = self.actor(batch.next_observations)
        next_actions, log_prob = tanh_normal(mean, log_std, noise)
        next_q: Tensor = self.critic_target(batch.next_observations, next_actions).amin(1)
        soft = next_q - self.log_alpha.exp().unsqueeze(1) * log_prob
        return batch.rewards + self.discount * batch.masks * soft

    def critic_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Equation (2), [R], and the mean Q, [R]."""
        # L = sum_i mean (Q_i(s, a) - y)^2
        q = self.critic(batch.observations, batch.actions)
        loss = (q - self.target(batch, noise).unsqueeze(1)).square().mean(2).sum(1)
        return loss, q.detach().mean((1, 2))

    def actor_loss(self, observations: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Equation (3), [R], and the mean log-density of the sampled actions, [R], without gradient."""
        # L = mean (alpha log pi(b | s) - min_i Q_i(s, b))
        mean, log_std = self.actor(observations)
        actions, log_prob = tanh_normal(mean, log_std, noise)
        q = self.critic(observations, actions, frozen=True).amin(1)
        return self.log_alpha.detach().exp() * log_prob.mean(1) - q.mean(1), log_prob.detach().mean(1)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step of the critics; every `policy_delay`-th also one of actor and temperature."""
        next_noise, noise = batch.noise.chunk(2, -1)
        critic_loss, q = self.critic_loss(batch, next_noise)
        self.critic_optimiser.minimise(critic_loss)
        self.turn = (self.turn + 1) % self.period
        if self.turn == 0:
            actor_loss, log_prob = self.actor_loss(batch.observations, noise)
            # (4)  L = - log alpha mean (log pi(b | s) + H)
            alpha_loss = -self.log_alpha * (log_prob + self.target_entropy)
            self.actor_optimiser.minimise(actor_loss + alpha_loss)
            self.last_loss.copy_(actor_loss.detach())
            self.last_log_prob.copy_(log_prob)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": q,
            "actor/loss": self.last_loss.detach(),
            "actor/log_prob": self.last_log_prob.detach(),
            "actor/alpha": self.log_alpha.detach().exp(),
        }

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """tanh of the policy's mean, or of a sample where there is `noise`."""
        mean, log_std = self.actor(observations)
        actions: Tensor = mean if noise is None else mean + log_std.exp() * noise
        return actions.tanh()

    @torch.no_grad()
    def values(self, observations: Tensor, actions: Tensor) -> Tensor:
        """min_i Q_i(s, a): [R, B, O], [R, B, A] -> [R, B]."""
        q: Tensor = self.critic(observations, actions).amin(1)
        return q

    @torch.no_grad()
    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a | s): [R, B, O], [R, B, A] -> [R, B]."""
        mean, log_std = self.actor(observations)
        return tanh_normal_log_prob(mean, log_std, actions)
