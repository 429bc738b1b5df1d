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
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import ActorCritic, Critic, TanhGaussianActor, frozen_copy, setting, split_normal
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

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """[R, B, O] -> mean and log standard deviation before tanh, each [R, B, A]."""
        out = self.net(observations)
        return split_normal(out, self.log_std_min, self.log_std_max, self.multiplier, self.offset)


draw = fused(tanh_normal)


@fused
def proposals(
    mean: Tensor, log_std: Tensor, next_mean: Tensor, next_log_std: Tensor, noise: Tensor, logged: Tensor
) -> tuple[Tensor, Tensor]:
    """The dataset's action followed by those of (2), [R, B, 1 + 3n, A], and the logarithm of the latter's densities, [R, B, 3n].

    Args:
        mean: of pi(s), [R, B, A], as all but the noise.
        log_std: its log standard deviation.
        next_mean: of pi(s').
        next_log_std: its log standard deviation.
        noise: [R, B, 3n * A].
        logged: the dataset's actions.
    """
    normals = noise.unflatten(-1, (3, -1, logged.shape[-1]))  # [R, B, 3, n, A]
    means = torch.stack([mean, next_mean], 2).unsqueeze(3)
    log_stds = torch.stack([log_std, next_log_std], 2).unsqueeze(3)
    drawn, log_density = tanh_normal(means, log_stds, normals[:, :, 1:])
    random = uniform(normals[:, :, :1])
    log_uniform = torch.full_like(log_density[:, :, :1], -math.log(2) * random.shape[-1])
    actions = torch.cat([random, drawn], 2).flatten(2, 3)
    return torch.cat([logged.unsqueeze(2), actions], 2), torch.cat([log_uniform, log_density], 2).flatten(2, 3)


@fused
def critic_losses(
    q_all: Tensor,
    log_density: Tensor,
    next_q: Tensor,
    rewards: Tensor,
    masks: Tensor,
    discount: float | Tensor,
    weight: float | Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Equations (1) to (3): the loss, and without gradient its first term, the gap E [C_i - Q_i(s, a)] summed over i, and the
    mean Q, each [R].

    Args:
        q_all: Q at the dataset's action and at those of (2), [R, M, B, 1 + 3n].
        log_density: log p of each of the latter, [R, B, 3n].
        next_q: Q'_i(s', a'), [R, M, B].
        rewards: [R, B].
        masks: [R, B].
        discount: gamma, a float or [R, 1].
        weight: w, a float or [R].
    """
    # y = r + gamma m min_i Q'_i(s', a')
    target = rewards + discount * masks * next_q.amin(1)
    q, q_sampled = q_all[..., 0], q_all[..., 1:]
    # L = sum_i mean (Q_i - y)^2 + w sum_i mean (C_i - Q_i(s, a))
    td_loss = (q - target.unsqueeze(1)).square().mean(2).sum(1)
    gap = ((q_sampled - log_density.unsqueeze(1)).logsumexp(3) - q).mean(2).sum(1)
    return td_loss + weight * gap, td_loss.detach(), gap.detach(), q.detach().mean((1, 2))


@fused
def actor_losses(
    q: Tensor, log_prob: Tensor, log_alpha: Tensor, entropy: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Equations (4) and (5) for Q_i(s, b), [R, M, B], and log pi(b | s): both losses, its mean and alpha, each [R]."""
    # L = mean (alpha log pi(b | s) - min_i Q_i(s, b));  L = - log alpha mean (log pi(b | s) + H)
    alpha, mean = log_alpha.detach().exp(), log_prob.detach().mean(1)
    actor_loss = alpha * log_prob.mean(1) - q.amin(1).mean(1)
    return actor_loss, -log_alpha * (mean + entropy), mean, alpha


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

    def action_values(self, batch: Batch, actions: Tensor) -> Tensor:
        """Q_i at the actions of `proposals`, [R, M, B, 1 + 3n]; for subclasses that bound it."""
        return self.critic.many(batch.observations, actions)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (3), (4) and (5), then the soft update."""
        act_dim = batch.actions.shape[-1]
        if self.action_limit is not None:
            batch = batch._replace(actions=batch.actions.clamp(-self.action_limit, self.action_limit))
        noise, next_noise, many_noise = batch.noise.split([act_dim, act_dim, batch.noise.shape[-1] - 2 * act_dim], -1)
        mean, log_std = self.actor(batch.observations)
        with torch.no_grad():
            next_mean, next_log_std = self.actor(batch.next_observations)
            actions, log_density = proposals(mean, log_std, next_mean, next_log_std, many_noise, batch.actions)
            next_actions, _ = draw(next_mean, next_log_std, next_noise)
            next_q = self.critic_target(batch.next_observations, next_actions)
        q_all = self.action_values(batch, actions)
        critic_loss, td_loss, gap, mean_q = critic_losses(
            q_all, log_density, next_q, batch.rewards, batch.masks, self.discount, self.min_q_weight
        )
        sampled, log_prob = draw(mean, log_std, noise)
        q = self.critic(batch.observations, sampled, frozen=True)
        actor_loss, alpha_loss, log_prob, alpha = actor_losses(q, log_prob, self.log_alpha, self.target_entropy)
        self.optimiser.minimise(critic_loss, actor_loss, alpha_loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "critic/td": td_loss,
            "critic/gap": gap,
            "actor/loss": actor_loss.detach(),
            "actor/log_prob": log_prob,
            "actor/alpha": alpha,
        }
