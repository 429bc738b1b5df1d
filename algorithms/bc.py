"""Behavioral cloning: a deterministic policy regressed on the dataset's actions.

    L(pi) = E_(s,a) [ (pi(s) - a)^2 ]                                                                            (1)

The square is a mean over action dimensions. Initial weights are those of `torch.nn.Linear`. The policy is deterministic, so it
does not explore.

With `best` = q it is %BC (Chen et al., "Decision Transformer", NeurIPS 2021, arXiv 2106.01345), which clones the best episodes
alone:

    L(pi) = sum_B w (pi(s) - a)^2 / sum_B w,  w = 1 if rank(s, a) < q, else 0                                    (2)

rank(s, a) is the share of transitions in episodes with a larger return than that of (s, a), among the episodes that are
visible as a whole; the others have w = 0. A batch then has about q times as many transitions that count. Since of a shuffled
dataset no episode is visible as a whole before the end, (2) needs the order `episodes` or `logged`.

These defaults are not the baseline of Sujit et al. (TMLR 2023), which is jaxrl's: that has dropout of 0.1, orthogonal initial
weights, and a learning rate that falls to 0 along half a cosine over the offline part, after which it does not learn.
`published` are these settings; the last one depends on the length of the run, which is future data. Not reproduced of it:
dataset actions clipped to 1 - 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import OFFLINE_STEPS, Count, Layers, OpenFraction, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import TanhActor, setting
from seqeval_rl.networks.optimizers import Adam


@dataclass(frozen=True)
class BCConfig:
    """Settings of behavioral cloning."""

    hidden: Layers = (256, 256)  # widths of the hidden layers; Sujit et al. 2023
    learning_rate: Positive = 1e-3  # Adam's; Sujit et al. 2023
    decay_steps: Count | None = None  # gradient steps until the rate is 0, along half a cosine; none: it is constant
    dropout: OpenFraction | None = None  # share of the units of each hidden layer that are left out of a gradient step
    initialization: Initialization = "torch"  # of the networks; orthogonal in jaxrl
    best: OpenFraction | None = (
        None  # q, the share of transitions that are cloned, by the return of their episode; none: all
    )
    normalise_observations: bool = False  # by mean and std over the visible window


@fused
def dropout_factors(noise: Tensor, threshold: Tensor, probability: float | Tensor) -> Tensor:
    """What dropout multiplies a unit by, of a standard normal: 0 if below the threshold, else 1 / (1 - p)."""
    return (noise >= threshold) / (1 - probability)


@fused
def cloning_loss(actions: Tensor, logged: Tensor) -> Tensor:
    """Equation (1), [R], for pi(s) and the dataset's actions."""
    # L = mean (pi(s) - a)^2
    return (actions - logged).square().mean((1, 2))


@fused
def best_loss(actions: Tensor, logged: Tensor, ranks: Tensor, best: float | Tensor) -> tuple[Tensor, Tensor]:
    """Equation (2) for ranks [R, B], and the share of transitions with w = 1, each [R]."""
    # L = sum w (pi(s) - a)^2 / sum w
    weights = (ranks < best).to(actions.dtype)  # 0 where the rank is NaN
    total = weights.sum(1)
    return (weights * (actions - logged).square().mean(2)).sum(1) / total.clamp(min=1), total / ranks.shape[1]


class BC(Stateful):
    """Behavioral cloning for R runs at once."""

    Config = BCConfig
    vectorized = True
    name = "BC"
    published: ClassVar[Mapping[str, Any]] = {
        "initialization": "orthogonal",
        "dropout": 0.1,
        "decay_steps": OFFLINE_STEPS,
    }
    citation = r"""@inproceedings{pomerleau1988alvinn,
      title     = {{ALVINN}: An Autonomous Land Vehicle in a Neural Network},
      author    = {Pomerleau, Dean A.},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {1},
      year      = {1988}
    }"""

    def __init__(self, config: BCConfig, spec: Spec) -> None:
        self.hidden = config.hidden
        self.best: Any = None if config.best is None else setting(config.best, spec, 1)
        self.dropout: Any = None if config.dropout is None else setting(config.dropout, spec, 2)
        if self.dropout is not None:
            # A standard normal is below this with probability p.
            self.threshold = torch.special.ndtri(torch.as_tensor(self.dropout, device=spec.device))
        self.actor = TanhActor(spec, "actor", config.hidden, config.initialization)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate, decay_steps=config.decay_steps)

    @staticmethod
    def noise_dim(config: BCConfig, spec: Spec) -> int:
        """One normal per hidden unit with dropout, else none."""
        return 0 if config.dropout is None else sum(config.hidden)

    @staticmethod
    def columns(config: BCConfig) -> tuple[str, ...]:
        """Batches have the ranks of (2)."""
        return () if config.best is None else ("ranks",)

    def kept(self, noise: Tensor) -> list[Tensor]:
        """What dropout multiplies each hidden layer by, [R, 1, B, units]: 0 with probability p, else 1 / (1 - p)."""
        if self.dropout is None:
            return []
        factors = dropout_factors(noise, self.threshold, self.dropout)
        return list(factors.unsqueeze(1).split(self.hidden, -1))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step."""
        actions = self.actor(batch.observations, self.kept(batch.noise))
        if batch.ranks is None:
            loss, metrics = cloning_loss(actions, batch.actions), {}
        else:
            loss, cloned = best_loss(actions, batch.actions, batch.ranks, self.best)
            metrics = {"actor/cloned": cloned}
        self.actor_optimiser.minimise(loss)
        return {"actor/loss": loss.detach(), **metrics}

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The policy's action, [R, E, O] -> [R, E, A]; `noise` is not used."""
        return self.actor(observations)
