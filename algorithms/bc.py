"""Behavioral cloning: a deterministic policy regressed on the dataset's actions, as in Sujit et al. (TMLR 2023).

    L(pi) = E_(s,a) [ (pi(s) - a)^2 ]                                                                            (1)

The square is a mean over action dimensions. Initial weights are those of `torch.nn.Linear`. The policy is deterministic, so
it does not explore.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Layers, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.modules import TanhActor
from seqeval_rl.networks.optimizers import Adam


@dataclass(frozen=True)
class BCConfig:
    """Settings of behavioral cloning."""

    hidden: Layers = (256, 256)  # widths of the hidden layers; Sujit et al. 2023
    learning_rate: Positive = 1e-3  # Adam's; Sujit et al. 2023
    normalise_observations: bool = False  # by mean and std over the visible window


class BC(Stateful):
    """Behavioral cloning for R runs at once."""

    Config = BCConfig
    vectorized = True
    name = "BC"
    citation = r"""@inproceedings{pomerleau1988alvinn,
      title     = {{ALVINN}: An Autonomous Land Vehicle in a Neural Network},
      author    = {Pomerleau, Dean A.},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {1},
      year      = {1988}
    }"""

    def __init__(self, config: BCConfig, spec: Spec) -> None:
        self.actor = TanhActor(spec, "actor", config.hidden)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate)

    def actor_loss(self, batch: Batch) -> Tensor:
        """Equation (1), [R]."""
        # L = mean (pi(s) - a)^2
        return (self.actor(batch.observations) - batch.actions).square().mean((1, 2))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step."""
        loss = self.actor_loss(batch)
        self.actor_optimiser.minimise(loss)
        return {"actor/loss": loss.detach()}

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The policy's action, [R, E, O] -> [R, E, A]; `noise` is not used."""
        return self.actor(observations)
