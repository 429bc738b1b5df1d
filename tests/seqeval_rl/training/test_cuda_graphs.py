"""CUDA graphs on a CUDA device: what they compute, that nothing synchronizes, and that failed captures do no harm."""

import gc
import logging

import numpy as np
import pytest
import torch
from synthetic import noise_dataset
from trainers import (
    ALGORITHMS,
    SMALL,
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

from seqeval_rl.data.images import of_trails
from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.cuda_graph_learner import WARM_UP, Piece
from seqeval_rl.training.cuda_graphs import CudaGraphs, forbid_synchronization
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.replay_buffer import ImageReplayBuffer, Transitions
from seqeval_rl.training.trainer import Run, Trainer

pytestmark = pytest.mark.gpu
NEAR = {"rtol": 1e-5, "atol": 1e-5}


def same_states(one, other):
    for x, y in zip(leaves(one), leaves(other), strict=True):
        torch.testing.assert_close(x.cpu(), y.cpu(), **NEAR)


@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_graphs_compute_what_eager_updates_compute(name, sweep, caplog):
    options = {"device": "cuda", "evaluator": LateEvaluator, "settings": swept(name) if sweep else None}
    graphs = carry(name, **options)
    assert not caplog.records  # of eager training
    assert_same(graphs, carry(name, capture=itself, **options), **NEAR)


def test_a_rate_that_decays_is_captured(caplog):
    options = {"device": "cuda", "evaluator": LateEvaluator, "settings": {**SMALL, "decay_steps": 150}}
    graphs = carry("iql", **options)
    assert not caplog.records
    assert_same(graphs, carry("iql", capture=itself, **options), **NEAR)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_synchronizes_with_the_device_between_two_evaluations(name):
    trainer = make(name, device="cuda")
    trainer.learner.train(0, 64, lambda _: None)
    with forbid_synchronization():
        trainer.learner.train(64, 150, lambda _: None)
    assert Piece(0, trainer.learner._period) in trainer.learner._captured
    torch.cuda.synchronize()


@pytest.mark.parametrize(("name", "period"), [("td3_bc", 2), ("td3_bc", 3), ("bc", 1)])
def test_single_gradient_steps_are_graphs(name, period, caplog):
    options = {"device": "cuda", "settings": {**SMALL, **({} if name == "bc" else {"policy_delay": period})}}
    counts = []
    found, states = singly(make(name, capture=counted(counts, CudaGraphs()), **options), 200)
    expected, after = singly(make(name, capture=itself, **options), 200)
    for one, other in zip(found, expected, strict=True):
        for key in one:
            np.testing.assert_allclose(one[key], other[key], **NEAR)
    same_states(states, after)
    assert counts.count("captured") == period
    assert counts.count("replayed") == 200 - WARM_UP * period
    assert not caplog.records


def test_new_statistics_and_loaded_states_take_effect_between_replays():
    found = []
    for capture in (None, itself):
        trainer = make("td3_bc", device="cuda", settings={**SMALL, "normalise_observations": True}, capture=capture)
        start = trainer.states()
        trainer.learner.train(0, 64, lambda _: None)
        trainer.preprocessing.refresh(250)
        trainer.learner.train(64, 96, lambda _: None)
        trainer.load_states(start)
        trainer.learner.train(96, 160, lambda _: None)
        found.append(trainer.states())
    same_states(*found)


def test_an_online_phase_goes_through_graphs(caplog):
    task = Task("pendulum", "InvertedPendulum-v5", 0.0, 1000.0)
    stream = Stream("log", [noise_dataset([70, 50], obs_dim=4, act_dim=1, seed=3, task=task)])
    entry = find_algorithm("td3_bc")
    runs = [Run(stream, entry.configure(SMALL, "test"), seed) for seed in (0, 1)]
    protocol = Protocol(initial=40, batch_size=16, evaluate_every=30, online=60, episodes=0)
    trainer = Trainer(runs, entry, protocol, torch.device("cuda"))
    outcomes = []
    sequential_evaluation(trainer, None, lambda outcome: not outcomes.append(outcome), lambda _: None)
    trainer.close()
    assert outcomes[-1].point.env_steps == trainer.interaction.gathered == 60
    assert np.isfinite(outcomes[-1].metrics["critic/loss"]).all()
    assert set(trainer.learner._captured) == {Piece(0, 2), Piece(0, 1), Piece(1, 1)}
    assert not caplog.records


def reads(weight):
    float(weight.sum())


def waits(weight):
    torch.cuda.synchronize()  # of this torch knows nothing beforehand: CUDA invalidates the capture


def raises(weight):
    raise RuntimeError("of its own")


def reads_in_backward(weight):
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            torch.cuda.synchronize()
            return gradient * 2

    torch.autograd.grad([Reads.apply(weight).sum()], [weight])


@pytest.mark.parametrize("bad", [reads, waits, raises, reads_in_backward])
def test_after_a_failed_capture_others_succeed(bad):
    weight = torch.ones(4, 4, device="cuda", requires_grad=True)
    out = torch.zeros(4, 4, device="cuda")
    graphs = CudaGraphs()

    def good():
        out.add_((weight.detach() @ weight.detach()).relu())

    good()
    earlier = graphs(good)
    for again in (graphs, CudaGraphs()):
        with pytest.raises(RuntimeError):
            again(lambda: bad(weight))
        assert torch.cuda.current_stream() == torch.cuda.default_stream()
        assert not torch.cuda.is_current_stream_capturing()
        assert torch.cuda.get_sync_debug_mode() == 0
        assert gc.isenabled()
        torch.cuda.empty_cache()
        assert torch.randn(3, device="cuda").isfinite().all()
        later = again(good)
        out.zero_()
        earlier()
        later()
        torch.testing.assert_close(out, torch.full_like(out, 8.0))


def test_an_algorithm_that_reads_is_trained_eagerly_and_the_next_is_captured(caplog):
    options = {"device": "cuda", "evaluator": LateEvaluator}
    with caplog.at_level(logging.WARNING):
        found = carry("bc", entry=entry_of(Reading), **options)
    assert "Reading: cannot be captured (called a synchronizing CUDA operation" in caplog.text
    assert_same(found, carry("bc", capture=itself, **options), **NEAR)
    caplog.clear()
    assert_same(carry("bc", **options), found, **NEAR)
    assert not caplog.records


def test_trainers_free_the_device_memory():
    left = []
    for _ in range(3):
        trainer = make("td3_bc", device="cuda")
        trainer.learner.train(0, 100, lambda _: None)
        del trainer
        gc.collect()
        torch.cuda.synchronize()
        left.append(torch.cuda.memory_allocated())
    assert left[2] <= left[0]  # after the first there is what libraries keep


def test_images_are_gathered_as_on_the_cpu():
    pixels = of_trails(np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), np.uint8), np.array([15, 25]), stack=2)
    rows = np.random.default_rng(1).standard_normal((len(pixels), 4)).astype(np.float32)
    indices, seen = torch.arange(6)[None], []
    for device in (torch.device("cpu"), torch.device("cuda")):
        replay = ImageReplayBuffer(
            Transitions(rows, pixels, [np.arange(len(pixels))]), Spec((6, 4, 4), 2, (0,), device)
        )
        where = indices.to(device)
        seen.append([t.cpu() for t in replay.batch(where, torch.zeros(1, 6, 0, device=device), None, None)])
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one, other)
