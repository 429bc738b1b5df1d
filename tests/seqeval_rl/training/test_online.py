"""The online phase: complete runs on real environments, resumed, in groups and without a dataset."""

import gymnasium
import numpy as np
import pytest
import torch
import trouble
from synthetic import noise_dataset
from trainers import leaves

from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.online import TERMINATED, TRUNCATED, episode_seed
from seqeval_rl.training.trainer import Run, Trainer

PENDULUM = Task("pendulum", "InvertedPendulum-v5", 0.0, 1000.0)
CPU = torch.device("cpu")
SMALL = {"hidden": (16, 16)}
LOG = 120  # transitions


class FakeEvaluator:
    """Scores the greedy action in fixed states."""

    def __init__(self, runs, obs_dim):
        states = np.random.default_rng(0).standard_normal((1, 5, obs_dim)).astype(np.float32)
        self.states = np.repeat(states, runs, 0)

    def evaluate(self, act, evaluation):
        return act(self.states)


def log():
    return Stream("log", [noise_dataset([70, 50], obs_dim=4, act_dim=1, seed=3, task=PENDULUM)])


def no_dataset():
    return Stream("nothing", [], PENDULUM)


def make(name="td3_bc", stream=None, seeds=(0, 1), settings=None, **protocol):
    stream = log() if stream is None else stream
    entry = find_algorithm(name)
    config = entry.configure({**SMALL, **(settings or {})}, "test")
    base = {
        "initial": 40,
        "batch_size": 16,
        "evaluate_every": 30,
        "increment": 3,
        "updates_per_increment": 2,
        "online": 100,
    }
    runs = [Run(stream, config, seed) for seed in seeds]
    trainer = Trainer(runs, entry, Protocol(**{**base, **protocol}), CPU)
    return trainer


def carry(trainer, states=None, done=0, stop_after=None, evaluator=None):
    found = []

    def report(outcome):
        found.append(outcome)
        return stop_after is None or len(found) < stop_after

    if states is not None:
        trainer.load_states(states)
    evaluator = evaluator or FakeEvaluator(len(trainer.runs), trainer.runs[0].stream.obs_shape[0])
    sequential_evaluation(trainer, evaluator, report, lambda _: None, done)
    trainer.close()
    return found


def same(one, other):
    for a, b in zip(leaves(one), leaves(other), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["td3_bc", "sac", "iql"])
def test_one_axis_from_the_dataset_to_the_environment(name):
    found = carry(make(name))
    points = [(o.point.transitions, o.point.phase, o.point.env_steps, o.blocks[0]) for o in found]
    assert [t for t, *_ in points] == [40, 61, 91, 120, 150, 180, 210, 220]
    assert points[3][1:] == ("offline", 0, "made")
    assert points[4][1:] == ("online", 30, "online")
    assert found[-1].point.gradient_steps == 2 * (27 + 34)
    assert found[-1].states[0]["online"]["rows"].shape == (1, 100, 4 + 1 + 1 + 1 + 4)
    assert not np.array_equal(found[3].evaluation, found[-1].evaluation)


def test_what_was_gathered_is_what_the_environment_did():
    """Every transition, replayed from its episode's seed, and whether it ended in a terminal state or at a time limit."""
    found = carry(make("sac", no_dataset(), seeds=(7,), online=160, evaluate_every=1000))
    online = found[-1].states[0]["online"]
    rows, ends = online["rows"][0].numpy(), online["ends"][0].numpy()
    assert len(rows) == 160
    env = gymnasium.make("InvertedPendulum-v5")
    episode = 0
    seen = env.reset(seed=episode_seed(7, 0))[0]
    for row, end in zip(rows, ends, strict=True):
        np.testing.assert_array_equal(row[:4], seen.astype(np.float32))
        following, reward, terminated, truncated, _ = env.step(row[4:5] * np.float32(3.0))
        np.testing.assert_array_equal(row[7:], following.astype(np.float32))
        assert (row[5], row[6]) == (np.float32(reward), 0.0 if terminated else 1.0)
        assert end == (TERMINATED if terminated else TRUNCATED if truncated else 0)
        seen = following
        if end:
            episode += 1
            seen = env.reset(seed=episode_seed(7, episode))[0]
    env.close()
    assert episode > 3


def test_a_time_limit_never_masks_the_bootstrap():
    gymnasium.register("Short-v0", "gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=9)
    try:
        task = Task("short", "Short-v0", -100.0, 0.0)
        entry = find_algorithm("sac")
        protocol = Protocol(initial=10, batch_size=4, evaluate_every=100, online=40)
        stream = Stream("short", [], task)
        run = Run(stream, entry.configure(SMALL, "test"), 0)
        (_, last) = carry(Trainer([run], entry, protocol, CPU))
    finally:
        del gymnasium.registry["Short-v0"]
    online = last.states[0]["online"]
    assert np.flatnonzero(online["ends"][0].numpy()).tolist() == [8, 17, 26, 35]
    assert set(online["ends"][0].numpy()[[8, 17, 26, 35]]) == {TRUNCATED}
    assert (online["rows"][0, :, 3 + 1 + 1] == 1).all()


@pytest.mark.parametrize("stream", [log, no_dataset])
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_resuming_from_a_checkpoint_is_bit_identical(stream, cut, tmp_path):
    whole = carry(make("td3_bc", stream()))
    cut = min(cut, len(whole) - 1)
    first = carry(make("td3_bc", stream()), stop_after=cut)
    torch.save(first[-1].states, tmp_path / "states.pt")
    rest = carry(make("td3_bc", stream()), torch.load(tmp_path / "states.pt", weights_only=True), cut)
    parts = first[:cut] + rest
    assert len(parts) == len(whole)
    for one, other in zip(whole, parts, strict=True):
        assert one.point == other.point
        np.testing.assert_array_equal(one.evaluation, other.evaluation)
        for key, values in one.metrics.items():
            if key == "online/seconds":
                assert (values > 0).all()
            else:
                np.testing.assert_array_equal(values, other.metrics[key])
        same(one.states, other.states)


@pytest.mark.parametrize("stream", [log, no_dataset])
def test_a_run_of_a_group_is_as_alone(stream):
    together = carry(make("td3_bc", stream(), (0, 1, 2)))
    for r in range(3):
        for one, other in zip(together, carry(make("td3_bc", stream(), (r,))), strict=True):
            same(one.states[r], other.states[0])
    assert not torch.equal(together[-1].states[0]["online"]["rows"], together[-1].states[1]["online"]["rows"])


def test_without_a_dataset_the_first_transitions_are_uniform_and_come_before_any_update():
    first = carry(make("sac", no_dataset(), (3,), online=400, initial=300), stop_after=1)[0]
    assert (first.point.transitions, first.point.gradient_steps, first.point.phase) == (300, 0, "online")
    actions = first.states[0]["online"]["rows"][0, :, 4].numpy()
    assert abs(actions).max() <= 1
    assert np.histogram(actions, 4, (-1, 1))[0].min() > 50


def test_exploration_is_the_algorithms_own():
    """TD3+BC without noise takes its greedy action in each state online."""
    found = carry(make("td3_bc", log(), (0,), updates_per_increment=1, online=3, settings={"exploration_noise": 0.0}))
    before, after = found[-2], found[-1]
    trainer = make("td3_bc", log(), (0,), updates_per_increment=1, online=3)
    trainer.load_states(before.states)
    rows = after.states[0]["online"]["rows"][0].numpy()
    np.testing.assert_allclose(trainer.learner.act(rows[None, :1, :4])[0], rows[:1, 4:5], atol=1e-6)
    trainer.close()


def test_a_real_evaluation():
    stream = log()
    entry = find_algorithm("bc")
    protocol = Protocol(initial=100, batch_size=16, evaluate_every=50, online=60, episodes=2)
    with Evaluator(PENDULUM, (0,), 2, workers=1) as evaluator:
        trainer = Trainer([Run(stream, entry.configure(SMALL, "test"), 0)], entry, protocol, CPU)
        found = carry(trainer, evaluator=evaluator)
    assert [o.evaluation.scores.shape for o in found] == [(1, 2)] * 4
    assert [o.point.transitions for o in found] == [100, 120, 150, 180]
    assert np.isfinite(found[-1].metrics["online/return"]).all()


def troubled_runs(seeds, **settings):
    """A trainer without a dataset in an environment with trouble, see `trouble.Trouble`."""
    task = Task("trouble", trouble.register(low=-1.0, high=1.0, **settings), 0.0, 5.0)
    return make("sac", Stream("online", [], task), seeds, initial=20, online=80, evaluate_every=20)


@pytest.mark.parametrize("at", ["reset", "step"])
def test_an_environment_that_raises_ends_its_run_alone(registry, at):
    """A run fails in its first episode whose seed is a multiple of `every`."""
    every, seeds = 12, (0, 1, 2, 3)
    episodes = {seed: [episode_seed(seed, episode) % every == 0 for episode in range(17)] for seed in seeds}
    bad = {r for r, seed in enumerate(seeds) if any(episodes[seed])}
    assert 0 < len(bad) < len(seeds)
    together = carry(troubled_runs(seeds, at=at, every=every))
    last = together[-1]
    assert set(last.failures) == set(last.tracebacks) == bad
    for r in range(len(seeds)):
        if r in bad:
            assert "ArithmeticError: the pole has fallen (" in last.failures[r]
            episode = episodes[seeds[r]].index(True)
            assert (
                f") in the online phase, episode {episode} at time index {0 if at == 'reset' else 1}"
                in last.failures[r]
            )
            assert last.failures[r].endswith(f"(environment seed {episode_seed(seeds[r], episode)})")
            assert "trouble.py" in last.tracebacks[r]
        else:
            gymnasium.registry.pop("test/Trouble-v0")
            alone = carry(troubled_runs((seeds[r],), at=at, every=every))
            assert not alone[-1].failures
            same(last.states[r], alone[-1].states[0])
    assert all(np.isfinite(values).all() for name, values in last.metrics.items() if not name.startswith("online/"))


def test_a_reward_that_is_not_finite_fails_its_run(registry):
    last = carry(troubled_runs((0,), returns={"reward": np.nan}))[-1]
    where = f"in the online phase, episode 0 at time index 0 (environment seed {episode_seed(0, 0)})"
    assert last.failures == {0: f"non-finite reward or observation from the environment {where}"}
    assert last.tracebacks == {}
    assert np.isfinite(last.states[0]["online"]["rows"].numpy()).all()


def test_an_environment_that_does_not_repeat_itself_fails_its_run_when_it_is_resumed(registry):
    first = carry(troubled_runs((0, 1)), stop_after=2)
    states = first[-1].states
    states[1]["online"]["rows"][0, -1, -2] += 1.0
    states[1]["online"]["ends"][0, -1] = 0
    states[0]["online"]["ends"][0, -1] = 0
    gymnasium.registry.pop("test/Trouble-v0")
    trainer = troubled_runs((0, 1))
    trainer.load_states(states)
    assert set(trainer.environment_failures()[0]) == {1}
    assert "replaying the running episode gives observations other than before" in trainer.environment_failures()[0][1]
    trainer.close()


def test_the_online_phase_has_a_time_limit(registry):
    task = Task("trouble", trouble.register(max_episode_steps=None, length=-1), 0.0, 5.0)
    (_, last) = carry(
        make("sac", Stream("x", [], task), (0,), initial=10, online=40, evaluate_every=100, max_episode_steps=8)
    )
    assert np.flatnonzero(last.states[0]["online"]["ends"][0].numpy()).tolist() == [7, 15, 23, 31, 39]


def test_wrong_shapes_and_tasks_without_an_environment_are_refused():
    with pytest.raises(DataError, match="shapes"):
        make("bc", Stream("log", [noise_dataset([120], task=PENDULUM)]))
    with pytest.raises(DataError, match="without one"):
        make("bc", Stream("log", [noise_dataset([120], task=Task("x", None, 0.0, 1.0))]))
    with pytest.raises(UsageError, match="dataset, or a task"):
        Stream("none", [])
    with pytest.raises(DataError, match=r"initial = 100, found 100 of protocol\.online"):
        make("sac", no_dataset(), initial=100)


def test_streams_of_different_lengths_do_not_go_online_together():
    config = find_algorithm("bc").configure(SMALL, "test")
    streams = [Stream("a", [noise_dataset([60])]), Stream("b", [noise_dataset([70])])]
    assert streams[0].task == TASKS["hopper"]
    with pytest.raises(ValueError, match="equal lengths"):
        Trainer(
            [Run(stream, config, 0) for stream in streams], find_algorithm("bc"),
            Protocol(initial=40, batch_size=8, online=10), CPU,
        )  # fmt: skip
