"""The engine for CUDA, on the CPU with the capture swapped for the work itself; on CUDA with real graphs."""

import logging
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import torch
from made import made_dataset

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.loop import Run, Stack, sequential_evaluation
from seqeval_rl.protocol import Protocol
from seqeval_rl.registry import find_algorithm, registered
from seqeval_rl.stream import Stream

ALGORITHMS = sorted(registered())
SMALL = {"hidden": (32, 32)}
SETTINGS = {"cql": {**SMALL, "sampled_actions": 3}, "awac": {**SMALL, "actor_hidden": (32, 32)}}


class FakeEvaluator:
    """Scores the greedy action in fixed states."""

    def __init__(self, runs):
        self.states = np.random.default_rng(0).standard_normal((runs, 5, 11)).astype(np.float32)

    def evaluate(self, act, evaluation):
        return act(self.states)


class LateEvaluator(FakeEvaluator):
    """Evaluates when the result is asked for, as late as an evaluation beside training can be."""

    def begin(self, act, evaluation):
        class Waiting:
            def done(_):
                return False

            def result(_):
                return self.evaluate(act, evaluation)

        return Waiting()


def make(name, evaluator=FakeEvaluator, device="cpu", settings=None, protocol=None, entry=None, **options):
    """A stack of two runs."""
    entry = entry or find_algorithm(name)
    stream = Stream("made", [made_dataset([60, 90, 155], seed=5)])
    config = entry.configure(SETTINGS.get(name, SMALL) if settings is None else settings, "test")
    protocol = Protocol(**{"initial": 100, "batch_size": 16, "evaluate_every": 47, "episodes": 1, **(protocol or {})})
    return Stack(
        [Run(stream, config, seed) for seed in (0, 1)], entry, protocol, evaluator(2), torch.device(device), **options
    )


def carry(name, evaluator=FakeEvaluator, states=None, done=0, **options):
    """(transitions, actions, metrics, states) at each point, for two runs."""
    stack = make(name, evaluator, **options)
    if states is not None:
        stack.load_states(states)
    found = []
    sequential_evaluation(
        stack,
        lambda o: not found.append((o.point.transitions, o.evaluation, o.metrics, o.states)),
        lambda _: None,
        done,
    )
    return found


def leaves(state):
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from leaves(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from leaves(value)
    elif state is not None:
        yield torch.as_tensor(float(state))


def assert_same(one, other, **tolerance):
    assert [t for t, *_ in one] == [t for t, *_ in other]
    for (_, actions, metrics, states), (_, a, m, s) in zip(one, other, strict=True):
        np.testing.assert_allclose(actions, a, **tolerance)
        assert metrics.keys() == m.keys()
        for key in metrics:
            np.testing.assert_allclose(metrics[key], m[key], **tolerance)
        for x, y in zip(leaves(states), leaves(s), strict=True):
            torch.testing.assert_close(x.cpu(), y.cpu(), **tolerance)


def itself(work):
    return work


EXACT = {"rtol": 0, "atol": 0}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_code_without_a_graph_computes_what_the_plain_engine_computes(name):
    assert_same(carry(name, capture=itself), carry(name), **EXACT)


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
    assert 40 < len(counts) < 205 / 3


def test_draws_go_on_where_the_streams_have_ended():
    """A measurement may take more gradient steps than the stream has."""
    stack = make("bc", capture=itself)
    assert stack.schedules[0].gradient_steps == 205
    assert np.isfinite(stack.engine.train(0, 450, lambda _: None)["actor/loss"]).all()


def test_going_on_in_the_middle_of_a_period_is_as_uninterrupted():
    whole = carry("td3_bc", capture=itself)
    rest = carry("td3_bc", capture=itself, states=whole[1][3], done=2)
    assert whole[1][0] == 141
    assert_same(whole[2:], rest, **EXACT)


def test_an_algorithm_that_cannot_be_captured_goes_on_eagerly_and_says_so(caplog):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with caplog.at_level(logging.WARNING):
        found = carry("td3_bc", capture=refuse)
    assert [record.message for record in caplog.records] == [
        "TD3+BC: cannot be captured (operation not permitted when stream is capturing); "
        "its updates run one operation after the other"
    ]
    assert_same(found, carry("td3_bc"), **EXACT)


def test_a_plain_algorithm_is_not_captured(caplog):
    def never(work):
        raise AssertionError("captured")

    with caplog.at_level(logging.WARNING):
        found = carry("examples/filtered_bc.py:FilteredBC", settings={}, capture=never)
    assert "not made to be captured" in caplog.text
    assert_same(found, carry("examples/filtered_bc.py:FilteredBC", settings={}), **EXACT)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_evaluation_beside_training_scores_the_policy_of_its_own_point(name):
    assert_same(carry(name, evaluator=LateEvaluator, beside=True), carry(name), **EXACT)


def test_an_evaluation_beside_training_is_reported_as_soon_as_it_is_over():
    class AtOnce(FakeEvaluator):
        def begin(self, act, evaluation):
            found = Future()
            found.set_result(self.evaluate(act, evaluation))
            return found

    told = []

    def watch(outcome):
        told.append(("reported", outcome.point.gradient_steps))
        return True

    stack = make("bc", AtOnce, beside=True)
    sequential_evaluation(stack, watch, lambda steps: told.append(("at", steps)))
    assert told[:3] == [("at", 0), ("reported", 0), ("at", 32)]


def test_an_algorithm_whose_python_state_moves_on_is_not_captured(caplog):
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


@pytest.mark.gpu
@pytest.mark.parametrize("name", ALGORITHMS)
def test_captured_on_cuda_equals_eager_on_cuda(name):
    graphs = carry(name, device="cuda", evaluator=LateEvaluator)
    eager = carry(name, device="cuda", evaluator=LateEvaluator, capture=itself)
    assert_same(graphs, eager, rtol=1e-4, atol=1e-4)
