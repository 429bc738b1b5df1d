"""DQN (Mnih et al., "Human-level control through deep reinforcement learning", Nature 518, 2015), with Double DQN (van Hasselt,
Guez and Silver, "Deep Reinforcement Learning with Double Q-learning", AAAI 2016, arXiv 1509.06461) as an option.

    y = r + gamma m max_a' Q'(s', a')                                  m = 0 where terminated, else 1             (1)
    y = r + gamma m Q'(s', argmax_a' Q(s', a'))                        with `double`                              (2)
    L(Q) = E [ (Q(s, a) - y)^2 ]                                                                                  (3)

The policy is greedy in Q; exploring, it takes a uniform action with probability epsilon. Every update is followed by a soft
update of the target Q'.

Different from the papers: soft updates (Lillicrap et al. 2016) in place of a copy every 10 000 gradient steps, Adam in place of
RMSProp, no clipping of errors and rewards, and epsilon is constant, since a schedule would be one of environment steps. Trained
on a dataset it has nothing against values of actions that the data lack; it is the baseline of `discrete_cql`, and a reference in
the online phase.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Fraction, Layers, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.distributions import epsilon_greedy, of_class
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import MLP, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class DQNConfig:
    """Settings of DQN."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of Q
    learning_rate: Positive = 3e-4  # Adam's
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    double: bool = False  # equation (2) in place of (1): the online Q chooses the next action, Double DQN
    epsilon: Fraction = 0.1  # probability of a uniform action online; the last value of Mnih et al.
    initialization: Initialization = "torch"  # of the network
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


@fused
def next_values(next_q: Tensor, chooser: Tensor) -> Tensor:
    """The value at s' in (1) and (2), [R, B]: Q'(s', .) at the action with the largest Q of the `chooser`, both [R, B, n]."""
    # Q'(s', argmax_a' Q(s', a')); with Q' as the chooser max_a' Q'(s', a')
    return of_class(next_q, chooser.argmax(-1))


@fused
def td_loss(
    q: Tensor, actions: Tensor, next_value: Tensor, rewards: Tensor, masks: Tensor, discount: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Equation (3) for Q(s, .), [R, B, n], and the value at s', [R, B]: the loss and the mean Q(s, a), each [R]."""
    # y = r + gamma m Q'(s', a');  L = mean (Q(s, a) - y)^2
    value = of_class(q, actions)
    target = rewards + discount * masks * next_value
    return (value - target).square().mean(1), value.detach().mean(1)


class DQN(Stateful):
    """DQN for R runs at once."""

    Config: type[DQNConfig] = DQNConfig
    vectorized = True
    action_space = "discrete"
    name = "DQN"
    citation = r"""@article{mnih2015human,
      title   = {Human-level control through deep reinforcement learning},
      author  = {Mnih, Volodymyr and Kavukcuoglu, Koray and Silver, David and others},
      journal = {Nature},
      volume  = {518},
      pages   = {529--533},
      year    = {2015}
    }"""

    def __init__(self, config: DQNConfig, spec: Spec) -> None:
        self.double = config.double
        self.actions = spec.discrete_actions
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.epsilon = setting(config.epsilon, spec, 1)
        self.critic = MLP(
            spec, "critic", spec.obs_dim, config.hidden, self.actions, initialization=config.initialization
        )
        self.critic_target = frozen_copy(self.critic)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)

    def q(self, observations: Tensor) -> Tensor:
        """Q(s, .): [R, B, O] -> [R, B, n]."""
        q: Tensor = self.critic(observations)
        return q.squeeze(1)

    @torch.no_grad()
    def next_value(self, batch: Batch) -> Tensor:
        """The value at s' in (1), with `double` in (2), [R, B]."""
        next_q = self.critic_target(batch.next_observations).squeeze(1)
        return next_values(next_q, self.q(batch.next_observations) if self.double else next_q)

    def critic_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation (3), [R], and metrics, each [R]."""
        q, next_value = self.q(batch.observations), self.next_value(batch)
        loss, mean_q = td_loss(q, batch.actions, next_value, batch.rewards, batch.masks, self.discount)
        return loss, {"critic/q": mean_q}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on the loss of Q, and a soft update."""
        loss, metrics = self.critic_loss(batch)
        self.critic_optimiser.minimise(loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {"critic/loss": loss.detach(), **metrics}

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """argmax_a Q(s, a), with `noise` a uniform action with probability epsilon: [R, E, O], [R, E, 2] -> [R, E]."""
        greedy = self.q(observations).argmax(-1)
        return greedy if noise is None else epsilon_greedy(greedy, noise, self.epsilon, self.actions)

    @torch.no_grad()
    def values(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Q(s, a): [R, B, O], [R, B] -> [R, B]."""
        return of_class(self.q(observations), actions)
