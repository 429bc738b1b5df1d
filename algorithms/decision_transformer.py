"""Decision Transformer (Chen et al., "Decision Transformer: Reinforcement Learning via Sequence Modeling", NeurIPS 2021,
arXiv 2106.01345).

A causal transformer predicts each action of a sequence from the returns to go, observations and actions up to there. Of each
transition t there are three tokens, embedded linearly, with an embedding of its step in the episode added to each:

    g_t = r_t + r_(t+1) + ... to the episode's end,    tokens g_1, s_1, a_1, ..., g_H, s_H, a_H                   (1)
    x <- x + W_o softmax(q k^T / sqrt(d)) v,    x <- x + W_2 relu(W_1 x),    of normalized x, in each layer       (2)
    L = mean over actions and their dimensions of (pi(g_1, s_1, a_1, ..., g_t, s_t) - a_t)^2                      (3)

In (2) a token attends to those before it and to itself; d is the width of a head. pi is the tanh of a linear map of the output at
the token s_t. To act, g_1 is the target return, and g_t what is left of it after the rewards received:

    g_t = target_return - (r_1 + ... + r_(t-1))                                                                  (4)

As in the authors' code: ReLU, a layer normalization of the embedded tokens, tanh, decoupled weight decay. Different from it: no
dropout, no warm-up of the learning rate, no clipping of gradients; a sequence is drawn by its last transition, where the authors
draw its first one; weight decay of all parameters; initial weights of `torch.nn.Linear`, also of the embedding of the step,
which the authors begin from N(0, 1).

Rewards are scaled so that the task's reference returns are `return_range` apart, and `target_return` is in these units: with the
defaults it is 1.1 times their distance: on Hopper 3580, on Walker2d 5050 and on HalfCheetah 13 657, where the paper has 3600,
5000 and 12 000.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.config import Count, NonNegative, Positive
from seqeval_rl.interface.sequences import History, SequenceBatch
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.layer_norm import LayerNorm
from seqeval_rl.networks.modules import MLP, setting
from seqeval_rl.networks.optimizers import Adam


@dataclass(frozen=True)
class DecisionTransformerConfig:
    """Settings of Decision Transformer; defaults of the paper's experiments on MuJoCo, whose batches have 64 sequences."""

    sequence_length: Count = 20  # H, transitions that it looks back on
    layers: Count = 3  # of the transformer
    heads: Count = 1  # of attention in each layer
    width: Count = 128  # of a token; a multiple of `heads`
    learning_rate: Positive = 1e-4  # Adam's
    weight_decay: NonNegative = 1e-4  # decoupled, of all weights
    target_return: float = 1.1  # to act for, in the units of scaled rewards
    most_steps: Count = 1000  # of an episode that are told apart; later ones count as the last of these
    normalise_observations: bool = True  # by mean and std over the visible window
    return_range: Positive | None = 1.0  # distance of the task's reference returns after scaling; none: as logged


class Layer(nn.Module):
    """One layer of the transformer, equation (2)."""

    def __init__(self, spec: Spec, purpose: str, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_units = LayerNorm(spec, width), LayerNorm(spec, width)
        self.projections = MLP(spec, f"{purpose} attention", width, (), 3 * width)
        self.mixture = MLP(spec, f"{purpose} mixture", width, (), width)
        self.units = MLP(spec, f"{purpose} units", width, (4 * width,), width)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """Tokens [R, B, T, width] and which [R, B, T, T] each attends to -> [R, B, T, width]."""
        runs, batch, length, width = x.shape
        rows = x.flatten(1, 2)
        projected = self.projections(self.before_attention(rows)).view(runs, batch, length, 3, self.heads, -1)
        q, k, v = projected.permute(3, 0, 1, 4, 2, 5)  # each [R, B, heads, T, d]
        # softmax(q k^T / sqrt(d)) v
        scores = (q @ k.transpose(-1, -2)) / (width // self.heads) ** 0.5
        weights = scores.masked_fill(~allowed.unsqueeze(2), -torch.inf).softmax(-1)
        mixed = (weights @ v).transpose(2, 3).reshape(runs, -1, width)
        rows = rows + self.mixture(mixed).squeeze(1)
        rows = rows + self.units(self.before_units(rows)).squeeze(1)
        return rows.view(x.shape)


class Transformer(nn.Module):
    """The network of equations (1) and (2) for R runs."""

    def __init__(self, spec: Spec, config: DecisionTransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.embed_return = MLP(spec, "embed return", 1, (), width)
        self.embed_observation = MLP(spec, "embed observation", spec.obs_dim, (), width)
        self.embed_action = MLP(spec, "embed action", spec.act_dim, (), width)
        self.embed_step = MLP(spec, "embed step", config.most_steps, (), width)  # of one-hot vectors, see `forward`
        self.normalization, self.last = LayerNorm(spec, width), LayerNorm(spec, width)
        self.layers = nn.ModuleList(Layer(spec, f"layer {i}", width, config.heads) for i in range(config.layers))
        self.predict = MLP(spec, "predict", width, (), spec.act_dim)

    def forward(self, to_go: Tensor, observations: Tensor, actions: Tensor, steps: Tensor, valid: Tensor) -> Tensor:
        """pi at each transition, [R, B, H, A], for columns [R, B, H, ...] of sequences or of a history."""
        runs, batch, length = to_go.shape

        def embedded(net: MLP, column: Tensor) -> Tensor:
            return net(column.reshape(runs, batch * length, -1)).view(runs, batch, length, -1)

        of_run = torch.arange(runs, device=steps.device)[:, None, None]
        table, shift = (weight[:, 0] for weight in self.embed_step.weights)  # [R, most_steps, width], [R, 1, width]
        when = table[of_run, steps.clamp(max=table.shape[1] - 1)] + shift.unsqueeze(1)
        tokens = torch.stack(
            [
                embedded(self.embed_return, to_go) + when,
                embedded(self.embed_observation, observations) + when,
                embedded(self.embed_action, actions) + when,
            ],
            3,
        ).flatten(2, 3)  # [R, B, 3 H, width]
        x = self.normalization(tokens.flatten(1, 2)).view(tokens.shape)
        # Each attends to what is before it and no padding, and to itself, so that padding attends to something.
        place = torch.arange(3 * length, device=x.device)
        there = valid.bool().repeat_interleave(3, -1).unsqueeze(-2)
        allowed = ((place[:, None] >= place) & there) | (place[:, None] == place)
        for layer in self.layers:
            x = layer(x, allowed)
        at_observations = x.unflatten(2, (length, 3))[:, :, :, 1].reshape(runs, batch * length, -1)
        return self.predict(self.last(at_observations)).view(runs, batch, length, -1).tanh()


class DecisionTransformer(Stateful):
    """Decision Transformer for R runs at once."""

    Config = DecisionTransformerConfig
    vectorized = True
    name = "Decision Transformer"
    returns_to_go = True
    acts_on_history = True
    citation = r"""@inproceedings{chen2021decision,
      title     = {Decision Transformer: Reinforcement Learning via Sequence Modeling},
      author    = {Chen, Lili and Lu, Kevin and Rajeswaran, Aravind and Lee, Kimin and Grover, Aditya and Laskin, Michael and
                   Abbeel, Pieter and Srinivas, Aravind and Mordatch, Igor},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {34},
      year      = {2021}
    }"""

    def __init__(self, config: DecisionTransformerConfig, spec: Spec) -> None:
        self.target = setting(config.target_return, spec, 2)
        self.transformer = Transformer(spec, config)
        self.optimiser = Adam(self.transformer.parameters(), config.learning_rate, config.weight_decay)

    def loss(self, batch: SequenceBatch) -> Tensor:
        """Equation (3), [R]: padding has no weight."""
        predicted = self.transformer(batch.returns_to_go, batch.observations, batch.actions, batch.steps, batch.valid)
        errors = (predicted - batch.actions).square().mean(-1)
        return (errors * batch.valid).sum((1, 2)) / batch.valid.sum((1, 2))

    def update(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """One gradient step on (3)."""
        loss = self.loss(batch)
        self.optimiser.minimise(loss)
        return {"actor/loss": loss.detach()}

    @torch.no_grad()
    def act(self, history: History, noise: Tensor | None) -> Tensor:
        """pi at the current observation, with equation (4), [R, E, A]; it does not explore."""
        to_go = (self.target - history.received) * history.valid
        actions: Tensor = self.transformer(to_go, history.observations, history.actions, history.steps, history.valid)
        return actions[:, :, -1]
