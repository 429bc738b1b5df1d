"""Rows that do not fit: gathered ahead in pools, and nothing that is computed changes."""

import pytest
import torch
from recorder import recorded
from synthetic import noise_dataset
from trainers import EXACT, SMALL, FakeEvaluator, assert_same, carry, itself, leaves, make, singly

from seqeval_rl.data import packed_rows
from seqeval_rl.data.stream import Stream
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.training import replay_buffer, row_pool
from seqeval_rl.training.batch_sampler import CHUNK
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.replay_buffer import PooledReplayBuffer
from seqeval_rl.training.trainer import Run, Trainer

NORMALIZED = {**SMALL, "normalise_observations": True}


@pytest.fixture
def large(monkeypatch):
    """From when it is called, whatever there is counts as too large; pools have so many chunks at most."""

    def switch(chunks=1):
        for module in (replay_buffer, packed_rows):
            monkeypatch.setattr(module, "LARGE", 0)
        monkeypatch.setattr(row_pool, "POOL_BYTES", chunks * 4 * 27 * CHUNK * 2 * 16)

    return switch


@pytest.mark.parametrize(
    ("order", "chunks", "capture"),
    [("shuffled", 1, None), ("episodes", 3, None), ("logged", 1, itself), ("shuffled", 3, recorded)],
)
def test_pooled_rows_train_as_rows_on_the_device(order, chunks, capture, large):
    options = {"protocol": {"order": order, "window": 64}, "settings": NORMALIZED}
    expected = carry("td3_bc", **options)
    large(chunks)
    assert isinstance(make("td3_bc", **options).learner.batches.replay, PooledReplayBuffer)
    assert_same(carry("td3_bc", capture=capture, **options), expected, **EXACT)


@pytest.mark.parametrize("capture", [None, recorded])
def test_transitions_of_an_online_phase_are_in_the_batches_of_pooled_rows(capture, large):
    options = {"protocol": {"online": 45}, "settings": NORMALIZED}
    expected = untimed(carry("td3_bc", **options))
    large(2)
    assert_same(untimed(carry("td3_bc", capture=capture, **options)), expected, **EXACT)


def untimed(found):
    for _, _, metrics, _ in found:
        metrics.pop("online/seconds", None)
    return found


def carried(streams):
    runs = [
        Run(stream, find_algorithm("td3_bc").configure(NORMALIZED, "test"), seed) for seed, stream in enumerate(streams)
    ]
    protocol = Protocol(initial=50, batch_size=16, evaluate_every=47, episodes=1)
    found = []
    with Trainer(runs, find_algorithm("td3_bc"), protocol, torch.device("cpu")) as trainer:
        sequential_evaluation(
            trainer,
            FakeEvaluator(len(runs)),
            lambda o: not found.append((o.point.transitions, o.evaluation, o.metrics, o.states)),
            lambda _: None,
        )
    return found


@pytest.mark.parametrize("interleave", [False, True])
def test_blocks_and_streams_are_gathered_from_where_they_are(interleave, large):
    parts = [noise_dataset([30, 50], seed=seed, name=f"hopper/{seed}") for seed in range(3)]
    streams = [Stream("one", parts, interleave=interleave), Stream("other", parts[1:], interleave=interleave)]
    expected = carried(streams)
    large(1)
    assert_same(carried(streams), expected, **EXACT)


def test_a_resumed_run_begins_in_the_middle_of_a_pool(large):
    expected, end = singly(make("td3_bc", settings=SMALL), 160)
    large(2)
    for begin in (0, 1, 63, 100):
        trainer = make("td3_bc", settings=SMALL)
        singly(trainer, begin)
        again = make("td3_bc", settings=SMALL)
        again.load_states(trainer.states())
        again.learner.train(begin, 160, lambda _: None)
        for one, other in zip(leaves(again.states()), leaves(end), strict=True):
            torch.testing.assert_close(one, other, **EXACT)
    # The same trainer, back to an earlier step.
    again.load_states(make("td3_bc", settings=SMALL).states())
    again.learner.train(0, 160, lambda _: None)
    for one, other in zip(leaves(again.states()), leaves(end), strict=True):
        torch.testing.assert_close(one, other, **EXACT)
    assert len(expected) == 4


def test_the_next_pool_is_gathered_while_one_is_in_use_and_closing_stops_it(large):
    large(1)
    trainer = make("td3_bc", settings=SMALL)
    batches = trainer.learner.batches
    chunks = batches.pool_of(0)
    batches.enter(0)
    assert set(batches._pool._pools) == {chunks, batches.pool_of(chunks.stop)}
    trainer.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        batches.enter(3)


def test_a_failure_to_read_reaches_training(large, monkeypatch):
    large(1)
    trainer = make("td3_bc", settings=SMALL)

    def fail(*_):
        raise OSError("no such disk")

    monkeypatch.setattr(packed_rows, "_copy_slice", fail)
    with pytest.raises(OSError, match="no such disk"):
        trainer.learner.train(0, 10, lambda _: None)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["td3_bc", "iql"])
def test_on_a_gpu_rows_in_the_host_train_as_rows_on_the_device(name, large, monkeypatch):
    options = {"settings": SMALL, "device": "cuda", "protocol": {"online": 45}}
    expected = untimed(carry(name, **options))
    large(1)
    monkeypatch.setattr(replay_buffer, "DEVICE_SHARE", 0.0)
    assert isinstance(make(name, **options).learner.batches.replay, PooledReplayBuffer)
    assert_same(untimed(carry(name, **options)), expected, **EXACT)
