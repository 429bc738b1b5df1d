"""The optional fields of batches, against loops over the transitions that are visible."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from synthetic import noise_dataset
from trainers import carry

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.data.stream import Stream
from seqeval_rl.errors import UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol, Schedule
from seqeval_rl.training.batch_sampler import draw_positions
from seqeval_rl.training.online import RUNNING, TERMINATED, TRUNCATED
from seqeval_rl.training.prequential import UNSEEN
from seqeval_rl.training.replay_buffer import Transitions, build_replay_buffer
from seqeval_rl.training.trainer import Run, Trainer
from seqeval_rl.training.visible_columns import VisibleColumns

ALL = ("next_actions", "returns", "ranks")
CPU = torch.device("cpu")


class Gathered:
    """Stands for the interaction of an online phase: what it has gathered so far."""

    def __init__(self, ends):
        self.ends = np.array(ends, np.uint8)


def expected_fields(rows, ends, terminals, arrival, visible, discount, scale):
    """By loops: rows [T, D] in episodes that end where `ends` says; which are visible follows from `arrival`."""
    seen = set(arrival[:visible].tolist())
    width = (rows.shape[1] - 2 - 2) // 2
    episodes, first = [], 0
    for i, end in enumerate(ends):
        if end:
            episodes.append(range(first, i + 1))
            first = i + 1
    episodes += [range(first, len(rows))] if first < len(rows) else []
    whole = [e for e in episodes if set(e) <= seen and ends[e[-1]]]
    sums = {e: sum(float(rows[i, width + 2]) for i in e) for e in whole}
    total = sum(map(len, whole))
    found = {}
    for e in episodes:
        for i in e:
            following = i + 1 in e and i + 1 in seen and not terminals[i]
            action = rows[i + 1, width : width + 2] if following else [math.nan] * 2
            value, weight, j = 0.0, 1.0, i
            known = True
            while True:
                known = known and j in seen
                value += weight * float(rows[j, width + 2])
                weight *= discount
                if terminals[j] or j + 1 not in e:
                    break
                j += 1
            known = known and (terminals[j] or (bool(ends[j]) and weight <= UNSEEN))
            better = sum(len(other) for other in whole if sums[other] > sums[e]) if e in whole else None
            found[i] = (action, scale * value if known else -math.inf, math.nan if better is None else better / total)
    return found


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    order=st.sampled_from(["shuffled", "episodes", "logged"]),
    online=st.lists(st.sampled_from([RUNNING, RUNNING, TERMINATED, TRUNCATED]), max_size=9),
    share=st.floats(0, 1),
    terminal=st.sets(st.integers(0, 34)),
    discount=st.sampled_from([0.3, 0.9]),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_fields_are_those_of_the_visible_transitions_alone(
    lengths, order, online, share, terminal, discount, seed
):  # fmt: skip
    log, other = noise_dataset(lengths, seed=seed, obs_dim=3, act_dim=2), noise_dataset([4], obs_dim=3, act_dim=2)
    rows = log.rows.copy()
    rows[[i for i in terminal if i < len(log)], 3 + 2 + 1] = 0  # also within an episode, as in antmaze
    log = replace(log, rows=rows)
    streams = [Stream("one", [log]), Stream("two", [other, log])]
    parts = [np.concatenate(stream.rows()) for stream in streams]
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((2 * len(online), parts[0].shape[1])).astype(np.float32)
    rows = np.concatenate([*parts, own])
    starts, gathered = [0, len(parts[0])], len(parts[0]) + len(parts[1]) + np.arange(2 * len(online)).reshape(2, -1)
    arrivals = [
        np.append(start + stream.arrival(order, seed + r), gathered[r])
        for r, (start, stream) in enumerate(zip(starts, streams, strict=True))
    ]
    replay = build_replay_buffer(Transitions(rows, None, arrivals), Spec((3,), 2, (0, 1), CPU))
    scales = np.array([1.0, 0.5])
    columns = VisibleColumns(ALL, streams, replay, [discount, discount], scales, Gathered([online] * 2))
    # A run's dataset is wholly visible before its online transitions are.
    visible = [len(stream) + len(online) if online else round(share * len(stream)) for stream in streams]
    for r, stream in enumerate(streams):
        columns.refresh(visible[r])
        local = np.append(starts[r] + np.arange(len(stream)), gathered[r])
        ends = [end for block in stream.blocks for end in marks(block.dataset)] + online
        terminals = [t for block in stream.blocks for t in block.dataset.terminations] + [
            e == TERMINATED for e in online
        ]
        place = {row: k for k, row in enumerate(local.tolist())}
        arrival = np.array([place[row] for row in arrivals[r].tolist()])
        wanted = expected_fields(rows[local], ends, terminals, arrival, visible[r], discount, scales[r])
        indices = torch.from_numpy(np.stack([local, local]))[:, : len(local)]
        found = {name: values[r] for name, values in columns(indices).items()}
        for k, (action, value, rank) in wanted.items():
            np.testing.assert_allclose(found["next_actions"][k], action, rtol=1e-6)
            np.testing.assert_allclose(found["returns"][k], value, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found["ranks"][k], rank, rtol=1e-6)


def marks(dataset):
    """Of each row, whether it is the last of an episode that is not cut by the dataset's end."""
    last = np.zeros(len(dataset), bool)
    last[dataset.episode_starts[1:] - 1] = True
    if dataset.cut:
        last[-1] = False
    return last.tolist()


def test_a_share_of_the_batches_of_an_online_phase_is_from_the_dataset():
    protocol = Protocol(initial=40, increment=1, batch_size=32, online=60)
    schedule = Schedule(protocol, 100)
    offline = np.concatenate([draw_positions(schedule, 0, chunk, share=0.25) for chunk in range(2)])[:60]
    for step, drawn in enumerate(offline):
        assert drawn.max() < 41 + step  # of what is visible, as without a share
    online = np.concatenate([draw_positions(schedule, 0, chunk, share=0.25) for chunk in range(2, 4)])
    for step, drawn in zip(range(64, 120), online, strict=False):
        assert (drawn[:8] < 100).all()
        assert ((drawn[8:] >= 100) & (drawn[8:] <= 40 + step)).all()
        assert drawn[-1] == 40 + step  # the newest
    for share in (0.0, 1.0):
        drawn = draw_positions(schedule, 0, 3, share=share)[:20, :-1]
        assert ((drawn < 100) == bool(share)).all()
    window = Schedule(protocol.model_copy(update={"window": 32}), 100)
    assert (draw_positions(window, 0, 3, share=0.5)[10:20] >= 100).all()  # the dataset has left the window


@pytest.mark.parametrize(("name", "settings"), [("cal_ql", {}), ("bc", {"best": 0.1})])
def test_a_shuffled_dataset_is_refused_for_what_needs_whole_episodes(name, settings):
    with pytest.raises(UsageError, match=r"protocol.order .* expected episodes or logged for .* found shuffled"):
        carry(name, settings=settings, protocol={"order": "shuffled"})
    stream, entry = Stream("made", [noise_dataset([60, 90, 155], seed=5)]), find_algorithm(name)
    config = entry.configure({**settings, "hidden": (8,)}, "test")
    protocol = Protocol(initial=100, batch_size=8, static=True, episodes=1)
    with Trainer([Run(stream, config, 0)], entry, protocol, CPU) as trainer:  # all of it is visible
        assert trainer.columns is not None


def test_the_share_of_the_best_episodes_is_cloned():
    """Of three visible episodes one alone is cloned; a resumed run clones the same."""
    settings = {"best": 0.1, "hidden": (8,)}
    found = carry("bc", settings=settings, protocol={"order": "logged"})
    metrics = found[-1][2]
    assert ((metrics["actor/cloned"] > 0) & (metrics["actor/cloned"] < 0.75)).all()
    resumed = carry("bc", settings=settings, protocol={"order": "logged"}, states=found[2][3], done=3)
    for mine, other in zip(found[3:], resumed, strict=True):
        for name, values in mine[2].items():
            np.testing.assert_array_equal(values, other[2][name])
    assert "actor/cloned" not in carry("bc")[-1][2]
    assert BC.columns(BC.Config()) == ()
