"""Batches of sequences: of one episode, of what is visible, padded at the start, uniform by their last transition."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from recorder import recorded
from scipy.stats import chisquare
from sequence_bc import ReturnsBC, SequenceBC
from synthetic import noise_dataset
from trainers import EXACT, SMALL, assert_same, carry, entry_of

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.packed_rows import PackedRows
from seqeval_rl.data.stream import Stream
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.checks import CHECKS, toy_problem
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.batch_sampler import CHUNK, BatchSampler, draw_positions
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.replay_buffer import Transitions, build_replay_buffer
from seqeval_rl.training.sequences import Sequences
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")


def numbered(lengths, first=0, cut=False):
    """A dataset whose observations are the numbers of its transitions from `first` on; rewards too, divided by 8."""
    total = sum(lengths)
    numbers = first + np.arange(total, dtype=np.float32)
    truncations = np.zeros(total, bool)
    truncations[np.cumsum(lengths) - 1] = True
    truncations[-1] &= not cut
    raw = RawTransitions(
        observations=numbers[:, None], actions=np.tanh(numbers / total)[:, None], rewards=numbers / 8,
        terminations=np.zeros(total, bool), truncations=truncations, next_observations=numbers[:, None] + 1,
    )  # fmt: skip
    return Dataset.from_arrays(f"numbered-{first}", TASKS["hopper"], raw)


def made(blocks, length, protocol, seeds=(0, 1), interleave=False, returns_to_go=False, cut=False):
    """A sampler of sequences over blocks of episodes of these lengths, orders of arrival, and transitions' episodes and steps."""
    firsts = np.cumsum([0, *(sum(lengths) for lengths in blocks)])
    stream = Stream(
        "numbered",
        [numbered(lengths, int(first), cut) for lengths, first in zip(blocks, firsts, strict=False)],
        interleave=interleave,
    )
    rows, arrivals = PackedRows(stream.rows()), [stream.arrival(protocol.order, seed) for seed in seeds]
    replay = build_replay_buffer(Transitions(rows, None, arrivals), Spec((1,), 1, seeds, CPU))
    sequences = Sequences(length, replay, [stream] * len(seeds), returns_to_go)
    schedules = [Schedule(protocol, len(stream))] * len(seeds)
    episodes = np.repeat(np.arange(sum(map(len, blocks))), [n for lengths in blocks for n in lengths])
    steps = np.concatenate([np.arange(n) for lengths in blocks for n in lengths])
    return BatchSampler(replay, schedules, seeds, 2, sequences), arrivals, episodes, steps


@given(
    blocks=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=3),
    length=st.integers(1, 12),
    order=st.sampled_from(["episodes", "logged"]),
    initial=st.integers(1, 60),
    increment=st.integers(1, 20),
    extra=st.none() | st.integers(0, 40),
    interleave=st.booleans(),
    chunk=st.integers(0, 2),
)
def test_sequences_are_of_one_episode_and_of_what_is_visible(
    blocks, length, order, initial, increment, extra, interleave, chunk
):
    total = sum(map(sum, blocks))
    if total < 3:
        return
    interleave = interleave and len(blocks) > 1 and extra is None
    protocol = Protocol(
        initial=min(initial, total - 1), increment=increment, batch_size=6, order=order,
        window=None if extra is None else 6 + extra,
    )  # fmt: skip
    batches, arrivals, episodes, steps = made(blocks, length, protocol, interleave=interleave)
    start = min(chunk * CHUNK, batches.schedules[0].gradient_steps - 1)
    stop = min(start + 5, batches.schedules[0].gradient_steps)
    for g, batch in enumerate(chain.from_iterable(batches.between(start, stop, None, None)), start):
        low, high = (int(bound[0]) for bound in batches.schedules[0].window(np.array([g])))
        for r, arrival in enumerate(arrivals):
            position = np.empty(total, int)
            position[arrival] = np.arange(total)
            drawn = arrival[draw_positions(batches.schedules[0], r, g // CHUNK)[g % CHUNK]]
            seen, valid = batch.observations[r, ..., 0].numpy().astype(int), batch.valid[r].numpy().astype(bool)
            assert (seen[:, -1] == drawn).all()  # as it is drawn without sequences
            assert valid[:, -1].all()
            for b, row in enumerate(drawn):
                expected = [i for i in range(row - length + 1, row + 1) if i >= 0 and episodes[i] == episodes[row]]
                expected = [i for i in expected if low <= position[i] < high]
                assert seen[b][valid[b]].tolist() == expected
                assert valid[b].tolist() == [False] * (length - len(expected)) + [True] * len(expected)
                assert batch.steps[r, b][valid[b]].tolist() == steps[expected].tolist()
                np.testing.assert_array_equal(batch.rewards[r, b][valid[b]], np.array(expected, np.float32) / 8)
        for column in (*batch[:5], batch.steps):
            assert not column[~batch.valid.bool()].any()
        assert batch.noise.shape == (2, 6, 2)
        assert batch.returns_to_go.shape == (2, 6, 0)
        assert batch.steps.dtype == torch.int64


@settings(max_examples=20)
@given(
    blocks=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=5), min_size=1, max_size=2),
    order=st.sampled_from(["episodes", "logged"]),
    interleave=st.booleans(),
    cut=st.booleans(),
)
def test_returns_to_go_are_of_episodes_that_are_visible_to_their_end(blocks, order, interleave, cut):
    blocks = [[12, *lengths, 5] for lengths in blocks]
    total = sum(map(sum, blocks))
    protocol = Protocol(initial=total - 6, increment=1, batch_size=8, order=order)
    batches, arrivals, episodes, _ = made(
        blocks, 3, protocol, interleave=interleave and len(blocks) > 1, returns_to_go=True, cut=cut
    )
    ends = np.cumsum([n for lengths in blocks for n in lengths])
    never = {sum(map(len, blocks[: i + 1])) - 1 for i in range(len(blocks))} if cut else set()
    drawn = [set(), set()]
    for g, batch in enumerate(chain.from_iterable(batches.between(0, 5, None, None))):
        high = total - 6 + g + 1
        for r, arrival in enumerate(arrivals):
            visible = set(arrival[:high].tolist())
            whole = {
                e
                for e, end in enumerate(ends)
                if e not in never and set(np.flatnonzero(episodes == e).tolist()) <= visible
            }
            for b in range(8):
                valid = batch.valid[r, b].bool()
                seen = batch.observations[r, b, valid, 0].numpy().astype(int)
                episode = episodes[seen[-1]]
                drawn[r].add(int(episode))
                assert episode in whole
                assert not batch.returns_to_go[r, b, ~valid].any()
                expected = [np.arange(i, ends[episode]).sum() / 8 for i in seen]
                np.testing.assert_allclose(batch.returns_to_go[r, b, valid], expected, rtol=1e-6)


def test_sequences_are_uniform_by_their_last_transition():
    protocol = Protocol(initial=40, updates_per_increment=10_000, batch_size=8, order="episodes")
    batches, arrivals, _, _ = made([[7, 1, 20, 12, 10]], 5, protocol, seeds=(0,))
    drawn = np.concatenate(
        [b.observations[0, :-1, -1, 0] for b in chain.from_iterable(batches.between(0, 800, None, None))]
    ).astype(int)
    counts = np.bincount(drawn, minlength=50)
    assert counts[arrivals[0][41:]].sum() == 0
    assert chisquare(counts[arrivals[0][:41]]).pvalue > 1e-3


def test_scales_and_shifts_leave_padding_zero():
    protocol = Protocol(initial=10, batch_size=8, order="logged")
    batches, *_ = made([[3] * 8], 5, protocol, returns_to_go=True)
    scale, shift = torch.full((2, 1, 5), 2.0), torch.full((2, 1, 5), 1.0)
    shift[..., 2] = 0
    plain, scaled = (next(iter(batches.between(0, 1, *maps)))[0] for maps in ((None, None), (shift, scale)))
    there = plain.valid.bool()
    assert (~there).any()
    assert torch.equal(scaled.observations[there], 2 * plain.observations[there] + 1)
    assert torch.equal(scaled.returns_to_go, 2 * plain.returns_to_go)
    assert not scaled.observations[~there].any()


@pytest.mark.parametrize(("algorithm", "window"), [(SequenceBC, 64), (ReturnsBC, None)])
def test_captured_gradient_steps_take_the_same_sequences(algorithm, window):
    options = {
        "entry": entry_of(algorithm), "settings": {**SMALL, "normalise_observations": True},
        "protocol": {"order": "episodes", "window": window, "initial": 220},
    }  # fmt: skip
    eager = carry("bc", **options)
    assert_same(carry("bc", capture=recorded, **options), eager, **EXACT)
    assert 0 < eager[-1][2]["sequence/valid"][0] < 1


PENDULUM = Task("pendulum", "InvertedPendulum-v5", 0.0, 1000.0)


def online(algorithm, stream, seen, capture=None, **protocol):
    """A trainer with an online phase, whose batches are added to `seen`."""

    class Kept(algorithm):
        def update(self, batch):
            seen.append(batch)
            return super().update(batch)

    entry = entry_of(Kept)
    config = entry.configure({"hidden": (16,)}, "test")
    protocol = {"initial": 40, "increment": 3, "batch_size": 16, "evaluate_every": 50, "order": "episodes", **protocol}
    return Trainer([Run(stream, config, seed) for seed in (0, 1)], entry, Protocol(**protocol), CPU, capture)


class Fixed:
    def evaluate(self, act, evaluation):
        return act(np.zeros((2, 1, 4), np.float32))


def test_online_transitions_make_sequences_of_their_own_episodes():
    log = noise_dataset([70, 50], obs_dim=4, act_dim=1, seed=3, task=PENDULUM)
    seen, states = [], []
    with online(SequenceBC, Stream("log", [log]), seen, online=90) as trainer:
        outcomes = []
        sequential_evaluation(trainer, Fixed(), lambda o: not outcomes.append(o), lambda _: None)
        states = outcomes[-1].states
    with online(SequenceBC, Stream("log", [log]), again := [], online=90) as resumed:
        resumed.load_states(outcomes[4].states)
        sequential_evaluation(resumed, Fixed(), lambda _: True, lambda _: None, 5)
    assert again
    for one, other in zip(seen[-len(again) :], again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    for r in (0, 1):
        rows, ends = states[r]["online"]["rows"][0], states[r]["online"]["ends"][0].numpy()
        place = {tuple(row[:4].tolist()): i for i, row in enumerate(rows)}
        first = np.append(0, np.flatnonzero(ends) + 1)
        found = 0
        for batch in seen:
            for b in range(16):
                i = place.get(tuple(batch.observations[r, b, -1].tolist()))
                if i is None:
                    continue
                found += 1
                step = i - first[np.searchsorted(first, i, "right") - 1]
                count = min(step + 1, 4)
                assert batch.steps[r, b, -1] == step
                assert batch.valid[r, b].sum() == count
                assert torch.equal(batch.observations[r, b, 4 - count :], rows[i - count + 1 : i + 1, :4])
        assert found > 50


def test_sequences_are_learned_without_a_dataset():
    with online(SequenceBC, Stream("nothing", [], PENDULUM), [], online=60, order="shuffled") as trainer:
        sequential_evaluation(trainer, Fixed(), lambda _: True, lambda _: None)


@pytest.mark.parametrize(
    ("algorithm", "changes", "given_settings", "error", "words"),
    [
        (SequenceBC, {"order": "shuffled"}, {}, UsageError, ["protocol.order", "expected episodes or logged, found"]),
        (SequenceBC, {}, {"sequence_length": 156}, DataError, ["156 transitions", "at most 155"]),
        (ReturnsBC, {"online": 10}, {}, UsageError, ["returns to go", "protocol.online = 10"]),
        (ReturnsBC, {"initial": 20}, {}, DataError, ["complete episode", "Raise protocol.initial"]),
        (ReturnsBC, {"window": 16, "initial": 200}, {}, DataError, ["protocol.window"]),
    ],
)  # fmt: skip
def test_what_has_no_sequences_is_refused(algorithm, changes, given_settings, error, words):
    with pytest.raises(error) as caught:
        carry(
            "bc",
            entry=entry_of(algorithm),
            settings={**SMALL, **given_settings},
            protocol={"order": "logged", **changes},
        )
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_the_contract_checks_take_sequences():
    for name in ("metrics", "inputs", "capture", "resume", "isolation", "group"):
        CHECKS[name](ReturnsBC)
    assert toy_problem.learn(ReturnsBC, 300, hidden=(32, 32)) > -0.2


def test_a_length_that_is_no_number_is_refused():
    class Broken(SequenceBC):
        sequence_length = 0
        Config = type("Config", (), {})

    with pytest.raises(UsageError, match="whole number from 1, found 0"):
        entry_of(Broken).sequence_length(object())


def test_what_batches_of_sequences_do_not_have_is_refused():
    class Both(SequenceBC):
        columns = staticmethod(lambda config: ("returns",))

    class Discrete(SequenceBC):
        action_space = "discrete"
        acts_on_history = True

    config = entry_of(Both).configure(SMALL, "a test")
    with pytest.raises(UsageError, match="expected no columns with batches of sequences"):
        entry_of(Both).build(config, Spec((5,), 2, (0,), torch.device("cpu")))
    with pytest.raises(UsageError, match="histories of discrete actions are not supported"):
        entry_of(Discrete).build(config, Spec((5,), 1, (0,), torch.device("cpu"), action_classes=3))
