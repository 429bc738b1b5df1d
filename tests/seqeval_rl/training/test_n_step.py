"""n-step transitions: of one episode, of what is visible, with masks that hold the powers of the discount."""

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from recorder import recorded
from synthetic import noise_dataset
from trainers import EXACT, assert_same, carry

from seqeval_rl.algorithms.rebrac import ReBRAC, ReBRACConfig
from seqeval_rl.algorithms.td3_bc import TD3BC, TD3BCConfig
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.images import of_trails
from seqeval_rl.data.packed_rows import PackedRows
from seqeval_rl.data.stream import Stream
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.batch_sampler import CHUNK, BatchSampler, draw_positions
from seqeval_rl.training.n_step import NStepTransitions
from seqeval_rl.training.replay_buffer import Transitions, build_replay_buffer
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")
GAMMA = 0.5


def numbered(lengths, terminal, images=False):
    """A dataset whose observations and rewards are the numbers of its transitions; `terminal` [episodes] say which terminate."""
    total = sum(lengths)
    numbers = np.arange(total, dtype=np.float32)
    ends = np.zeros(total, bool)
    ends[np.cumsum(lengths) - 1] = True
    terminations = ends & np.repeat(terminal, lengths)
    if images:
        # A frame more than transitions in each episode, numbered alike: that after the last transition has the next number.
        frames = np.concatenate(
            [np.arange(n + 1) + first for n, first in zip(lengths, np.cumsum([0, *lengths]), strict=False)]
        )
        seen = of_trails(np.tile(frames.astype(np.uint8)[:, None, None, None], (1, 1, 2, 2)), np.array(lengths) + 1, 2)
        columns = {"observations": seen}
    else:
        columns = {"observations": numbers[:, None], "next_observations": numbers[:, None] + 1}
    raw = RawTransitions(
        actions=np.tanh(numbers / total)[:, None], rewards=numbers, terminations=terminations,
        truncations=ends & ~terminations, **columns,
    )  # fmt: skip
    return Dataset.from_arrays("numbered", TASKS["hopper"], raw)


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    n=st.integers(2, 5),
    order=st.sampled_from(["shuffled", "episodes", "logged"]),
    initial=st.integers(1, 40),
    increment=st.integers(1, 9),
    extra=st.none() | st.integers(0, 20),
    images=st.booleans(),
    chunk=st.integers(0, 1),
    seed=st.integers(0, 3),
)
def test_rewards_are_added_up_over_the_visible_transitions_of_the_episode(
    lengths, n, order, initial, increment, extra, images, chunk, seed
):
    total = sum(lengths)
    if total < 3:
        return
    terminal = np.random.default_rng(seed).random(len(lengths)) < 0.5
    protocol = Protocol(
        initial=min(initial, total - 1), increment=increment, batch_size=6, order=order,
        window=None if extra is None else 6 + extra,
    )  # fmt: skip
    data = numbered(lengths, terminal, images)
    stream = Stream("numbered", [data])
    arrivals = [stream.arrival(order, run) for run in (0, 1)]
    spec = Spec(data.obs_shape, 1, (0, 1), CPU)
    replay = build_replay_buffer(Transitions(PackedRows(stream.rows()), data.pixels, arrivals), spec)
    schedule = Schedule(protocol, total)
    made = NStepTransitions(n, replay, [stream] * 2, torch.tensor([GAMMA, 0.25]))
    batches = BatchSampler(replay, [schedule] * 2, (0, 1), 2, made)
    # Terminal rows may be inside of an episode, where the next row continues.
    last = np.repeat(data.episode_starts[1:] - 1, np.diff(data.episode_starts))
    start = min(chunk * CHUNK, schedule.gradient_steps - 1)
    scale = torch.ones(2, 1, replay.host.shape[1])
    scale[..., replay.obs_columns + 1] = 2.0  # of rewards
    given = (None, None) if seed % 2 else (torch.zeros_like(scale), scale)
    for g, batch in enumerate(
        chain.from_iterable(batches.between(start, min(start + 4, schedule.gradient_steps), *given)), start
    ):
        low, high = (int(bound[0]) for bound in schedule.window(np.array([g])))
        assert batch.noise.shape == (2, 6, 2)
        for r, (arrival, gamma) in enumerate(zip(arrivals, (GAMMA, 0.25), strict=True)):
            position = np.empty(total, int)
            position[arrival] = np.arange(total)
            drawn = arrival[draw_positions(schedule, r, g // CHUNK)[g % CHUNK]]  # as without
            for b, row in enumerate(drawn):
                end = row
                while end < min(last[row], row + n - 1) and low <= position[end + 1] < high:
                    end += 1
                rewards, weight = 0.0, 1.0
                for i in range(row, end + 1):
                    rewards += weight * i
                    mask, weight = weight * (not data.terminations[i]), weight * gamma * (not data.terminations[i])
                assert batch.rewards[r, b] == pytest.approx((1 if seed % 2 else 2) * rewards)
                assert batch.masks[r, b] == pytest.approx(mask)
                seen, after = (column[r, b].flatten()[-1] for column in (batch.observations, batch.next_observations))
                assert (int(seen), int(after)) == (row, end + 1)
                assert batch.actions[r, b] == pytest.approx(np.tanh(row / total), abs=1e-6)


@dataclass(frozen=True)
class LongerConfig(TD3BCConfig):
    n_step: int = 3


class Longer(TD3BC):
    """TD3+BC with n-step returns: the setting alone."""

    Config = LongerConfig
    name = "Longer"


@pytest.mark.parametrize("order", ["shuffled", "episodes"])
def test_a_setting_is_all_that_an_algorithm_needs(order):
    entry = replace(find_algorithm("td3_bc"), algorithm=Longer)
    options = {
        "entry": entry,
        "protocol": {"order": order, "increment": 4, "evaluate_every": 80},
        "settings": {"hidden": (8, 8), "normalise_observations": True},
    }
    eager = carry("td3_bc", **options)
    assert_same(carry("td3_bc", capture=recorded, **options), eager, **EXACT)
    assert_same(carry("td3_bc", states=eager[1][3], done=2, **options), eager[2:], **EXACT)
    one = {**options, "settings": {**options["settings"], "n_step": 1}}
    same = carry("td3_bc", protocol=options["protocol"], settings={"hidden": (8, 8), "normalise_observations": True})
    assert_same(carry("td3_bc", **one), same, **EXACT)
    assert (eager[-1][2]["critic/loss"] != same[-1][2]["critic/loss"]).all()


def test_episodes_of_an_online_phase_are_told_apart(monkeypatch):
    entry = replace(find_algorithm("td3_bc"), algorithm=Longer)
    config = entry.configure({"hidden": (8,), "exploration_noise": 0.5}, "test")
    stream = Stream("made", [noise_dataset([40, 60], seed=1)])
    protocol = Protocol(initial=50, batch_size=32, online=150, evaluate_every=500, episodes=1, max_episode_steps=20)
    with Trainer([Run(stream, config, 0)], entry, protocol, CPU) as trainer:
        total, steps = len(stream) + 150, trainer.schedules[0].gradient_steps
        for increments in (range(1, 51), *(range(i, i + 1) for i in range(51, 201))):
            trainer.reveal(increments)
            trainer.update(increments, lambda _: None)
        host, column = trainer.learner.batches.replay.host, 11 + 3
        rows = host[np.arange(total)]
        ends = trainer.interaction.ends[0]
        firsts = np.append(0, np.flatnonzero(ends) + 1) + len(stream)
        assert len(firsts) > 5
        ((batch,),) = trainer.learner.batches.between(steps - 1, steps, None, None)
        drawn = trainer.learner.batches.replay.arrivals[0][
            draw_positions(trainer.schedules[0], 0, (steps - 1) // CHUNK)
        ]
        for b, row in enumerate(drawn[(steps - 1) % CHUNK]):
            bounds = np.concatenate([[0, 40, 100], firsts, [total]])
            end = min(row + 2, int(bounds[bounds > row].min()) - 1)
            expected = sum(0.99**k * rows[i, column] for k, i in enumerate(range(row, end + 1)))
            assert float(batch.rewards[0, b]) == pytest.approx(float(expected), rel=1e-5, abs=1e-6)
            np.testing.assert_allclose(batch.next_observations[0, b], rows[end, column + 2 :], rtol=1e-6)


def test_what_cannot_be_combined_is_refused():
    @dataclass(frozen=True)
    class Config(ReBRACConfig):
        n_step: int = 3

    algorithm = type("Other", (ReBRAC,), {"Config": Config})
    entry = replace(find_algorithm("rebrac"), algorithm=algorithm)
    with pytest.raises(UsageError, match=r"rebrac\.n_step: expected 1 with `columns` or `sequence_length`.* found 3"):
        entry.build(Config(), Spec((3,), 2, (0,), CPU))
    with pytest.raises(UsageError, match=r"rebrac\.n_step: expected a whole number from 1, found 0"):
        entry.build(Config(n_step=0), Spec((3,), 2, (0,), CPU))
