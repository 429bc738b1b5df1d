"""What may be sampled and what is sampled: positions, rows and batches."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import chisquare
from synthetic import packed_rows

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.seeding import numpy_generator
from seqeval_rl.training.batch_sampler import CHUNK, BatchSampler, draw_positions
from seqeval_rl.training.replay_buffer import ReplayBuffer, Transitions


@given(
    total=st.integers(2, 300),
    initial=st.integers(1, 299),
    increment=st.integers(1, 40),
    per_increment=st.integers(1, 4),
    batch_size=st.integers(1, 16),
    extra=st.none() | st.integers(0, 100),
    seed=st.integers(0, 5),
    chunk=st.integers(0, 3),
)
def test_nothing_outside_the_window_is_sampled_and_the_newest_come_first(
    total, initial, increment, per_increment, batch_size, extra, seed, chunk
):
    protocol = Protocol(
        initial=min(initial, total - 1), increment=increment, updates_per_increment=per_increment, batch_size=batch_size,
        window=None if extra is None else batch_size + extra,
    )  # fmt: skip
    schedule = Schedule(protocol, total)
    positions = draw_positions(schedule, seed, chunk)
    for g, batch in enumerate(positions, chunk * CHUNK):
        increment_number = g // per_increment + 1
        t = min(protocol.initial + increment_number * increment, total)
        before = min(protocol.initial + (increment_number - 1) * increment, total)
        low = 0 if protocol.window is None else max(0, t - protocol.window)
        assert ((batch >= low) & (batch < t)).all()
        if g % per_increment == 0:
            newest = min(t - before, batch_size)
            assert batch[batch_size - newest :].tolist() == list(range(t - newest, t))


def test_draws_are_uniform_over_the_window():
    protocol = Protocol(initial=40, increment=1, updates_per_increment=10_000, batch_size=8, window=30)
    schedule = Schedule(protocol, 100)
    # One increment of many gradient steps: all see positions 11 to 40; the first step's newest place is left out.
    draws = np.concatenate([draw_positions(schedule, seed=3, chunk=chunk)[:, :-1].ravel() for chunk in range(100)])
    counts = np.bincount(draws, minlength=100)
    assert counts[:11].sum() == 0
    assert counts[41:].sum() == 0
    assert chisquare(counts[11:41]).pvalue > 1e-3


def test_draws_within_one_increment_are_those_of_a_generator_between_arrays():
    protocol = Protocol(initial=40, increment=30, updates_per_increment=2 * CHUNK, batch_size=50)
    # All gradient steps of this chunk see 70 transitions, and none is the first of its increment.
    drawn = draw_positions(Schedule(protocol, 100), seed=3, chunk=1)
    bounds = np.zeros((CHUNK, 1), np.int64), np.full((CHUNK, 1), 70)
    expected = numpy_generator(3, "batches", 1).integers(*bounds, (CHUNK, 50))
    np.testing.assert_array_equal(drawn, expected)


def make_batches(seeds=(0, 1), noise_dim=3, total=200, **settings):
    rows = packed_rows(total, obs_dim=4, act_dim=2)
    protocol = Protocol(**{"initial": 20, "batch_size": 8, **settings})
    arrivals = [np.random.default_rng(seed).permutation(total) for seed in seeds]
    replay = ReplayBuffer(Transitions(rows, None, arrivals), Spec((4,), 2, seeds, torch.device("cpu")))
    return rows, arrivals, BatchSampler(replay, [Schedule(protocol, total)] * len(seeds), seeds, noise_dim)


def test_a_batch_holds_the_rows_of_the_drawn_positions():
    rows, arrivals, batches = make_batches()
    drawn = [draw_positions(batches.schedules[0], seed, 0) for seed in (0, 1)]
    for g, batch in enumerate(chain.from_iterable(batches.between(0, 5, None, None))):
        for r in (0, 1):
            expected = rows[arrivals[r][drawn[r][g]]]
            np.testing.assert_array_equal(batch.observations[r], expected[:, :4])
            np.testing.assert_array_equal(batch.actions[r], expected[:, 4:6])
            np.testing.assert_array_equal(batch.rewards[r], expected[:, 6])
            np.testing.assert_array_equal(batch.masks[r], expected[:, 7])
            np.testing.assert_array_equal(batch.next_observations[r], expected[:, 8:])
        assert batch.noise.shape == (2, 8, 3)


@pytest.mark.parametrize("cuts", [(0, 100), (0, 1, 100), (0, 31, 32, 33, 100), (0, 50, 100)])
def test_batches_do_not_depend_on_where_training_was_cut(cuts):
    _, _, whole = make_batches()
    expected = list(chain.from_iterable(whole.between(0, 100, None, None)))
    _, _, parts = make_batches()
    found = [
        batch
        for a, b in zip(cuts, cuts[1:], strict=False)
        for batch in chain.from_iterable(parts.between(a, b, None, None))
    ]
    assert len(found) == 100
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one[:6], other[:6], strict=True):
            assert torch.equal(a, b)


def test_a_run_draws_the_same_in_any_group():
    *_, alone = make_batches(seeds=(1,))
    *_, grouped = make_batches(seeds=(0, 1, 2))
    for one, many in zip(
        chain.from_iterable(alone.between(0, 70, None, None)),
        chain.from_iterable(grouped.between(0, 70, None, None)),
        strict=True,
    ):
        for a, b in zip(one[:6], many.run(1)[:6], strict=True):
            assert torch.equal(a[0], b)


def test_noise_is_standard_normal_and_differs_between_gradient_steps():
    *_, batches = make_batches(seeds=(0,), noise_dim=50)
    noise = torch.stack([batch.noise for batch in chain.from_iterable(batches.between(0, 64, None, None))])
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
    assert not torch.equal(noise[0], noise[CHUNK])
