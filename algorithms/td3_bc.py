"""TD3+BC (Fujimoto and Gu, "A Minimalist Approach to Offline Reinforcement Learning", NeurIPS 2021, arXiv 2106.06860).

TD3 whose actor loss has a behavioral cloning term:

    a' = clip(pi'(s') + clip(sigma e, -c, c), -1, 1)                   e ~ N(0, 1)                                (1)
    y = r + gamma m min_i Q'_i(s', a')                                 m = 0 where terminated, else 1             (2)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                                                                          (3)
    L(pi) = E [ (pi(s) - a)^2 ] - lambda E [ Q_1(s, pi(s)) ],  lambda = alpha / E |Q_1(s, pi(s))|                 (4)

Every `policy_delay`-th update also takes a step on (4), after the critics' step, and a soft update of both targets by
`target_rate`.

As in the authors' code: the first Q alone in (4), lambda without gradient, the mean over action dimensions in the
cloning term, soft updates only together with (4). Different from it: the harness normalizes observations over the visible
window, not over the full dataset.

The published runs are those of a JAX version (ethanluoyc/td3_bc_jax): `published` are its settings. It never multiplies e by
sigma, so that sigma is 1. Not reproduced of it: initial weights and e that are the same for all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, Positive
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import Critic, DeterministicActorCritic, TanhActor, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class TD3BCConfig:
    """Settings of TD3+BC; defaults of the paper and of Sujit et al. 2023."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of actor and critics
    learning_rate: Positive = 3e-4  # Adam's, of actor and critics
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    alpha: NonNegative = 2.5  # weight of the Q term against cloning
    policy_noise: NonNegative = 0.2  # sigma of target smoothing, in units of the action's half range
    noise_clip: NonNegative = 0.5  # c, same unit
    policy_delay: Count = 2  # critic updates for each actor update
    exploration_noise: NonNegative = 0.0  # std added online, same unit; none in Sujit et al. 2023, 0.1 in TD3
    initialization: Initialization = "torch"  # of the networks; those of torch in the authors' code
    normalise_observations: bool = True  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


@fused
def smooth(actions: Tensor, noise: Tensor, sigma: float | Tensor, clip: Any) -> Tensor:
    """Equation (1) for pi'(s') = `actions`, [R, B, A]."""
    # a' = clip(pi'(s') + clip(sigma e, -c, c), -1, 1)
    return (actions + (noise * sigma).clamp(-clip, clip)).clamp(-1, 1)


@fused
def critic_losses(
    q: Tensor, next_q: Tensor, rewards: Tensor, masks: Tensor, discount: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Equations (2) and (3) for Q_i(s, a) and Q'_i(s', a'), [R, M, B]: the loss and the mean Q, each [R]."""
    # y = r + gamma m min_i Q'_i(s', a');  L = sum_i mean (Q_i(s, a) - y)^2
    target = rewards + discount * masks * next_q.amin(1)
    return (q - target.unsqueeze(1)).square().mean(2).sum(1), q.detach().mean((1, 2))


@fused
def actor_losses(actions: Tensor, q: Tensor, logged: Tensor, alpha: float | Tensor) -> tuple[Tensor, Tensor]:
    """Equation (4) for pi(s), Q_1(s, pi(s)) [R, 1, B] and the dataset's actions: the loss and its cloning term, each [R]."""
    # lambda = alpha / mean |Q_1|;  L = mean (pi(s) - a)^2 - lambda mean Q_1(s, pi(s))
    q = q.squeeze(1)
    weight = alpha / q.detach().abs().mean(1)
    cloning = (actions - logged).square().mean((1, 2))
    return cloning - weight * q.mean(1), cloning.detach()


class TD3BC(DeterministicActorCritic):  # which has act and values
    """TD3+BC for R runs at once."""

    Config = TD3BCConfig
    vectorized = True
    name = "TD3+BC"
    published: ClassVar[Mapping[str, Any]] = {"initialization": "haiku", "policy_noise": 1.0}
    period = 2
    citation = r"""@inproceedings{fujimoto2021minimalist,
      title     = {A Minimalist Approach to Offline Reinforcement Learning},
      author    = {Fujimoto, Scott and Gu, Shixiang Shane},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {34},
      year      = {2021}
    }"""
    counters = ("turn",)

    def __init__(self, config: TD3BCConfig, spec: Spec) -> None:
        self.period = config.policy_delay
        self.turn = 0  # updates so far, modulo the period
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.alpha = setting(config.alpha, spec)
        self.policy_noise = setting(config.policy_noise, spec, 2)
        self.noise_clip: Any = setting(config.noise_clip, spec, 2)
        self.exploration_noise = setting(config.exploration_noise, spec, 2)
        self.actor = TanhActor(spec, "actor", config.hidden, config.initialization)
        self.critic = Critic(spec, "critic", config.hidden, initialization=config.initialization)
        self.actor_target = frozen_copy(self.actor)
        self.critic_target = frozen_copy(self.critic)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)
        # The metrics of the last actor update, part of the state so that a resumed run reports the same.
        self.last_loss = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)
        self.last_cloning = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)

    @staticmethod
    def noise_dim(config: TD3BCConfig, spec: Spec) -> int:
        """One normal per action dimension: target smoothing."""
        return spec.act_dim

    @torch.no_grad()
    def next_q(self, batch: Batch) -> Tensor:
        """Q'_i(s', a') with equation (1), [R, M, B]."""
        next_actions = smooth(
            self.actor_target(batch.next_observations), batch.noise, self.policy_noise, self.noise_clip
        )
        return self.critic_target(batch.next_observations, next_actions)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (3); every `policy_delay`-th update also one on (4) and soft updates."""
        q = self.critic(batch.observations, batch.actions)
        critic_loss, mean_q = critic_losses(q, self.next_q(batch), batch.rewards, batch.masks, self.discount)
        self.critic_optimiser.minimise(critic_loss)
        self.turn = (self.turn + 1) % self.period
        if self.turn == 0:
            actions = self.actor(batch.observations)
            q = self.critic(batch.observations, actions, frozen=True, members=1)
            actor_loss, cloning = actor_losses(actions, q, batch.actions, self.alpha)
            self.actor_optimiser.minimise(actor_loss)
            soft_update((self.critic_target, self.actor_target), (self.critic, self.actor), self.target_rate)
            torch._foreach_copy_([self.last_loss, self.last_cloning], [actor_loss.detach(), cloning])
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "actor/loss": self.last_loss.detach(),
            "actor/cloning": self.last_cloning.detach(),
        }
