"""Algorithm 1 through the public parts: run groups, resuming, and no use of future data."""

import numpy as np
import pytest
import torch
from synthetic import noise_dataset, noise_for
from trainers import ALGORITHMS, PROTOCOL, SETTINGS, SMALL

from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")


def make_stream(datasets=None, name="bc"):
    return Stream("made", datasets or [noise_for(name, [60, 90, 150], seed=5)])


def make_run(name, seed, stream, small=True, **settings):
    """A run of an algorithm with these settings of its own, of small networks unless their full size is wanted."""
    sizes = SETTINGS.get(name, SMALL) if small else {}
    return Run(stream, find_algorithm(name).configure({**sizes, **settings}, "test"), seed)


def trainer_of_seeds(name, seeds, datasets=None, **settings):
    stream = make_stream(datasets, name)
    return make_trainer(name, [make_run(name, seed, stream) for seed in seeds], **settings)


def make_trainer(name, runs, **settings):
    settings = {**PROTOCOL.get(name, {}), **settings}
    protocol = Protocol(**{"initial": 100, "batch_size": 16, "evaluate_every": 50, "episodes": 1, **settings})
    return Trainer(runs, find_algorithm(name), protocol, CPU)


class FakeEvaluator:
    """Scores the greedy action in fixed states: as exact as the weights are, and a thousand times faster than MuJoCo."""

    def __init__(self, runs):
        self.states = np.random.default_rng(0).standard_normal((runs, 5, 11)).astype(np.float32)
        self.states[:] = self.states[0]

    def evaluate(self, act, evaluation):
        return act(self.states)


def collect(trainer, done=0, stop_after=None, evaluator=None):
    """(transitions, gradient steps, actions, metrics, states) at each point."""
    found = []

    def report(outcome):
        found.append((outcome.point, outcome.evaluation, outcome.metrics, trainer.states()))
        return stop_after is None or len(found) < stop_after

    sequential_evaluation(trainer, evaluator or FakeEvaluator(len(trainer.runs)), report, lambda _: None, done)
    return found


def tensors(state):
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for key in state:
            yield from tensors(state[key])
    elif isinstance(state, list | tuple):
        for item in state:
            yield from tensors(item)


@pytest.fixture(params=["float32", "float64"])
def precision(request, monkeypatch):
    """Numbers of that kind, on one thread: a product that several threads share is rounded by how they share it."""
    dtype = np.dtype(request.param)
    rows = Stream.rows
    monkeypatch.setattr(Stream, "rows", lambda stream: [part.astype(dtype) for part in rows(stream)])
    threads, default = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(getattr(torch, request.param))
    yield dtype
    torch.set_default_dtype(default)
    torch.set_num_threads(threads)


def assert_each_is_as_alone(name, runs, precision, tolerance, **settings):
    """Every run of a group does what it does alone, its algorithm within the tolerance; returns the states at the end."""

    def carried(members):
        evaluator = FakeEvaluator(len(members))
        evaluator.states = evaluator.states.astype(precision)
        return collect(make_trainer(name, members, **settings), evaluator=evaluator)

    together = carried(runs)
    assert together[-1][0].gradient_steps == 200
    for r, run in enumerate(runs):
        for (_, actions, metrics, states), (_, own, own_metrics, own_states) in zip(
            together, carried([run]), strict=True
        ):
            np.testing.assert_allclose(actions[r], own[0], atol=tolerance, rtol=0)
            for key in metrics:
                np.testing.assert_allclose(metrics[key][r], own_metrics[key][0], rtol=1e-5, atol=1e-5)
            algorithms = (tensors(state["algorithm"]) for state in (states[r], own_states[0]))
            for one, other in zip(*algorithms, strict=True):
                torch.testing.assert_close(one, other, atol=tolerance, rtol=0)
            for one, other in zip(tensors(states[r]), tensors(own_states[0]), strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    return [state["algorithm"] for state in together[-1][3]]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_group_of_three_seeds_equals_three_single_runs(name, precision):
    stream = make_stream(name=name)
    # The widths of the paper for some, since products of small matrices are rounded in fewer ways.
    small = precision == np.float64 or name not in ("awac", "bc", "discrete_bc", "dqn", "iql", "sac", "td3_bc")
    runs = [make_run(name, seed, stream, small) for seed in (0, 1, 2)]
    weights = assert_each_is_as_alone(name, runs, precision, 0.0, batch_size=64)  # the same to the last bit
    assert not all(torch.equal(a, b) for a, b in zip(tensors(weights[0]), tensors(weights[1]), strict=True))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_a_group_of_different_streams_and_float_settings_equals_single_runs(name, precision):
    others = [noise_for(name, [100, 50], seed=6), noise_for(name, [150], seed=7)]
    streams = [make_stream(name=name), make_stream(others)]
    defaults = vars(find_algorithm(name).configure({}, "test"))
    changed = {key: value * 0.5 for key, value in defaults.items() if isinstance(value, float)}
    assert changed
    runs = [make_run(name, 0, streams[0]), make_run(name, 0, streams[1]), make_run(name, 0, streams[0], **changed)]
    weights = assert_each_is_as_alone(name, runs, precision, 1e-5)
    for other in (1, 2):
        assert not all(torch.equal(a, b) for a, b in zip(tensors(weights[0]), tensors(weights[other]), strict=True))


def test_runs_that_differ_in_more_than_floats_are_no_group():
    stream = make_stream()
    with pytest.raises(ValueError, match="differ in floats only"):
        make_trainer("bc", [make_run("bc", 0, stream), make_run("bc", 0, stream, hidden=(16, 16))])


def test_streams_of_different_lengths_share_the_points_before_the_first_one_ends():
    long, short = make_stream(), make_stream([noise_dataset([170], seed=6)])
    trainer = make_trainer("bc", [make_run("bc", 0, long), make_run("bc", 0, short)])
    assert [point.transitions for point in trainer.points()] == [100, 150]
    assert [point.transitions for point in make_trainer("bc", [make_run("bc", 0, short)]).points()] == [100, 150, 170]


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("cut", [1, 3])
def test_resuming_from_a_checkpoint_is_bit_identical(name, cut, tmp_path):
    whole = collect(trainer_of_seeds(name, (0, 1), window=64))
    first = collect(trainer_of_seeds(name, (0, 1), window=64), stop_after=cut)
    torch.save(first[-1][3], tmp_path / "states.pt")
    second = trainer_of_seeds(name, (0, 1), window=64)
    second.load_states(torch.load(tmp_path / "states.pt", weights_only=True))
    rest = collect(second, done=cut)
    assert len(first) + len(rest) == len(whole)
    for (point, actions, metrics, states), (p, a, m, s) in zip(whole, first + rest, strict=True):
        assert point == p
        np.testing.assert_array_equal(actions, a)
        assert {k: v.tolist() for k, v in metrics.items()} == {k: v.tolist() for k, v in m.items()}
        for one, other in zip(tensors(states), tensors(s), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_transitions_that_are_not_visible_yet_have_no_influence(name):
    dataset = noise_for(name, [60, 90, 150], seed=5)
    changed = noise_for(name, [60, 90, 150], seed=5)
    rows = changed.rows.copy()
    rows[200:] = rows[200:] * 100 + 7
    if dataset.action_classes is not None:
        rows[200:, 11] = (dataset.rows[200:, 11] + 1) % dataset.action_classes
    object.__setattr__(changed, "rows", rows)
    one = collect(trainer_of_seeds(name, (0,), [dataset], order="logged"))
    other = collect(trainer_of_seeds(name, (0,), [changed], order="logged"))
    before = [i for i, (point, *_) in enumerate(one) if point.transitions <= 200]
    assert [one[i][0].transitions for i in before] == [100, 150, 200]
    for i in before:
        np.testing.assert_array_equal(one[i][1], other[i][1])
        # Prequential scores are of the transitions that arrive next; everything else is equal.
        known = [
            [{k: v for k, v in state.items() if k != "prequential"} for state in part[i][3]] for part in (one, other)
        ]
        for a, b in zip(*map(tensors, known), strict=True):
            assert torch.equal(a, b)
    last = zip(tensors(one[-1][3]), tensors(other[-1][3]), strict=True)
    assert not all(torch.equal(a, b) for a, b in last)


def test_rewards_are_scaled_to_the_declared_range_of_the_task():
    trainer = trainer_of_seeds("iql", (0,))
    task = trainer.runs[0].stream.task
    expected = 1000.0 / (task.reference_max - task.reference_min)
    assert trainer.preprocessing.scale[0, 0, 14] == pytest.approx(expected)
    assert trainer_of_seeds("bc", (0,)).preprocessing.scale is None


def test_the_first_evaluation_is_untrained_and_the_last_is_of_the_full_dataset():
    points = [point for point, *_ in collect(trainer_of_seeds("bc", (0,), increment=7, updates_per_increment=2))]
    assert (points[0].transitions, points[0].gradient_steps) == (100, 0)
    assert points[-1].transitions == 300
    assert points[-1].gradient_steps == 2 * -(-200 // 7)


def test_a_dataset_that_is_too_short_is_refused():
    with pytest.raises(DataError, match=r"initial = 300, found 300"):
        trainer_of_seeds("bc", (0,), initial=300)


def test_a_real_evaluation_gives_scores_for_each_run():
    stream = make_stream([noise_dataset([60, 90])])
    with Evaluator(stream.task, (0, 1), 2, workers=1) as evaluator:
        trainer = make_trainer("bc", [make_run("bc", seed, stream) for seed in (0, 1)], episodes=2)
        found = []
        sequential_evaluation(trainer, evaluator, lambda outcome: not found.append(outcome), lambda _: None)
    assert [outcome.point.transitions for outcome in found] == [100, 150]
    for outcome in found:
        assert outcome.evaluation.scores.shape == (2, 2)
        np.testing.assert_allclose(outcome.evaluation.scores, stream.task.score(outcome.evaluation.returns))


def test_increments_are_revealed_together_offline_and_one_by_one_online():
    task = Task("pendulum", "InvertedPendulum-v5", 0.0, 1000.0)
    stream = Stream("synthetic", [noise_dataset([70, 50], obs_dim=4, act_dim=1, task=task)])
    protocol = {"initial": 40, "increment": 3, "updates_per_increment": 2, "evaluate_every": 60, "online": 9}
    with make_trainer("bc", [make_run("bc", 0, stream)], **protocol) as trainer:
        found = [[(r.start, r.stop) for r in trainer.increments_until(point)] for point in trainer.points()]
    # 40 transitions, 60 after 7 increments, 120 after 27, and 9 online ones.
    assert [point.gradient_steps for point in trainer.points()] == [0, 14, 54, 60]
    assert found == [[], [(1, 8)], [(8, 28)], [(28, 29), (29, 30), (30, 31)]]
