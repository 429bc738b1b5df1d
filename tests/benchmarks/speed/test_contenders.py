"""The benchmark's contenders learn, each in its own way, and take whole periods."""

from dataclasses import dataclass

import pytest
import torch
from trainers import ALGORITHMS

from seqeval_rl.benchmarks.speed.contenders import Contenders, EagerLoop, LearnerLoop, Problem
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm
from seqeval_rl.training.batch_sampler import CHUNK

CPU = torch.device("cpu")
SMALL = Problem(obs_shape=(5,), act_dim=2, batch_size=4, transitions=100)
# Of other batches than those of single transitions of vectors.
OTHERS = {
    "decision_transformer": ({"width": 8, "layers": 1, "sequence_length": 4}, SMALL),
    "drq_bc": ({"features": 4, "hidden": (8, 8)}, Problem((3, 16, 16), 2, 4, 100)),
}


def small(name):
    entry = find_algorithm(name)
    return entry, entry.configure(OTHERS[name][0] if name in OTHERS else {"hidden": (8, 8)}, "a test")


@dataclass(frozen=True)
class NoSettings:
    """None."""


class Elementwise:
    """Learns a mean action; a plug-in without a matrix product."""

    Config = NoSettings
    vectorized = True

    def __init__(self, config, spec):
        self.mean = torch.zeros(spec.runs, spec.act_dim)

    def update(self, batch):
        self.mean.lerp_(batch.actions.mean(1), 0.1)
        return {"mean": self.mean.mean(1)}

    def act(self, observations, noise):
        return self.mean.unsqueeze(1).expand(*observations.shape[:2], -1)

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean.copy_(state["mean"])


@pytest.mark.parametrize("name", [*ALGORITHMS, *OTHERS])
@pytest.mark.parametrize(("loop", "runs"), [(LearnerLoop, 2), (EagerLoop, 1)])
def test_loops_make_finite_progress(name, loop, runs):
    entry, config = small(name)
    problem = OTHERS[name][1] if name in OTHERS else SMALL.suited(entry)
    made = loop(entry, config, problem.spec(2, CPU), problem)
    algorithm = made.learner.algorithm if loop is LearnerLoop else made.algorithm
    before = [t.clone() for t in tensors(algorithm.state_dict())]
    made.train(4)
    after = tensors(algorithm.state_dict())
    assert all(t.isfinite().all() for t in after)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for value in made.metrics.values():
        value = torch.as_tensor(value)
        assert value.shape == (runs,)
        assert value.isfinite().all()


def test_many_updates_begin_with_the_first_of_a_chunk():
    entry, config = small("bc")
    loop = LearnerLoop(entry, config, SMALL.spec(1, CPU), SMALL)
    taken = []
    original = loop.learner.train
    loop.learner.train = lambda start, stop, progress: (taken.append((start, stop)), original(start, stop, progress))
    for updates in (5, 4, CHUNK, CHUNK, 3, CHUNK + 2):
        loop.train(updates)
    assert taken == [
        (0, 5),
        (5, 9),
        (CHUNK, 2 * CHUNK),
        (2 * CHUNK, 3 * CHUNK),
        (3 * CHUNK, 3 * CHUNK + 3),
        (4 * CHUNK, 5 * CHUNK + 2),
    ]


def tensors(state):
    """Those in a nested state."""
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, dict):
        return [t for value in state.values() for t in tensors(value)]
    return [t for value in state for t in tensors(value)] if isinstance(state, list | tuple) else []


def test_the_plain_loop_draws_rows_of_the_dataset_and_others_each_time():
    entry, config = small("td3_bc")
    loop = EagerLoop(entry, config, Spec((5,), 2, (0,), CPU), SMALL)
    one, other = loop.batch(), loop.batch()
    assert one.observations.shape == (1, 4, 5)
    assert one.noise.shape == (1, 4, 2)
    assert not torch.equal(one.observations, other.observations)
    assert not torch.equal(one.noise, other.noise)
    for i in range(4):
        row = torch.cat([one.observations[0, i], one.actions[0, i], one.rewards[:, i], one.masks[:, i]])
        row = torch.cat([row, one.next_observations[0, i]])
        assert (loop.replay.rows == row).all(1).any()


def test_all_contenders_are_there_and_count_whole_periods():
    entry, config = small("td3_bc")
    contenders = Contenders(entry, 2, CPU, SMALL, config)
    assert list(contenders.by_name) == ["learner", "bare", "eager", "products"]
    assert [contenders.whole_periods(n) for n in (0, 1, 2, 2.5, 3)] == [2, 2, 2, 4, 4]
    assert [contenders.whole_periods(n) for n in (CHUNK - 1.5, CHUNK, CHUNK + 1)] == [CHUNK, CHUNK, 2 * CHUNK]
    assert contenders.recording.updates == contenders.period == 2
    assert all(contenders.seconds(name, 2) > 0 for name in contenders.by_name)
    assert contenders.eager.spec.runs == 1
    assert len(contenders.learner.metrics["critic/loss"]) == 2


def test_an_algorithm_without_products_has_no_such_contender():
    contenders = Contenders(AlgorithmEntry("elementwise", "a:test", Elementwise), 2, CPU, SMALL, NoSettings())
    assert list(contenders.by_name) == ["learner", "bare", "eager"]


@pytest.mark.parametrize("name", OTHERS)
def test_sequences_and_images_are_compared_with_their_products(name):
    entry, config = small(name)
    contenders = Contenders(entry, 1, CPU, OTHERS[name][1], config)
    assert list(contenders.by_name) == ["learner", "bare", "eager", "products"]
    assert all(contenders.seconds(each, 1) > 0 for each in contenders.by_name)
    usual = Problem.usual(entry, entry.configure({}, "a test"))
    assert (usual.batch_size, usual.obs_shape) == (64, (9, 84, 84) if name == "drq_bc" else (11,))
