"""TD3 (Fujimoto, van Hoof and Meger, "Addressing Function Approximation Error in Actor-Critic Methods", ICML 2018, arXiv
1802.09477), a deterministic online algorithm without offline regularization.

    a' = clip(pi'(s') + clip(sigma e, -c, c), -1, 1)                   e ~ N(0, 1)                                (1)
    y = r + gamma m min_i Q'_i(s', a')                                 m = 0 where terminated, else 1             (2)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                                                                          (3)
    L(pi) = - E [ Q_1(s, pi(s)) ]                                                                                 (4)

Every `policy_delay`-th update also takes a step on (4), after the critics' step, and a soft update of both targets by
`target_rate`. Online the policy adds `exploration_noise` times a standard normal to its action.

It is the reference for runs without a dataset, and the algorithm that TD3+BC adds a cloning term to. Trained on a dataset
alone, its critics overestimate actions that the dataset lacks, and nothing corrects them.

The defaults are the paper's, whose batch has 100 transitions; the authors' present code (sfujim/TD3) has two layers of 256
units, a learning rate of 3e-4 and batches of 256. Both take uniform actions at first, 1 000 or 10 000 in the paper, 25 000 in
the code: here these are the `initial` transitions of a run without a dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import Critic, TanhActor, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class TD3Config:
    """Settings of TD3; defaults of the paper."""

    hidden: Layers = (400, 300)  # widths of the hidden layers of actor and critics
    learning_rate: Positive = 1e-3  # Adam's, of actor and critics
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    policy_noise: NonNegative = 0.2  # sigma of target smoothing, in units of the action's half range
    noise_clip: NonNegative = 0.5  # c, same unit
    policy_delay: Count = 2  # critic updates for each actor update
    exploration_noise: NonNegative = 0.1  # std added online, same unit
    initialization: Initialization = "torch"  # of the networks; those of torch in the authors' code
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


class TD3(Stateful):
    """TD3 for R runs at once."""

    Config = TD3Config
    vectorized = True
    name = "TD3"
    period = 2
    citation = r"""@inproceedings{fujimoto2018addressing,
      title     = {Addressing Function Approximation Error in Actor-Critic Methods},
      author    = {Fujimoto, Scott and van Hoof, Herke and Meger, David},
      booktitle = {International Conference on Machine Learning},
      year      = {2018}
    }"""
    counters = ("turn",)

    def __init__(self, config: TD3Config, spec: Spec) -> None:
        self.period = config.policy_delay
        self.turn = 0  # updates so far, modulo the period
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.policy_noise = setting(config.policy_noise, spec, 2)
        self.noise_clip: Any = setting(config.noise_clip, spec, 2)
        self.exploration_noise = setting(config.exploration_noise, spec, 2)
        self.actor = TanhActor(spec, "actor", config.hidden, config.initialization)
        self.critic = Critic(spec, "critic", config.hidden, initialization=config.initialization)
        self.actor_target = frozen_copy(self.actor)
        self.critic_target = frozen_copy(self.critic)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)
        # The metric of the last actor update, part of the state so that a resumed run reports the same.
        self.last_loss = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)

    @staticmethod
    def noise_dim(config: TD3Config, spec: Spec) -> int:
        """One normal per action dimension: target smoothing."""
        return spec.act_dim

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """Equations (1) and (2), [R, B]."""
        # a' = clip(pi'(s') + clip(sigma e, -c, c), -1, 1)
        smoothing = (batch.noise * self.policy_noise).clamp(-self.noise_clip, self.noise_clip)
        next_actions = (self.actor_target(batch.next_observations) + smoothing).clamp(-1, 1)
        # y = r + gamma m min_i Q'_i(s', a')
        next_q = self.critic_target.minimum(batch.next_observations, next_actions)
        return batch.rewards + self.discount * batch.masks * next_q

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Equation (3), [R], and the mean Q, [R]."""
        # L = sum_i mean (Q_i(s, a) - y)^2
        q = self.critic(batch.observations, batch.actions)
        loss = (q - self.target(batch).unsqueeze(1)).square().mean(2).sum(1)
        return loss, q.detach().mean((1, 2))

    def actor_loss(self, observations: Tensor) -> Tensor:
        """Equation (4), [R]."""
        # L = - mean Q_1(s, pi(s))
        actions = self.actor(observations)
        return -self.critic(observations, actions, frozen=True, members=1).mean((1, 2))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (3); every `policy_delay`-th update also one on (4) and soft updates."""
        critic_loss, q = self.critic_loss(batch)
        self.critic_optimiser.minimise(critic_loss)
        self.turn = (self.turn + 1) % self.period
        if self.turn == 0:
            actor_loss = self.actor_loss(batch.observations)
            self.actor_optimiser.minimise(actor_loss)
            soft_update(self.critic_target, self.critic, self.target_rate)
            soft_update(self.actor_target, self.actor, self.target_rate)
            self.last_loss.copy_(actor_loss.detach())
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": q,
            "actor/loss": self.last_loss.detach(),
        }

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The policy's action, with `noise` plus `exploration_noise` times it: [R, E, O], [R, E, A] -> [R, E, A]."""
        actions: Tensor = self.actor(observations)
        return actions if noise is None else (actions + self.exploration_noise * noise).clamp(-1, 1)

    @torch.no_grad()
    def values(self, observations: Tensor, actions: Tensor) -> Tensor:
        """min_i Q_i(s, a): [R, B, O], [R, B, A] -> [R, B]."""
        return self.critic.minimum(observations, actions)
