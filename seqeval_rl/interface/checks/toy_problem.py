"""A decision problem with a known solution, which every algorithm must learn within a few hundred updates, and its check.

An episode has two transitions. Observations are (stage, x, z) with x uniform on [-1, 1]; actions are (a, b).

    stage 0:  z = 0          reward SCALE (a / 4 - 4 (b - 0.8 x)^2)         next: stage 1, same x, z = a
    stage 1:  z = a          reward SCALE (-z - 4 (b - 0.8 x)^2)            terminated

In the dataset a is uniform on [-1, 1] and b = 0.8 x plus noise. So b can be learned by imitation or from values. A large a
gives an immediate reward that costs four times as much one transition later, which only an algorithm that bootstraps values
sees: cloning ends at the dataset's level, a myopic policy or one that masks the wrong transitions below it, and the best
policy chooses a = -1.

With discrete actions a is one of -1 and 1, b one of -0.8, 0 and 0.8: action 3 i + j is the i-th a and the j-th b. In the dataset
a is uniform, and b is with 0.9 the best one, else uniform.

An algorithm for images sees three channels, the lower half of each of one brightness: black is -1 and white is 1. The upper half
is white, since a normalized network without biases does not tell brightnesses apart.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Algorithm, Batch, Spec
from seqeval_rl.interface.checks.fixtures import IMAGE, CheckFailed, act, for_images
from seqeval_rl.interface.per_seed import build, columns, noise_dim
from seqeval_rl.interface.sequences import SequenceBatch, fold, sequence_length
from seqeval_rl.seeding import torch_generator

SCALE = 10.0  # of rewards, large compared to the usual temperatures
REFERENCE_RANGE = 1000.0  # between the reference returns; scales rewards where a `Config` has a `return_range`
ACTION_NOISE = 0.1  # standard deviation of the noise of b in the dataset
OBS_DIM, ACT_DIM, BATCH, UPDATES, EPISODES = 3, 2, 64, 600, 2000
CHOICES = torch.tensor([[a, b] for a in (-1.0, 1.0) for b in (-0.8, 0.0, 0.8)])  # (a, b) of each discrete action
SLIP = 0.1  # how often a discrete b of the dataset is uniform


def spec_of(algorithm: Any, seed: int) -> Spec:
    """What an algorithm is built for here."""
    if getattr(algorithm, "action_space", "continuous") == "discrete":
        return Spec((OBS_DIM,), 1, (seed,), torch.device("cpu"), len(CHOICES))
    return Spec(IMAGE if for_images(algorithm) else (OBS_DIM,), ACT_DIM, (seed,), torch.device("cpu"))


def as_observed(spec: Spec, vectors: Tensor) -> Tensor:
    """Observations [..., 3] as an algorithm sees them."""
    if len(spec.obs_shape) == 1:
        return vectors
    images = torch.full((*vectors.shape, *spec.obs_shape[1:]), 255.0)
    images[..., spec.obs_shape[1] // 2 :, :] = ((vectors + 1) * 127.5)[..., None, None]
    return images


def dataset(discrete: bool = False, names: tuple[str, ...] = (), discount: float = 1.0) -> Batch:
    """The dataset as one batch without run axis and noise, two transitions per episode, with the optional fields `names`."""
    generator = torch_generator(0, "tiny problem")
    x = torch.rand(EPISODES, generator=generator) * 2 - 1
    if discrete:
        classes = 3 * torch.randint(2, (EPISODES, 2), generator=generator) + _nearest(x)[:, None]
        slips = torch.rand(EPISODES, 2, generator=generator) < SLIP
        classes = torch.where(slips, torch.randint(len(CHOICES), (EPISODES, 2), generator=generator), classes)
        a, b = CHOICES[classes].unbind(-1)
        actions = classes.T.flatten()
    else:
        a = torch.rand(EPISODES, 2, generator=generator) * 2 - 1  # by stage; the second has no effect
        b = (0.8 * x[:, None] + ACTION_NOISE * torch.randn(EPISODES, 2, generator=generator)).clamp(-1, 1)
        actions = torch.stack([a.T.flatten(), b.T.flatten()], 1)
    zero, one, z = torch.zeros(EPISODES), torch.ones(EPISODES), a[:, 0]
    first, second = torch.stack([zero, x, zero], 1), torch.stack([one, x, z], 1)
    early, late = reward(0, x, z, b[:, 0]), reward(1, x, z, b[:, 1])
    ranks = (early + late).argsort(descending=True).argsort() / EPISODES
    columns = {"returns": torch.cat([early + discount * late, late]), "ranks": ranks.repeat(2)}
    if not discrete:
        columns["next_actions"] = torch.cat([actions[EPISODES:], torch.full((EPISODES, ACT_DIM), torch.nan)])
    return Batch(
        observations=torch.cat([first, second]),
        actions=actions,
        rewards=torch.cat([early, late]),
        next_observations=torch.cat([second, second]),
        masks=torch.cat([one, zero]),
        noise=torch.zeros(2 * EPISODES, 0),
        **{name: columns[name] for name in names},
    )


def _nearest(x: Tensor) -> Tensor:
    """Which of the three discrete b is nearest to 0.8 x."""
    return (0.8 * x[:, None] - CHOICES[:3, 1]).abs().argmin(1)


def reward(stage: int, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The reward of a stage; `a` is the first action of stage 0 in both."""
    return SCALE * ((-a if stage else a / 4) - 4 * (b - 0.8 * x).square())


def score(group: Algorithm, spec: Spec) -> float:
    """(J - J_dataset) / (J_best - J_dataset) of the greedy policy of one run, J its mean return over a grid of x.

    0 is the dataset's own level, 1 the best possible.
    """
    x = torch.linspace(-1, 1, 101)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    discrete = spec.action_classes is not None

    def chosen(*observation: Tensor) -> tuple[Tensor, Tensor]:
        actions = act(group, as_observed(spec, torch.stack(observation, 1)[None]), None, spec)[0]
        a, b = (CHOICES[actions] if discrete else actions).unbind(1)
        return a, b

    a, b = chosen(zero, x, zero)
    value = (reward(0, x, a, b) + reward(1, x, a, chosen(one, x, a)[1])).mean().item()
    if discrete:
        data = dataset(discrete=True)
        of_dataset = 2 * data.rewards.mean().item()  # two transitions per episode
        nearest = CHOICES[_nearest(x), 1]
        best = (reward(0, x, -one, nearest) + reward(1, x, -one, nearest)).mean().item()
    else:
        of_dataset, best = -SCALE * 2 * 4 * ACTION_NOISE**2, 0.75 * SCALE  # the mean of a is 0
    return (value - of_dataset) / (best - of_dataset)


def _chosen(data: Batch, places: Tensor) -> Batch:
    """The transitions at these places, with a run axis."""
    return data.each(lambda column: column[places][None])


def learn(algorithm: Any, updates: int = UPDATES, seed: int = 0, **settings: Any) -> float:
    """Trains one run on batches of 64 transitions, with fields of `Config` that differ from the defaults; its `score`."""
    config = algorithm.Config(**settings)
    spec = spec_of(algorithm, seed)
    width = noise_dim(algorithm, config, spec)
    group = build(algorithm, config, spec)
    data = dataset(spec.action_classes is not None, columns(algorithm, config), getattr(config, "discount", 1.0))
    return_range = getattr(config, "return_range", None)
    scale = 1.0 if return_range is None else return_range / REFERENCE_RANGE
    data = data._replace(rewards=data.rewards * scale, returns=None if data.returns is None else data.returns * scale)
    generator = torch_generator(seed, "tiny problem batches")
    length = sequence_length(algorithm, config)
    batch: Any
    for _ in range(updates):
        i = torch.randint(2 * EPISODES, (BATCH,), generator=generator)
        noise = torch.randn(1, BATCH, width, generator=generator)
        if length is None:
            batch = _chosen(data, i)._replace(noise=noise)
        else:
            batch = _sequences(data, i, length, getattr(algorithm, "returns_to_go", False), noise)
        group.update(
            batch._replace(
                observations=as_observed(spec, batch.observations),
                next_observations=as_observed(spec, batch.next_observations),
            )
        )
    return score(group, spec)


def _sequences(data: Batch, last: Tensor, length: int, returns_to_go: bool, noise: Tensor) -> SequenceBatch:
    """The batch of one run whose sequences end with the transitions `last` [B] of the dataset."""
    stages = last // EPISODES
    back = torch.arange(length - 1, -1, -1)
    rows = (last[:, None] - EPISODES * torch.minimum(back, stages[:, None])).flatten()
    to_go = data.rewards + torch.cat([data.rewards[EPISODES:], torch.zeros(EPISODES)])
    batch = data.each(lambda column: column[rows][None])._replace(noise=noise)
    return fold(batch, stages[None], stages[None], to_go[rows][None] if returns_to_go else None)


def check_learning(algorithm: Any) -> str:
    """On a small problem with a known solution (`toy_problem`) the trained greedy policy is no worse than the dataset.

    That of an online algorithm may be after 600 updates, before its values of other actions have been corrected. So one that is
    worse then is trained again, with twice as many.
    """
    for updates in (UPDATES, 2 * UPDATES):
        found = learn(algorithm, updates)
        if found > -0.1:
            return f"score {found:.2f}, where the dataset has 0 and the best policy 1"
    message = f"expected a score of at least -0.1, found {found:.2f} after {updates} updates"
    raise CheckFailed(f"{message} (the dataset has 0, the best policy 1)")
