"""Conservative Q-learning (Kumar, Zhou, Tucker and Levine, "Conservative Q-Learning for Offline Reinforcement Learning",
NeurIPS 2020, arXiv 2006.04779): CQL(H) on soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905).

    y = r + gamma m min_i Q'_i(s', a')                                 a' ~ pi(s'), m = 0 where terminated        (1)
    C_i = log 1/(3n) sum_k exp(Q_i(s, a_k)) / p(a_k)                   n actions each, uniform, ~ pi(s), ~ pi(s') (2)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ] + w sum_i E [ C_i - Q_i(s, a) ]                                          (3)
    L(pi) = E [ alpha log pi(b | s) - min_i Q_i(s, b) ]                b ~ pi(s), reparametrised                  (4)
    L(alpha) = - log alpha E [ log pi(b | s) + H ]                     H = - number of action dimensions          (5)

p is the density that a_k was drawn from: 2^-A, pi(. | s) or pi(. | s'); Q_i in (2) is evaluated at s for all of them, and
neither a_k nor p has a gradient. The constant 1/(3n) in (2) is left out of the computed loss, as in public implementations.
Every update ends with a soft update of Q' by `target_rate`. The policy is tanh of a normal with log standard deviation
c f(s) + d within [-20, 2], where c and d are learned and start at 1 and -1; the greedy action is tanh of the mean.

These settings are those of young-geng's JaxCQL, which the published runs were made with: two hidden layers, one learning rate,
importance sampling, no Lagrange multiplier, no entropy in (1). As there, all losses are computed at the same weights.
`published` are the rest of its settings.

Different from the authors' code: that has three hidden layers, 1e-4 for the policy, and takes the step on (5) first, then
those on (4) and (3). Different from the paper: that has 1/2 before the first term of (3), so that its weight is w/2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, OpenFraction, Positive
from seqeval_rl.networks.distributions import tanh_normal, uniform
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import ActorCritic, Critic, TanhGaussianActor, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class CQLConfig:
    """Settings of CQL; defaults of Sujit et al. 2023."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of actor and critics
    learning_rate: Positive = 3e-4  # Adam's, of actor, critics and temperature
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    min_q_weight: NonNegative = 5.0  # w, of the conservative term
    sampled_actions: Count = 10  # n, of each of the three kinds
    action_limit: OpenFraction | None = None  # the dataset's actions are clipped to +- this; 0.999 in JaxCQL
    initialization: Initialization = "torch"  # of the networks; jaxcql in JaxCQL
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


class ScaledTanhGaussianActor(TanhGaussianActor):
    """tanh of a normal with log standard deviation c f(s) + d within [-20, 2]."""

    def __init__(self, spec: Spec, purpose: str, hidden: Sequence[int], initialization: Initialization) -> None:
        super().__init__(spec, purpose, hidden, -20.0, 2.0, initialization)
        self.multiplier = nn.Parameter(torch.ones(spec.runs, 1, 1, device=spec.device))
        self.offset = nn.Parameter(torch.full((spec.runs, 1, 1), -1.0, device=spec.device))

    def scaled(self, log_std: Tensor) -> Tensor:
        """c f(s) + d, [R, B, A]."""
        return self.multiplier * log_std + self.offset


class CQL(ActorCritic):  # which has act, values and log_prob
    """CQL for R runs at once."""

    Config = CQLConfig
    vectorized = True
    name = "CQL"
    published: ClassVar[Mapping[str, Any]] = {"initialization": "jaxcql", "action_limit": 0.999}
    citation = r"""@inproceedings{kumar2020conservative,
      title     = {Conservative {Q}-Learning for Offline Reinforcement Learning},
      author    = {Kumar, Aviral and Zhou, Aurick and Tucker, George and Levine, Sergey},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {33},
      year      = {2020}
    }"""

    def __init__(self, config: CQLConfig, spec: Spec) -> None:
        self.sampled_actions = config.sampled_actions
        self.target_entropy = -float(spec.act_dim)
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.min_q_weight = setting(config.min_q_weight, spec)
        self.action_limit: Any = None if config.action_limit is None else setting(config.action_limit, spec, 2)
        self.actor = ScaledTanhGaussianActor(spec, "actor", config.hidden, config.initialization)
        self.critic = Critic(spec, "critic", config.hidden, initialization=config.initialization)
        self.critic_target = frozen_copy(self.critic)
        self.log_alpha = nn.Parameter(torch.zeros(spec.runs, device=spec.device))
        parameters = [*self.actor.parameters(), *self.critic.parameters(), self.log_alpha]
        self.optimiser = Adam(parameters, config.learning_rate)

    @staticmethod
    def noise_dim(config: CQLConfig, spec: Spec) -> int:
        """Per action dimension: one sample at s for (4), one at s' for (1), and n of each of the three kinds in (2)."""
        return (2 + 3 * config.sampled_actions) * spec.act_dim

    @torch.no_grad()
    def target(self, batch: Batch, mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
        """Equation (1), [R, B]; `mean` and `log_std` are pi(s')."""
        # y = r + gamma m min_i Q'_i(s', a')
        next_actions = (mean + log_std.exp() * noise).tanh()
        next_q = self.critic_target.minimum(batch.next_observations, next_actions)
        return batch.rewards + self.discount * batch.masks * next_q

    @torch.no_grad()
    def proposals(
        self, at_s: tuple[Tensor, Tensor], at_next: tuple[Tensor, Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The actions of (2), [R, B, 3n, A], and the logarithm of their densities, [R, B, 3n].

        Args:
            at_s: mean and log standard deviation of pi(s), each [R, B, A].
            at_next: those of pi(s').
            noise: [R, B, 3n * A].
        """
        normals = noise.unflatten(-1, (3, self.sampled_actions, -1))  # [R, B, 3, n, A]
        means = torch.stack([at_s[0], at_next[0]], 2).unsqueeze(3)
        log_stds = torch.stack([at_s[1], at_next[1]], 2).unsqueeze(3)
        drawn, log_density = tanh_normal(means, log_stds, normals[:, :, 1:])
        random = uniform(normals[:, :, :1])
        actions = torch.cat([random, drawn], 2).flatten(2, 3)
        log_uniform = torch.full_like(log_density[:, :, :1], -math.log(2) * random.shape[-1])
        return actions, torch.cat([log_uniform, log_density], 2).flatten(2, 3)

    def critic_loss(
        self, batch: Batch, sampled: Tensor, log_density: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Equation (3): its first term, [R], the gap E [C_i - Q_i(s, a)] summed over i, [R], and the mean Q, [R].

        Args:
            batch: the batch.
            sampled: the actions of (2), [R, B, 3n, A].
            log_density: log p of each, [R, B, 3n].
            target: (1), [R, B].
        """
        # Q at the dataset's action, [R, M, B], and at the 3n others, [R, M, B, 3n]
        q_all = self.critic.many(batch.observations, torch.cat([batch.actions.unsqueeze(2), sampled], 2))
        q, q_sampled = q_all[..., 0], q_all[..., 1:]
        # L = sum_i mean (Q_i - y)^2 + w sum_i mean (C_i - Q_i(s, a))
        td_loss = (q - target.unsqueeze(1)).square().mean(2).sum(1)
        gap = ((q_sampled - log_density.unsqueeze(1)).logsumexp(3) - q).mean(2).sum(1)
        return td_loss, gap, q.detach().mean((1, 2))

    def actor_loss(
        self, observations: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor, alpha: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Equation (4), [R], and the mean log-density of the sampled actions, [R], without gradient."""
        # L = mean (alpha log pi(b | s) - min_i Q_i(s, b))
        actions, log_prob = tanh_normal(mean, log_std, noise)
        q = self.critic(observations, actions, frozen=True).amin(1)
        return alpha * log_prob.mean(1) - q.mean(1), log_prob.detach().mean(1)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (3), (4) and (5), then the soft update."""
        act_dim = batch.actions.shape[-1]
        if self.action_limit is not None:
            batch = batch._replace(actions=batch.actions.clamp(-self.action_limit, self.action_limit))
        noise, next_noise, many_noise = batch.noise.split([act_dim, act_dim, batch.noise.shape[-1] - 2 * act_dim], -1)
        mean, log_std = self.actor(batch.observations)
        with torch.no_grad():
            at_next = self.actor(batch.next_observations)
            sampled, log_density = self.proposals((mean, log_std), at_next, many_noise)
            target = self.target(batch, at_next[0], at_next[1], next_noise)
        td_loss, gap, q = self.critic_loss(batch, sampled, log_density, target)
        critic_loss = td_loss + self.min_q_weight * gap
        alpha = self.log_alpha.detach().exp()
        actor_loss, log_prob = self.actor_loss(batch.observations, mean, log_std, noise, alpha)
        # (5)  L = - log alpha mean (log pi(b | s) + H)
        alpha_loss = -self.log_alpha * (log_prob + self.target_entropy)
        self.optimiser.minimise(critic_loss + actor_loss + alpha_loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": q,
            "critic/td": td_loss.detach(),
            "critic/gap": gap.detach(),
            "actor/loss": actor_loss.detach(),
            "actor/log_prob": log_prob,
            "actor/alpha": alpha,
        }
