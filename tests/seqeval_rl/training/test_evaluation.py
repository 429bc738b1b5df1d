"""Evaluations: whole first episodes, equal starts for all algorithms, failures that stay with their run."""

import json
import re
import sys
import textwrap
import threading
from importlib.resources import files

import gymnasium
import numpy as np
import pytest
import trouble

from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.spaces import open_environment
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.training.evaluation import Evaluator, episode_seed

# Everything about an episode follows from its seed: it lasts 1 + seed % 7 and pays 2**24, then each action as it is.
COUNTING = """
    import gymnasium, numpy as np

    class Counting(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 2), np.float64)
        action_space = gymnasium.spaces.Box(-2.0, 4.0, (1,), np.float64)

        def __init__(self, trouble=""):
            self.trouble = trouble

        def reset(self, *, seed=None, options=None):
            self.seed, self.t, self.over = seed, 0, False
            return self.observe(), {}

        def observe(self):
            bad = self.trouble == "observation" and self.t == 2
            return np.array([[self.t, self.seed], [0.0, np.nan if bad else 0.0]])

        def step(self, action):
            assert not self.over, "stepped after the end of an episode"
            self.t += 1
            self.over = self.t == 1 + self.seed % 7 and self.trouble != "endless"
            reward = float(action[0]) + (2.0**24 if self.t == 1 else 0.0)
            return self.observe(), np.inf if self.trouble == "reward" else reward, self.over, False, {}

    for name in ("counting", "observation", "reward", "endless"):
        gymnasium.register(f"{name}-v0", "counting:Counting", kwargs={"trouble": name})
"""


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """Makes the task of an environment in module `counting`."""
    (tmp_path / "counting.py").write_text(textwrap.dedent(COUNTING))
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(gymnasium.registry)
    yield lambda name="counting": Task(name, f"counting:{name}-v0", 0.0, 2.0**24)
    sys.modules.pop("counting", None)
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def constant(value):
    return lambda observations: np.full((*observations.shape[:2], 1), value, np.float32)


def expected_lengths(seeds, episodes, evaluation):
    return np.array([[1 + episode_seed(s, evaluation, e) % 7 for e in range(episodes)] for s in seeds])


@pytest.mark.parametrize("workers", [1, 2])
def test_returns_lengths_and_scores_of_the_first_episodes(counting, workers):
    task = counting()
    with Evaluator(task, (3, 8), 5, workers=workers) as evaluator:
        for evaluation in (0, 1):
            found = evaluator.evaluate(constant(0.5), evaluation)
            lengths = expected_lengths((3, 8), 5, evaluation)
            assert lengths.min() < lengths.max()
            np.testing.assert_array_equal(found.lengths, lengths)
            # 0.5 of [-1, 1] is 2.5 of [-2, 4]; a float32 sum would lose the halves next to 2**24.
            np.testing.assert_array_equal(found.returns, 2.0**24 + 2.5 * lengths)
            np.testing.assert_array_equal(found.scores, task.score(found.returns))
            assert found.env_steps == lengths.sum()
            assert found.failures == {}
            assert found.seconds > 0
            assert (found.returns.dtype, found.lengths.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize("workers", [1, 2])
def test_evaluations_at_the_same_time_are_those_of_one_after_the_other(counting, workers):
    """Each policy goes on only when both evaluations have begun, so that they would mix steps in shared environments."""
    meet = threading.Barrier(2, timeout=60)

    def waiting(value):
        def act(observations):
            if (observations[:, :, 0, 0] == 0).all():
                meet.wait()
            return constant(value)(observations)

        return act

    with Evaluator(counting(), (3, 8), 5, workers=workers) as evaluator:
        alone = [evaluator.evaluate(constant(value), evaluation) for evaluation, value in enumerate((0.5, -0.25))]
        for _ in range(2):
            pending = [evaluator.begin(waiting(value), evaluation) for evaluation, value in enumerate((0.5, -0.25))]
            for one, other in zip(pending, alone, strict=True):
                np.testing.assert_array_equal(one.result(60).returns, other.returns)
                np.testing.assert_array_equal(one.result(60).lengths, other.lengths)


def test_episode_seeds_are_fixed_and_distinct():
    # Written down, so that no change of the code moves the starts of published evaluations.
    assert [episode_seed(0, 0, 0), episode_seed(0, 0, 1), episode_seed(0, 1, 0), episode_seed(1, 0, 0)] == [
        1186209859,
        280096177,
        664829065,
        384383965,
    ]
    many = {episode_seed(s, v, e) for s in range(5) for v in range(40) for e in range(10)}
    assert len(many) == 2000
    assert min(many) >= 0
    assert max(many) < 2**31


def test_algorithms_meet_the_same_starts(counting):
    starts = []

    def watching(value):
        def act(observations):
            if (observations[:, :, 0, 0] == 0).all():
                starts.append(observations[:, :, 0, 1].copy())
            return constant(value)(observations)

        return act

    with Evaluator(counting(), (0, 1), 4, workers=1) as evaluator:
        for value, evaluation in ((-1.0, 6), (1.0, 6), (1.0, 7)):
            evaluator.evaluate(watching(value), evaluation)
    wanted = [[episode_seed(s, 6, e) for e in range(4)] for s in (0, 1)]
    np.testing.assert_array_equal(starts[0], np.float32(wanted))
    np.testing.assert_array_equal(starts[0], starts[1])
    assert not np.intersect1d(starts[1], starts[2]).size


def test_a_run_has_the_same_scores_in_any_group():
    act = policy("hopper")
    with Evaluator(TASKS["hopper"], (0, 1, 2), 2, "gymnasium", 1) as evaluator:
        together = evaluator.evaluate(act, 3)
    with Evaluator(TASKS["hopper"], (1,), 2, "gymnasium", 2) as evaluator:
        alone = evaluator.evaluate(act, 3)
    np.testing.assert_allclose(together.returns[1], alone.returns[0], rtol=1e-3)
    np.testing.assert_array_equal(together.lengths[1], alone.lengths[0])
    assert not np.array_equal(together.returns[0], together.returns[1])


@pytest.mark.parametrize(
    ("value", "what"),
    [(np.nan, "non-finite action"), (-np.inf, "non-finite action"), (1.5, "action outside [-1, 1]")],
)
def test_a_bad_action_fails_its_run_alone(counting, value, what):
    seeds, episodes = (0, 1, 2), 4
    lengths = expected_lengths(seeds, episodes, 0)
    episode = int(lengths[1].argmax())
    assert lengths[1, episode] > 3

    def act(observations):
        actions = constant(0.0)(observations)
        if observations[1, episode, 0, 0] == 2:
            actions[1, episode] = value
        return actions

    with Evaluator(counting(), seeds, episodes, workers=1) as evaluator:
        sound = evaluator.evaluate(constant(0.0), 0)
        found = evaluator.evaluate(act, 0)
        where = (
            f"in evaluation episode {episode} at time index 2 (environment seed {episode_seed(seeds[1], 0, episode)})"
        )
        assert found.failures == {1: f"{what} {where}"}
        np.testing.assert_array_equal(found.returns[[0, 2]], sound.returns[[0, 2]])
        np.testing.assert_array_equal(found.lengths[[0, 2]], lengths[[0, 2]])
        assert np.isnan(found.returns[1]).all()
        assert np.isnan(found.scores[1]).all()
        np.testing.assert_array_equal(found.lengths[1], np.minimum(lengths[1], 2))
        assert found.env_steps == found.lengths.sum()
        # The evaluator itself is as good as new.
        np.testing.assert_array_equal(evaluator.evaluate(constant(0.0), 0).returns, sound.returns)


def test_every_run_failed_ends_the_evaluation(counting):
    with Evaluator(counting(), (0, 1), 3, workers=1) as evaluator:
        found = evaluator.evaluate(constant(np.nan), 0)
    assert set(found.failures) == {0, 1}
    assert found.env_steps == 0
    assert np.isnan(found.scores).all()


@pytest.mark.parametrize("name", ["observation", "reward"])
def test_what_is_not_finite_in_the_environment_fails_the_run(counting, name):
    with Evaluator(counting(name), (0,), 6, workers=1) as evaluator:
        found = evaluator.evaluate(constant(0.0), 0)
    assert found.failures[0].startswith("non-finite reward or observation from the environment in evaluation episode")
    assert f" at time index {2 if name == 'observation' else 1} (environment seed " in found.failures[0]
    assert np.isnan(found.returns).all()


def test_rounding_beyond_the_bounds_is_clipped(counting):
    with Evaluator(counting(), (0,), 3, workers=1) as evaluator:
        found = evaluator.evaluate(constant(1.0 + 5e-5), 0)
    np.testing.assert_array_equal(found.returns, 2.0**24 + 4.0 * found.lengths)


def test_actions_of_another_shape_are_a_fault_of_the_algorithm(counting):
    with (
        Evaluator(counting(), (0, 1), 3, workers=1) as evaluator,
        pytest.raises(ValueError, match=r"\(2, 3, 1\), found \(2, 3\)"),
    ):
        evaluator.evaluate(lambda observations: np.zeros((2, 3)), 0)


@pytest.mark.parametrize(("limit", "expected"), [(30, 30), (None, 1000)])
def test_an_episode_without_end_is_cut(counting, limit, expected):
    with Evaluator(counting("endless"), (0,), 1, workers=1, max_episode_steps=limit) as evaluator:
        found = evaluator.evaluate(constant(0.0), 0)
    assert (found.lengths == expected).all()
    assert found.failures == {}
    np.testing.assert_array_equal(found.returns, 2.0**24 + expected)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("at", ["reset", "step"])
def test_an_environment_that_raises_fails_its_run_alone(registry, at, workers):
    """A run fails whose environment is reset with a seed that is a multiple of 40."""
    seeds, episodes, every = tuple(range(8)), 3, 40
    starts = np.array([[episode_seed(seed, 0, e) for e in range(episodes)] for seed in seeds])
    bad = (starts % every == 0).any(1)
    assert 0 < bad.sum() < len(seeds)
    task = Task("trouble", trouble.register(at=at, every=every), 0.0, 5.0)
    with Evaluator(task, seeds, episodes, workers=workers) as evaluator:
        found = evaluator.evaluate(constant(0.0), 0)
    assert set(found.failures) == set(found.tracebacks) == set(np.flatnonzero(bad).tolist())
    np.testing.assert_array_equal(found.returns[~bad], 5.0)
    assert np.isnan(found.returns[bad]).all()
    run = int(np.flatnonzero(bad)[0])
    episode = int(np.flatnonzero(starts[run] % every == 0)[0])
    assert re.fullmatch(
        r"environment 'test/Trouble-v0': ArithmeticError: the pole has fallen \(.*trouble\.py, line \d+\) in evaluation "
        rf"episode {episode} at time index {2 if at == 'step' else 0} \(environment seed {starts[run][episode]}\)",
        found.failures[run],
    )
    assert "trouble.py" in found.tracebacks[run]


def policy(task):
    """The mean action of the medium behavior policy, [..., obs] -> [..., act]."""
    folder = files("seqeval_rl.data") / "bundled_policies"
    checkpoint = json.loads((folder / "levels.json").read_text())[task]["medium"][0]
    with (folder / task / f"{checkpoint}.npz").open("rb") as file, np.load(file) as arrays:
        w0, b0, w1, b1, w2, b2 = (arrays[name].astype(np.float32) for name in ("w0", "b0", "w1", "b1", "w2", "b2"))

    def act(observations):
        hidden = np.maximum(np.maximum(observations @ w0 + b0[0], 0) @ w1 + b1[0], 0)
        mean, _ = np.split(hidden @ w2 + b2[0], 2, axis=-1)
        return np.tanh(mean)

    return act


@pytest.mark.parametrize("name", ["hopper", "halfcheetah", "walker2d"])
def test_envpool_and_gymnasium_agree_transition_by_transition(name):
    """From the same state, the same actions lead to the same place, up to the rounding that chaos blows up later."""
    pytest.importorskip("envpool")
    act, env_id = policy(name), TASKS[name].env_id
    compared = 0
    with make_vector_env(env_id, 3, "envpool", 1) as envs, open_environment(env_id) as single:
        for env, observation in enumerate(envs.reset([1, 2, 3])):
            single.reset(seed=0)
            positions = single.unwrapped.model.nq
            # The observation is the whole state, but for the place along the track, which nothing depends on.
            state = np.concatenate([[0.0], observation])
            single.unwrapped.set_state(state[:positions], state[positions:])
            for _ in range(20 if name == "halfcheetah" else 150):
                action = act(observation).astype(np.float64)
                (observation,), reward, *ends = envs.step(action[None], np.array([env]))
                other, other_reward, *other_ends, _ = single.step(action)
                np.testing.assert_allclose(observation, other, atol=1e-6)
                np.testing.assert_allclose(reward, other_reward, atol=1e-5)  # envpool's rewards are float32
                assert ends == other_ends
                compared += 1
    assert compared >= 60


@pytest.mark.parametrize("name", ["hopper", "halfcheetah", "walker2d"])
def test_envpool_and_gymnasium_agree_in_distribution(name):
    """The same policy's returns and lengths from each backend's own starts: two samples of one distribution."""
    pytest.importorskip("envpool")
    from scipy.stats import ks_2samp

    found = {}
    for backend in ("envpool", "gymnasium"):
        with Evaluator(TASKS[name], (0, 1, 2), 20, backend, 1) as evaluator:
            assert evaluator.backend == backend
            found[backend] = evaluator.evaluate(policy(name), 0)
    for column in ("returns", "lengths"):
        one, other = (getattr(found[backend], column).ravel() for backend in ("envpool", "gymnasium"))
        assert ks_2samp(one, other).pvalue > 0.01
        error = np.sqrt(one.var(ddof=1) / one.size + other.var(ddof=1) / other.size)
        assert abs(one.mean() - other.mean()) <= 4 * error
    assert found["gymnasium"].lengths.max() <= 1000


def test_where_the_measure_is_success_the_score_is_100_for_each_episode_that_ends_in_a_terminal_state(counting):
    """OGBench's environments end at the goal; their returns do not tell success from failure."""
    counting()
    gymnasium.register("limited-v0", "counting:Counting", max_episode_steps=3)
    task = Task("goal", "limited-v0", 0.0, 1.0, success=True)
    with Evaluator(task, [0, 1], episodes=5) as evaluator:
        found = evaluator.evaluate(lambda observations: np.zeros((2, 5, 1)), 0)
    lasting = np.array([[1 + episode_seed(seed, 0, episode) % 7 for episode in range(5)] for seed in (0, 1)])
    np.testing.assert_array_equal(found.lengths, np.minimum(lasting, 3))
    np.testing.assert_array_equal(found.scores, np.where(lasting <= 3, 100.0, 0.0))
    assert 0 < found.scores.mean() < 100
    assert (found.returns > 1e6).all()
