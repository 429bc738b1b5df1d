"""Exact resume at random evaluation points: parameters, optimizers, statistics, generators, and the batches that follow."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from synthetic import noise_dataset
from trainers import leaves

from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.results import checkpoint
from seqeval_rl.training.batch_sampler import CHUNK, draw_positions
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")
PENDULUM = Task("pendulum", "InvertedPendulum-v5", 0.0, 1000.0)
SMALL = {"hidden": (8, 8)}
SETTINGS = {
    "td3_bc": {**SMALL, "normalise_observations": True},
    "iql": {**SMALL, "normalise_observations": True},
    "cql": {**SMALL, "sampled_actions": 2},
    "sac": SMALL,
}
PROTOCOLS = {
    "offline": {"increment": 3, "window": 100},
    # Two datasets, one after the other, and an online continuation.
    "mixed": {"increment": 3, "online": 30, "updates_per_increment": 2},
}
CASES = [(name, kind) for name in ("td3_bc", "iql", "cql") for kind in PROTOCOLS] + [
    ("sac", "mixed"),
    ("draws", "mixed"),
]


class Draws:
    """A single-run algorithm that takes its random numbers from torch's global generator, and has an optimizer of torch's."""

    name = "Draws"

    @dataclass(frozen=True)
    class Config:
        rate: float = 0.01

    def __init__(self, config, spec):
        self.net = torch.nn.Linear(spec.obs_shape[0], spec.act_dim)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.rate)

    def update(self, batch):
        loss = (self.net(batch.observations) + torch.randn_like(batch.actions) - batch.actions).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"actor/loss": loss.detach()}

    def act(self, observations, noise):
        return (self.net(observations) + (0.0 if noise is None else noise)).tanh()

    def state_dict(self):
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def trainer_of(name, kind):
    datasets = [noise_dataset([80, 60], obs_dim=4, act_dim=1, seed=3, task=PENDULUM)]
    if kind != "offline":
        datasets.append(noise_dataset([50, 30], obs_dim=4, act_dim=1, seed=4, task=PENDULUM))
    entry = find_algorithm(Draws if name == "draws" else name)
    config = entry.configure(SETTINGS.get(name, {}), "test")
    stream = Stream("data", datasets)
    protocol = Protocol(**{"initial": 40, "batch_size": 8, "evaluate_every": 9, "episodes": 1, **PROTOCOLS[kind]})
    return Trainer([Run(stream, config, seed) for seed in (0, 1)], entry, protocol, CPU)


class FakeEvaluator:
    """Returns the greedy actions in fixed states."""

    def evaluate(self, act, evaluation):
        return act(np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32))


def outcomes(trainer, done=0, most=None):
    found = []

    def record(outcome):
        found.append(outcome)
        return len(found) != most

    sequential_evaluation(trainer, FakeEvaluator(), record, lambda _: None, done)
    return found


def next_batches(trainer, step, count=1000):
    """Row indices [count, R, B] and noise of the next gradient steps."""
    batches, chunks = trainer.learner.batches, range(step // CHUNK, (step + count) // CHUNK + 1)
    runs = list(zip(batches.schedules, batches.seeds, strict=True))
    positions = [np.stack([draw_positions(*run, chunk) for run in runs]) for chunk in chunks]
    parts = [batches.replay.indices(each) for each in positions], [batches.draw(chunk)[1] for chunk in chunks]
    first = step - chunks[0] * CHUNK
    return [np.concatenate(part)[first : first + count] for part in parts]


def same(one, other):
    for a, b in zip(leaves(one), leaves(other), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_run_that_resumes_at_ten_random_points_differs_in_nothing(name, kind, tmp_path):
    """At each point: the state that is loaded, the next 1000 batches, and the state at the evaluation after it."""
    with trainer_of(name, kind) as trainer:
        points = trainer.points()
        assert len(points) >= 12
        rng = np.random.default_rng([14, CASES.index((name, kind))])
        cuts = sorted(rng.choice(len(points) - 1, 10, replace=False).tolist())
        followed = {cut: next_batches(trainer, points[cut].gradient_steps) for cut in cuts}
        whole = outcomes(trainer)
    for cut in cuts:
        for run, state in enumerate(whole[cut].states):
            checkpoint.save(tmp_path / str(run), cut, state)
        with trainer_of(name, kind) as trainer:
            trainer.load_states([checkpoint.load(tmp_path / str(run), cut) for run in range(2)])
            same(trainer.states(), whole[cut].states)
            for found, expected in zip(next_batches(trainer, points[cut].gradient_steps), followed[cut], strict=True):
                np.testing.assert_array_equal(found, expected)
            (after,) = outcomes(trainer, cut + 1, most=1)
        expected = whole[cut + 1]
        assert after.point == expected.point
        same(after.states, expected.states)
        np.testing.assert_array_equal(after.evaluation, expected.evaluation)
        for key in expected.metrics.keys() - {"online/seconds"}:
            np.testing.assert_array_equal(after.metrics[key], expected.metrics[key])
