"""Prequential scores, and settings that use future data, against plain computations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from synthetic import noise_dataset

from seqeval_rl.data.stream import Stream
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.prequential import UNSEEN, observed_returns, recorded, return_complete
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")
SMALL = {
    "cql": {"hidden": (16, 16), "sampled_actions": 2},
    "awac": {"hidden": (16, 16), "actor_hidden": (16, 16)},
}


def make_trainer(name, stream, seeds=(0,), chosen=None, **protocol):
    entry = find_algorithm(name)
    config = entry.configure({**SMALL.get(name, {"hidden": (16, 16)}), **(chosen or {})}, "test")
    base = {"initial": 60, "batch_size": 8, "evaluate_every": 50, "episodes": 0}
    return Trainer([Run(stream, config, seed) for seed in seeds], entry, Protocol(**{**base, **protocol}), CPU)


def carry(one):
    found = []
    sequential_evaluation(one, None, lambda outcome: not found.append(outcome), lambda _: None)
    return found


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0.3, 1.0), st.integers(0, 99))
def test_observed_returns_are_sums_to_the_episodes_end(lengths, discount, seed):
    log = noise_dataset(lengths, seed=seed)
    rows = log.rows.copy()
    ends = np.cumsum(lengths) - 1
    terminal = ends[::2]
    rows[terminal, 11 + 3 + 1] = 0.0
    object.__setattr__(log, "rows", rows)
    returns, observed = observed_returns(Stream("x", [log, noise_dataset([5])]), discount)
    assert len(returns) == len(observed) == sum(lengths) + 5
    for t in range(sum(lengths)):
        end = int(ends[np.searchsorted(ends, t)])
        expected = sum(discount**k * log.rewards[t + k] for k in range(end - t + 1))
        assert returns[t] == pytest.approx(expected, rel=1e-4, abs=1e-4)
        if abs(discount ** (end - t + 1) - UNSEEN) > 1e-9:
            assert observed[t] == (end in terminal or discount ** (end - t + 1) <= UNSEEN)


def with_terminals(dataset, terminal):
    """The dataset with terminal states in these rows, also inside of episodes."""
    rows = dataset.rows.copy()
    rows[terminal, 11 + 3 + 1] = 0.0
    object.__setattr__(dataset, "rows", rows)
    return dataset


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.lists(st.integers(1, 12), max_size=3),
    st.floats(0.0, 0.5),
    st.integers(0, 99),
    st.sampled_from(["shuffled", "episodes", "logged"]),
)
def test_a_return_is_complete_when_the_last_of_its_rewards_has_arrived(first, second, share, seed, order):
    terminal = np.random.default_rng(seed).random(sum(first)) < share
    stream = Stream("x", [with_terminals(noise_dataset(first), terminal), *([noise_dataset(second)] if second else [])])
    arrival = stream.arrival(order, seed)
    position = np.argsort(arrival)
    ends = {*(np.cumsum([*first, *second]) - 1).tolist(), *np.flatnonzero(terminal).tolist()}
    expected = [position[t : min(end for end in ends if end >= t) + 1].max() for t in range(len(stream))]
    assert return_complete(stream, arrival).tolist() == expected


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(["shuffled", "episodes", "logged"]), st.integers(0, 99), st.integers(0, 2))
def test_nothing_that_arrives_after_the_scored_transitions_enters(order, seed, place):
    """Other rewards, actions and observations later on leave the scores up to then as they are."""
    lengths = [9, 4, 30, 7, 25, 3, 22]

    def scores(change):
        dataset = with_terminals(noise_dataset(lengths, seed=seed), np.cumsum(lengths)[::2] - 1)
        stream = Stream("x", [dataset])
        later = stream.arrival(order, seed)[stops[place] :]
        rows = dataset.rows.copy()
        rows[later, : 11 + 3 + 1] *= change
        rows[later, -11:] *= change
        object.__setattr__(dataset, "rows", rows)
        found = carry(
            make_trainer("td3_bc", stream, (seed,), {"discount": 0.9}, order=order, initial=25, evaluate_every=25)
        )
        assert [o.point.transitions for o in found] == [25, *stops]
        return [{key: value[0] for key, value in o.metrics.items() if key.startswith("prequential/")} for o in found]

    stops = [50, 75, 100]
    plain, changed = (scores(change) for change in (1.0, 0.5))
    assert plain[: place + 2] == changed[: place + 2]
    if place < 2:
        assert plain[place + 2] != changed[place + 2]
    if order == "logged":
        # A transition counts whose episode has ended in a terminal state by then, and no other.
        whole = sum(lengths[:3]), sum(lengths[:4]), sum(lengths[:5])
        assert plain[1]["prequential/value_count"] == whole[0] - 25
        assert whole[1] == 50


@pytest.mark.parametrize("name", ["td3_bc", "iql", "cql", "awac", "bc", "sac"])
def test_scores_are_means_over_the_next_transitions_by_the_policy_before_them(name):
    """Computed again from the algorithm's state at the previous evaluation point."""
    stream = Stream("made", [with_terminals(noise_dataset([150], seed=5), slice(2, None, 3))])
    one = make_trainer(name, stream, (3,), {"discount": 0.5} if name != "bc" else None)
    found = carry(one)
    assert [o.point.transitions for o in found] == [60, 100, 150]
    assert not any(key.startswith("prequential/") for key in found[0].metrics)
    for before, after in zip(found, found[1:], strict=False):
        agent = make_trainer(name, stream, (3,), {"discount": 0.5} if name != "bc" else None)
        # Statistics are refreshed after the scores: those in use then are of the previous evaluation point, or the initial ones.
        earlier = found[max(before.point.index - 1, 0)].states
        agent.load_states(before.states)
        agent.preprocessing.load_state_dict(earlier[0]["preprocessing"])
        arrival = stream.arrival("shuffled", 3)[before.point.transitions : after.point.transitions]
        rows = np.concatenate(stream.rows())[arrival]
        shift, scale = agent.preprocessing.shift, agent.preprocessing.scale
        seen = torch.from_numpy(rows)[None]
        seen = seen if shift is None else seen * scale + shift
        obs, act, reward, mask, following = seen.split([11, 3, 1, 1, 11], -1)
        algorithm = agent.algorithm
        metrics = {key: value[0] for key, value in after.metrics.items()}
        error = (algorithm.act(obs, None) - act).square().mean()
        assert metrics["prequential/action_error"] == pytest.approx(float(error), rel=1e-4)
        assert metrics["prequential/count"] == after.point.transitions - before.point.transitions
        assert ("prequential/nll" in metrics) == (name in ("iql", "awac", "cql", "sac"))
        if name == "bc":
            assert "prequential/td_error" not in metrics
            continue
        factor = 1.0 if scale is None else float(scale[0, 0, 14])
        q = algorithm.values(obs, act)[0] / factor
        ahead = algorithm.values(following, algorithm.act(following, None))[0] / factor
        delta = reward[0, :, 0] / factor + 0.5 * mask[0, :, 0] * ahead - q
        assert metrics["prequential/td_error"] == pytest.approx(float(delta.square().mean()), rel=1e-3)
        returns, observed = (part[arrival] for part in observed_returns(stream, 0.5))
        observed &= return_complete(stream, stream.arrival("shuffled", 3))[arrival] < after.point.transitions
        gap = (q.numpy() - returns)[observed]
        assert metrics["prequential/value_count"] == observed.sum() > 0
        assert metrics["prequential/value_gap"] == pytest.approx(float(gap.mean()), rel=1e-3, abs=1e-4)
        assert metrics["prequential/value_error"] == pytest.approx(float(np.square(gap).mean()), rel=1e-3)


def test_log_probabilities_integrate_to_one():
    """Of one action dimension, by a fine grid."""
    grid = torch.linspace(-1, 1, 40_001)[1:-1]
    for name, inside in (("cql", True), ("sac", True), ("iql", False)):
        stream = Stream("one", [noise_dataset([100], obs_dim=2, act_dim=1, seed=1)])
        algorithm = make_trainer(name, stream).algorithm
        wide = grid if inside else grid * 12
        observations = torch.zeros(1, len(wide), 2)
        density = algorithm.log_prob(observations, wide[None, :, None]).exp()
        assert float(torch.trapezoid(density[0], wide)) == pytest.approx(1.0, abs=0.01)


def test_scores_over_no_transition_are_not_recorded():
    metrics = {"critic/q": 1.0, "prequential/count": 5.0, "prequential/value_count": 0.0, "prequential/value_gap": 0.0}
    assert recorded(metrics) == {"critic/q": 1.0, "prequential/count": 5.0}
    assert recorded({"prequential/count": 0.0, "prequential/td_error": 0.0, "x": 2.0}) == {"x": 2.0}


def test_only_uses_future_data_looks_at_the_full_dataset():
    """Two logs with a common prefix: the rest changes nothing unless uses_future_data is set."""
    logs = [noise_dataset([100, 100], seed=5) for _ in range(2)]
    rows = logs[1].rows.copy()
    rows[150:, :15] *= 3.0
    object.__setattr__(logs[1], "rows", rows)
    for future in (False, True):
        found = [
            carry(
                make_trainer("td3_bc", Stream("x", [log]), order="logged", uses_future_data=future, evaluate_every=45)
            )
            for log in logs
        ]
        weights = [part[1].states[0]["algorithm"]["actor"]["net.weights.0"] for part in found]
        assert found[0][1].point.transitions == 90
        assert torch.equal(*weights) != future
    rewards = [
        make_trainer(
            "iql", Stream("x", [log]), uses_future_data=True, chosen={"return_range": 1000.0}
        ).preprocessing.scale[0, 0, 14]
        for log in logs
    ]
    for log, scale in zip(logs, rewards, strict=True):
        assert float(scale) == pytest.approx(1000.0 / np.ptp(log.episode_returns()), rel=1e-5)


def test_a_decaying_rate_is_half_a_cosine_of_the_actor_alone():
    stream = Stream("x", [noise_dataset([200], seed=5)])
    plain = carry(make_trainer("iql", stream))[-1].states[0]["algorithm"]
    steps = 140
    decayed = make_trainer("iql", stream, chosen={"decay_steps": steps})
    optimiser = decayed.algorithm.actor_optimiser
    weight = decayed.algorithm.actor.net.weights[0]
    moves = []
    for done in range(steps):
        before = weight.detach().clone()
        decayed.learner.train(done, done + 1, lambda _: None)
        moves.append(float((weight.detach() - before).abs().max()))
    assert float(optimiser.count) == steps
    # Adam moves a weight by about its rate: at most 3e-4 at first, next to nothing at the end.
    assert moves[0] == pytest.approx(3e-4, rel=0.01)
    assert max(moves[-3:]) < 3e-6
    assert plain.keys() != decayed.algorithm.state_dict().keys()


def test_the_static_control_trains_on_everything_from_the_start():
    stream = Stream("x", [noise_dataset([200], seed=5)])
    found = carry(make_trainer("bc", stream, static=True))
    sequential = carry(make_trainer("bc", stream))
    assert [o.point.gradient_steps for o in found] == [o.point.gradient_steps for o in sequential]
    assert {o.point.transitions for o in found} == {200}
    assert not any(key.startswith("prequential/") for outcome in found for key in outcome.metrics)
    assert any(key.startswith("prequential/") for outcome in sequential for key in outcome.metrics)
