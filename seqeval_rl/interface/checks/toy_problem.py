"""A decision problem small enough to know by heart, on which every algorithm must learn within a few hundred updates.

An episode has two transitions. Observations are (stage, x, z) with x uniform on [-1, 1]; actions are (a, b).

    stage 0:  z = 0          reward SCALE (a / 4 - 4 (b - 0.8 x)^2)         next: stage 1, same x, z = a
    stage 1:  z = a          reward SCALE (-z - 4 (b - 0.8 x)^2)            terminated

The log has a uniform on [-1, 1] and b = 0.8 x with some noise. So b is learned by imitation or value; a tempts with a reward at
once that costs four times as much one transition later, which only an algorithm that carries values back can see: cloning ends at
the log's level, a myopic policy or one that masks the wrong transitions below it, the best policy chooses a = -1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.per_seed import build, noise_dim
from seqeval_rl.seeding import torch_generator

SCALE = 10.0
"""Size of rewards: large enough against the usual temperatures."""

REFERENCE_RANGE = 1000.0
"""Distance of the reference returns, as the harness uses it to scale rewards where a `Config` has a `return_range`."""

LOG_NOISE = 0.1
"""Standard deviation of b in the log."""

OBS_DIM, ACT_DIM, BATCH, UPDATES = 3, 2, 64, 600


def log(episodes: int, seed: int = 0) -> Batch:
    """A log as one batch without run axis and noise, two transitions an episode."""
    draws = torch_generator(seed, "tiny problem")
    x = torch.rand(episodes, generator=draws) * 2 - 1
    a = torch.rand(episodes, 2, generator=draws) * 2 - 1  # by stage; the second is without effect
    b = (0.8 * x[:, None] + LOG_NOISE * torch.randn(episodes, 2, generator=draws)).clamp(-1, 1)
    zero, one, z = torch.zeros(episodes), torch.ones(episodes), a[:, 0]
    first, second = torch.stack([zero, x, zero], 1), torch.stack([one, x, z], 1)
    return Batch(
        observations=torch.cat([first, second]),
        actions=torch.stack([a.T.flatten(), b.T.flatten()], 1),
        rewards=torch.cat([reward(0, x, z, b[:, 0]), reward(1, x, z, b[:, 1])]),
        next_observations=torch.cat([second, second]),
        masks=torch.cat([one, zero]),
        noise=torch.zeros(2 * episodes, 0),
    )


def reward(stage: int, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The reward of a stage; `a` is the first action of stage 0 in both."""
    return SCALE * ((-a if stage else a / 4) - 4 * (b - 0.8 * x).square())


def score(stack: Any) -> float:
    """(J - J_log) / (J_best - J_log) of the greedy policy of a stack of one run, J its mean return over a grid of x.

    0 is the log's own level, 1 the best possible.
    """
    x = torch.linspace(-1, 1, 101)
    with torch.no_grad():
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        first = stack.act(torch.stack([zero, x, zero], 1)[None], None)[0]
        a = first[:, 0]
        second = stack.act(torch.stack([one, x, a], 1)[None], None)[0]
        value = (reward(0, x, a, first[:, 1]) + reward(1, x, a, second[:, 1])).mean().item()
    of_log = -SCALE * 2 * 4 * LOG_NOISE**2  # the mean of a is 0
    best = SCALE * 0.75
    return (value - of_log) / (best - of_log)


def learn(algorithm: Any, updates: int = UPDATES, seed: int = 0, **settings: Any) -> float:
    """Trains one run on the log and returns its `score`.

    Args:
        algorithm: an algorithm class, plain or stacked.
        updates: gradient steps, of 64 transitions each.
        seed: the run's seed.
        settings: fields of the algorithm's `Config` other than by default.
    """
    config = algorithm.Config(**settings)
    spec = Spec((OBS_DIM,), ACT_DIM, (seed,), torch.device("cpu"))
    width = noise_dim(algorithm, config, spec)
    stack = build(algorithm, config, spec)
    data = log(2000)
    wanted = getattr(config, "return_range", None)
    rewards = data.rewards * (1.0 if wanted is None else wanted / REFERENCE_RANGE)
    draws = torch_generator(seed, "tiny problem batches")
    for _ in range(updates):
        i = torch.randint(len(rewards), (BATCH,), generator=draws)
        noise = torch.randn(1, BATCH, width, generator=draws)
        observations, actions, chosen, next_observations, masks = (
            column[i][None] for column in (data.observations, data.actions, rewards, data.next_observations, data.masks)
        )
        stack.update(Batch(observations, actions, chosen, next_observations, masks, noise))
    return score(stack)
