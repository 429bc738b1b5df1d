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

from seqeval_rl.algorithms.td3_bc import critic_losses, smooth  # the same equations (1) to (3)
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, Positive
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import Critic, DeterministicActorCritic, TanhActor, frozen_copy, setting
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


@fused
def actor_losses(q: Tensor) -> Tensor:
    """Equation (4), [R], for Q_1(s, pi(s)), [R, 1, B]."""
    # L = - mean Q_1(s, pi(s))
    return -q.mean((1, 2))


class TD3(DeterministicActorCritic):  # which has act and values
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
            actor_loss = actor_losses(self.critic(batch.observations, actions, frozen=True, members=1))
            self.actor_optimiser.minimise(actor_loss)
            soft_update(self.critic_target, self.critic, self.target_rate)
            soft_update(self.actor_target, self.actor, self.target_rate)
            self.last_loss.copy_(actor_loss.detach())
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "actor/loss": self.last_loss.detach(),
        }
