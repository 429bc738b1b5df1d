"""The learner for CUDA, on the CPU: with the capture replaced by the work itself, and by one that repeats only operations."""

import logging
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from recorder import recorded
from trainers import (
    ALGORITHMS,
    EXACT,
    SETTINGS,
    SMALL,
    FakeEvaluator,
    LateEvaluator,
    Reading,
    assert_same,
    carry,
    counted,
    entry_of,
    itself,
    leaves,
    make,
    singly,
    swept,
)

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.data.images import of_trails
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.networks.batched_mlp import prepare
from seqeval_rl.training.cuda_graph_learner import WARM_UP
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.replay_buffer import ImageReplayBuffer, Transitions


@pytest.mark.parametrize("capture", [itself, recorded])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_code_without_a_graph_computes_what_the_eager_learner_computes(name, capture):
    """Recorded: also that nothing is read back, and that no operation is on a tensor that another one has replaced."""
    assert_same(carry(name, capture=capture), carry(name), **EXACT)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_sweep_in_one_group_is_captured(name):
    """With what makes a gradient step longest: statistics that are refreshed, a window, scaled rewards."""
    options = {"settings": swept(name), "protocol": {"window": 64}}
    counts = []
    assert_same(carry(name, capture=counted(counts), **options), carry(name, **options), **EXACT)
    assert counts


def test_a_rate_that_decays_is_captured():
    settings = {**SMALL, "decay_steps": 150}
    assert_same(carry("iql", settings=settings, capture=recorded), carry("iql", settings=settings), **EXACT)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_published_settings_are_captured(name):
    published = dict(find_algorithm(name).published)
    if "decay_steps" in published:
        published["decay_steps"] = 150
    options = {"settings": {**published, **SETTINGS.get(name, SMALL)}}
    assert_same(carry(name, capture=recorded, **options), carry(name, **options), **EXACT)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("bc", {"best": 0.5}),
        ("dqn", {"double": True}),
        ("fql", {"aggregation": "min", "normalise_q": True}),
        ("rebrac", {"layer_norm": False}),
    ],
)
def test_settings_that_compute_something_else_are_captured(name, settings):
    options = {"settings": {**SETTINGS.get(name, SMALL), **settings}, "protocol": {"order": "episodes"}}
    assert_same(carry(name, capture=recorded, **options), carry(name, **options), **EXACT)


def test_the_branches_of_one_device_are_captured(monkeypatch):
    """On the branches that CUDA takes: all runs in one product, and parameters stepped where they are."""
    monkeypatch.setattr("seqeval_rl.networks.modules.prepare", partial(prepare, together=True))
    monkeypatch.setattr("seqeval_rl.networks.optimizers._VECTOR", 1)
    fused = torch._fused_adam_

    def strict(kernel):
        def step(parameters, gradients, means, squares, *rest, **settings):
            # CUDA's kernel takes these only.
            for tensors in zip(parameters, gradients, means, squares, strict=True):
                assert len({(t.shape, t.stride(), t.dtype) for t in tensors}) == 1
            return kernel(parameters, gradients, means, squares, *rest, **settings)

        return step

    monkeypatch.setattr(torch, "_fused_adam_", strict(fused))
    for name in ALGORITHMS:
        assert_same(carry(name, capture=recorded), carry(name), **EXACT)


@pytest.mark.parametrize("capture", [itself, recorded])
@pytest.mark.parametrize(("name", "period"), [("td3_bc", 2), ("td3_bc", 3), ("sac", 2), ("bc", 1)])
def test_single_gradient_steps_are_captured_by_their_place_in_the_period(name, period, capture, caplog):
    settings = {**SMALL, **({} if name == "bc" else {"policy_delay": period})}
    counts = []
    found, states = singly(make(name, settings=settings, capture=counted(counts, capture)), 200)
    expected, after = singly(make(name, settings=settings), 200)
    for one, other in zip(found, expected, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    for x, y in zip(leaves(states), leaves(after), strict=True):
        torch.testing.assert_close(x, y, **EXACT)
    # Each place of the period is captured by itself, and then nothing is eager any more.
    assert counts.count("captured") == period
    assert counts.count("replayed") == 200 - WARM_UP * period
    assert not caplog.records


def test_tensors_that_graphs_read_are_never_replaced():
    trainer = make("td3_bc", settings={**SMALL, "normalise_observations": True}, capture=itself)
    states = trainer.states()
    trainer.learner.train(0, 40, lambda _: None)

    def places():
        learner, algorithm = trainer.learner, trainer.algorithm
        adams = (algorithm.actor_optimiser, algorithm.critic_optimiser)
        nets = (algorithm.actor, algorithm.critic, algorithm.actor_target, algorithm.critic_target)
        tensors = [
            learner._indices,
            learner._noise,
            learner._step_in_chunk,
            learner._sums_on_device,
            learner.batches.replay.rows,
        ]
        tensors += [
            trainer.preprocessing.scale,
            trainer.preprocessing.shift,
            algorithm.last_loss,
            algorithm.last_cloning,
        ]
        tensors += [p for net in nets for p in net.parameters()]
        tensors += [t for adam in adams for t in (*adam.means, *adam.squares, adam.count, adam.ones)]
        return [t.data_ptr() for t in tensors]

    before = places()
    trainer.preprocessing.refresh(150)
    trainer.load_states(states)
    trainer.learner.train(40, 90, lambda _: None)
    assert places() == before


def test_new_statistics_and_loaded_states_take_effect_in_what_was_recorded():
    options = {"settings": {**SMALL, "normalise_observations": True}}
    found = []
    for capture in (recorded, None):
        trainer = make("td3_bc", capture=capture, **options)
        start = trainer.states()
        trainer.learner.train(0, 64, lambda _: None)
        trainer.preprocessing.refresh(250)
        trainer.learner.train(64, 96, lambda _: None)
        trainer.learner.metrics()
        trainer.load_states(start)
        trainer.learner.train(96, 160, lambda _: None)
        found.append((trainer.learner.metrics(), trainer.states()))
    (metrics, states), (expected, after) = found
    for key in metrics:
        np.testing.assert_array_equal(metrics[key], expected[key])
    for x, y in zip(leaves(states), leaves(after), strict=True):
        torch.testing.assert_close(x, y, **EXACT)


def test_periods_that_fit_neither_chunks_nor_evaluations_are_kept():
    settings = {**SMALL, "policy_delay": 3}
    counts = []

    def counting(work):
        def go():
            counts.append(None)
            work()

        return go

    found = carry("td3_bc", settings=settings, capture=counting)
    assert_same(found, carry("td3_bc", settings=settings), **EXACT)
    assert 40 < len(counts) < 205 / 2  # periods, and steps of those that do not go through


def test_batches_are_drawn_after_the_end_of_the_streams():
    """A measurement may take more gradient steps than the stream has."""
    trainer = make("bc", capture=itself)
    assert trainer.schedules[0].gradient_steps == 205
    trainer.learner.train(0, 450, lambda _: None)
    assert np.isfinite(trainer.learner.metrics()["actor/loss"]).all()


def test_resuming_in_the_middle_of_a_period_is_as_uninterrupted():
    whole = carry("td3_bc", capture=itself)
    rest = carry("td3_bc", capture=itself, states=whole[1][3], done=2)
    assert whole[1][0] == 141
    assert_same(whole[2:], rest, **EXACT)


def test_an_algorithm_that_cannot_be_captured_is_trained_eagerly_with_a_warning(caplog):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with caplog.at_level(logging.WARNING):
        found = carry("td3_bc", capture=refuse)
    assert [record.message for record in caplog.records] == [
        "TD3+BC: cannot be captured (operation not permitted when stream is capturing); "
        "its updates run one operation after the other"
    ]
    assert_same(found, carry("td3_bc"), **EXACT)


def test_a_single_run_algorithm_is_not_captured(caplog):
    def never(work):
        raise AssertionError("captured")

    with caplog.at_level(logging.WARNING):
        found = carry("examples/filtered_bc.py:FilteredBC", settings={}, capture=never)
    assert "not made to be captured" in caplog.text
    assert_same(found, carry("examples/filtered_bc.py:FilteredBC", settings={}), **EXACT)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_asynchronous_evaluation_scores_the_policy_of_its_own_evaluation_point(name):
    assert_same(carry(name, evaluator=LateEvaluator, asynchronous=True), carry(name), **EXACT)


def test_two_asynchronous_evaluations_run_at_a_time_and_are_recorded_in_order():
    told = []

    class Late(LateEvaluator):
        def begin(self, act, evaluation):
            told.append(("begun", evaluation))
            return super().begin(act, evaluation)

    def record(outcome):
        told.append(("recorded", outcome.point.index))
        return True

    trainer = make("bc")
    sequential_evaluation(trainer, Late(2), record, lambda _: None, asynchronous=True)
    last = len(trainer.points()) - 1
    assert last > 3
    later = [each for i in range(2, last + 1) for each in (("recorded", i - 2), ("begun", i))]
    assert told == [("begun", 0), ("begun", 1), *later, ("recorded", last - 1), ("recorded", last)]


def test_an_asynchronous_evaluation_is_reported_as_soon_as_it_is_over():
    class AtOnce(FakeEvaluator):
        def begin(self, act, evaluation):
            found = Future()
            found.set_result(self.evaluate(act, evaluation))
            return found

    told = []

    def watch(outcome):
        told.append(("reported", outcome.point.gradient_steps))
        return True

    def progress(gradient_steps):
        told.append(("at", gradient_steps))

    sequential_evaluation(make("bc"), AtOnce(2), watch, progress, asynchronous=True)
    assert told[:3] == [("at", 0), ("reported", 0), ("at", 32)]


def test_an_algorithm_whose_python_state_changes_is_not_captured(caplog):
    """A graph would take the branch of its first time for ever."""

    made = []

    def recorded(work):
        made[-1].updates += 1  # a capture runs the Python and does not compute
        return lambda: pytest.fail("replayed")

    class Counting(BC):
        counters = ("updates",)
        name = "Counting"

        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.updates = 0
            made.append(self)

        def update(self, batch):
            self.updates += 1
            return super().update(batch)

    entry = replace(find_algorithm("bc"), algorithm=Counting)
    with caplog.at_level(logging.WARNING):
        found = carry("bc", entry=entry, capture=recorded, protocol={"window": 64})
    assert "Counting: cannot be captured (its state in Python changes: updates)" in caplog.text
    plain = carry("bc", entry=entry, protocol={"window": 64})
    assert_same(found, plain, **EXACT)
    assert found[-1][3][0]["algorithm"]["updates"] == 205


def test_an_algorithm_that_gives_an_attribute_another_tensor_is_not_captured(caplog):
    """A graph would read the first of them for ever."""

    class Replacing(BC):
        name = "Replacing"

        def update(self, batch):
            self.shown = super().update(batch)["actor/loss"]
            return {"actor/loss": self.shown}

    with caplog.at_level(logging.WARNING):
        found = carry("bc", entry=entry_of(Replacing), capture=recorded)
    assert "Replacing: cannot be captured (its tensors are replaced by others: shown)" in caplog.text
    assert_same(found, carry("bc", entry=entry_of(Replacing)), **EXACT)


def test_a_failed_capture_changes_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        found = carry("bc", entry=entry_of(Reading), capture=recorded)
    assert "Reading: cannot be captured (aten._local_scalar_dense.default: waits for the device)" in caplog.text
    assert_same(found, carry("bc", entry=entry_of(Reading)), **EXACT)


def test_synchronization_is_detected_before_the_capture(caplog):
    """In the last gradient step of the warm-up, which is then taken again."""

    class Raising(BC):
        name = "Raising"
        updates = 0

        def update(self, batch):
            metrics = super().update(batch)
            Raising.updates += 1
            if Raising.updates == WARM_UP:
                raise RuntimeError("called a synchronizing CUDA operation")
            return metrics

    with caplog.at_level(logging.WARNING):
        found = carry("bc", entry=entry_of(Raising), capture=lambda work: pytest.fail("captured"))
    assert "Raising: cannot be captured (called a synchronizing CUDA operation)" in caplog.text
    assert_same(found, carry("bc"), **EXACT)


def test_single_steps_of_an_algorithm_with_an_undeclared_counter_stay_eager(caplog):
    """Its state holds a number that `counters` does not name, so it cannot be set by hand."""

    class Odd(BC):
        name, period, turn = "Odd", 2, 0

        def update(self, batch):
            metrics = super().update(batch)
            self.turn = 1 - self.turn
            return {"actor/loss": metrics["actor/loss"] * (1.0 + self.turn)}

        def state_dict(self):
            return {"turn": self.turn, **super().state_dict()}

        def load_state_dict(self, state):
            self.turn = state["turn"]
            self.actor.load_state_dict(state["actor"])
            self.actor_optimiser.load_state_dict(state["actor_optimiser"])

    with caplog.at_level(logging.WARNING):
        found = carry("bc", entry=entry_of(Odd), capture=recorded)
    assert caplog.text.count("cannot be captured (its state in Python changes: turn)") == 2
    assert_same(found, carry("bc", entry=entry_of(Odd)), **EXACT)


def test_images_are_gathered_by_operations_alone():
    frames = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), np.uint8)
    pixels = of_trails(frames, np.array([15, 25]), stack=2)
    rows = np.random.default_rng(1).standard_normal((len(pixels), 4)).astype(np.float32)
    replay = ImageReplayBuffer(
        Transitions(rows, pixels, [np.arange(len(pixels))]), Spec((6, 4, 4), 2, (0,), torch.device("cpu"))
    )
    indices, noise = torch.arange(6)[None], torch.zeros(1, 6, 0)
    seen = []
    go = recorded(lambda: seen.append(replay.batch(indices, noise, None, None)))
    indices += 20
    go()
    for one, other in zip(seen[0][:6], replay.batch(indices, noise, None, None)[:6], strict=True):
        assert torch.equal(one, other)
