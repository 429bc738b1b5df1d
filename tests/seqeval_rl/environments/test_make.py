"""Vector environments: every backend steps exactly the named copies, by seed, and says clearly what it cannot open."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap

import gymnasium
import numpy as np
import pytest

from seqeval_rl.environments.make import make_vector_env, worthwhile_workers
from seqeval_rl.environments.rendering import opened_with_pictures, picture
from seqeval_rl.environments.returned import attempt
from seqeval_rl.environments.spaces import environment_spaces
from seqeval_rl.errors import DataError, EnvironmentMissingError, RunError, UsageError

BACKENDS = [
    ("gymnasium", 1),
    ("gymnasium", 2),
    pytest.param(
        "envpool",
        2,
        marks=pytest.mark.skipif(importlib.util.find_spec("envpool") is None, reason="envpool is not installed"),
    ),
]

# A third party's module: its environment says when it is stepped too often, prints, raises or ends its process.
CROWD = """
    import os, sys
    import gymnasium, numpy as np

    class Crowd(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        action_space = gymnasium.spaces.Box(np.array([-2.0, 0.0]), np.array([4.0, 1.0]), dtype=np.float64)

        def __init__(self, trouble=""):
            self.trouble = trouble

        def observe(self):
            return np.array([self.t, self.start, os.getpid()])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t, self.start, self.over = 0, self.np_random.random(), False
            return self.observe(), {}

        def close(self):
            print("an environment that is closed", file=sys.stderr)

        def step(self, action):
            print("an environment that talks")
            if self.trouble == "raises":
                raise ArithmeticError("the pole has fallen")
            if self.trouble == "exits":
                os._exit(3)
            assert not self.over, "stepped after the end of an episode"
            self.t += 1
            self.over = self.t >= 5
            return self.observe(), float(action[0]), self.over, False, {}

    for name, keywords in (("Crowd", {}), ("Raises", {"trouble": "raises"}), ("Exits", {"trouble": "exits"})):
        gymnasium.register(f"test/{name}-v0", "crowd:Crowd", max_episode_steps=20, kwargs=keywords)
"""


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    """The directory of module `crowd`, which is importable here."""
    (tmp_path / "crowd.py").write_text(textwrap.dedent(CROWD))
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(gymnasium.registry)
    yield tmp_path
    sys.modules.pop("crowd", None)
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def test_a_missing_package_of_gymnasiums_is_named_with_its_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("gymnasium.envs.box2d", "Box2D"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(
        EnvironmentMissingError, match=r"'LunarLander-v3': needs Box2D.*pip install 'seqeval-rl\[box2d\]'"
    ):
        environment_spaces.__wrapped__("LunarLander-v3")
    monkeypatch.setitem(sys.modules, "pygame", None)
    missing = r"'CartPole-v1': cannot be rendered: it needs pygame.*pip install 'seqeval-rl\[video\]'"
    with opened_with_pictures("CartPole-v1") as env:
        env.reset(seed=0)
        with pytest.raises(EnvironmentMissingError, match=missing):
            picture(env)


@pytest.mark.parametrize(("backend", "workers"), BACKENDS)
def test_equal_seeds_give_equal_starts(backend, workers):
    with make_vector_env("Hopper-v5", 3, backend, workers) as envs:
        first = envs.reset([5, 6, 5])
        again = envs.reset([6, 5, 7])
        assert envs.backend == backend
    assert (envs.obs_shape, envs.act_dim, envs.max_episode_length) == ((11,), 3, 1000)
    np.testing.assert_array_equal(envs.action_low, [-1, -1, -1])
    np.testing.assert_array_equal(envs.action_high, [1, 1, 1])
    assert first.shape == (3, 11)
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[[0, 1]], again[[1, 0]])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(again[2], first[0])


@pytest.mark.parametrize(("backend", "workers"), BACKENDS)
def test_only_the_named_environments_move_and_answers_come_in_the_order_asked(backend, workers):
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 3))
    with make_vector_env("Hopper-v5", 5, backend, workers) as envs:
        envs.reset(range(10, 15))
        whole = envs.step(actions, np.arange(5))
        envs.reset(range(10, 15))
        some = envs.step(actions[[3, 0]], np.array([3, 0]))
        rest = envs.step(actions[[1, 4, 2]], np.array([1, 4, 2]))
    for all_of, two, three in zip(whole, some, rest, strict=True):
        np.testing.assert_array_equal(two, all_of[[3, 0]])
        np.testing.assert_array_equal(three, all_of[[1, 4, 2]])
    assert [part.shape for part in some] == [(2, 11), (2,), (2,), (2,)]
    assert some[1].dtype == np.float64


def test_worker_processes_change_nothing():
    rng = np.random.default_rng(1)
    found = []
    calls = [(rng.uniform(-1, 1, (5, 3)), rng.permutation(5)[:k]) for k in [5, 5, 3, 1, 4] * 6]
    for workers in (1, 3):
        with make_vector_env("Hopper-v5", 5, "gymnasium", workers) as envs:
            seen = [envs.reset([3, 1, 4, 1, 5])]
            for actions, named in calls:
                seen += envs.step(actions[named], named)
        found.append(seen)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_environment_of_a_third_party(crowd, workers, capfd):
    with make_vector_env("crowd:test/Crowd-v0", 4, "auto", workers) as envs:
        assert envs.backend == "gymnasium"
        assert (envs.max_episode_length, envs.action_low.tolist(), envs.action_high.tolist()) == (
            20,
            [-2, 0],
            [4, 1],
        )
        pids = envs.reset([0, 1, 2, 3])[:, 2]
        assert len(set(pids)) == workers
        assert os.getpid() in pids
        for t in range(5):
            observations, rewards, terminated, truncated = envs.step(np.full((2, 2), 0.5), np.array([1, 2]))
            np.testing.assert_array_equal(observations[:, 0], t + 1)
            np.testing.assert_array_equal(rewards, 0.5)
            np.testing.assert_array_equal(terminated, t == 4)
            assert not truncated.any()
        assert envs.step(np.zeros((1, 2)), np.array([0]))[0][0, 0] == 1
    envs.close()
    printed = "".join(capfd.readouterr())
    assert "an environment that talks" in printed
    assert printed.count("an environment that is closed") == 1 + 4  # the one that was opened for its shapes


@pytest.mark.parametrize("copy", [0, 1])
def test_an_exception_in_a_worker_arrives_with_its_traceback(crowd, copy):
    with make_vector_env("crowd:test/Raises-v0", 2, "gymnasium", 2) as envs:
        envs.reset([0, 1])
        with pytest.raises(
            RunError, match=r"test/Raises-v0': ArithmeticError: the pole has fallen \(.*crowd\.py, line"
        ):
            envs.step(np.zeros((1, 2)), np.array([copy]))
        _, failures = attempt(lambda: envs.step(np.zeros((1, 2)), np.array([copy])))
        assert list(failures) == [copy]
        assert "Traceback" in failures[copy].traceback
        assert "crowd.py" in failures[copy].traceback
        assert envs.reset([0, 1]).shape == (2, 3)


def test_a_worker_that_dies_is_reported_in_one_line(crowd):
    with make_vector_env("crowd:test/Exits-v0", 2, "gymnasium", 2) as envs:
        envs.reset([0, 1])
        with pytest.raises(RunError, match=r"test/Exits-v0.*worker process ended by itself \(exit code 3"):
            envs.step(np.zeros((1, 2)), np.array([1]))
        with pytest.raises(RuntimeError, match="this vector environment is closed"):
            envs.reset([0, 1])


def test_workers_work_below_a_worker_and_end_with_it_when_it_is_killed(crowd):
    script = crowd / "caller.py"
    script.write_text(
        textwrap.dedent("""
        import multiprocessing, time
        from seqeval_rl.environments.make import make_vector_env

        def work(channel):
            envs = make_vector_env("crowd:test/Crowd-v0", 2, "gymnasium", 2)
            channel.put([multiprocessing.current_process().pid, *envs.reset([0, 1])[:, 2].tolist()])
            time.sleep(60)

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            channel = context.Queue()
            process = context.Process(target=work, args=(channel,))
            process.start()
            print(*map(int, channel.get(timeout=50)), flush=True)
            process.join()
        """)
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as caller:
        try:
            line = caller.stdout.readline()
            assert line, caller.stderr.read()
            pids = [int(word) for word in line.split()]
            assert len(set(pids)) == 2
            os.kill(pids[0], signal.SIGKILL)
            # Standard error is inherited all the way down: it ends when the last process has ended.
            caller.communicate(timeout=20)
        finally:
            caller.kill()


def test_mujoco_leaves_no_file_and_no_noise(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for workers in (1, 2):
        make_vector_env("HalfCheetah-v5", 2, "gymnasium", workers).close()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Hoper-v5", r"'Hoper-v5': unknown to gymnasium .* Did you mean Hopper-v5"),
        ("Hopper-v9", r"'Hopper-v9': unknown to gymnasium .* Did you mean Hopper-v"),
        ("no_such_module:Env-v0", r"unknown to gymnasium .*no_such_module.* Install the package"),
        ("D4RL/Kitchen-v0", r"Namespace D4RL not found"),
        ("Hopper-v3", r"'Hopper-v3': does not start"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*out of date")
def test_an_environment_that_is_not_there(env_id, message):
    with pytest.raises(EnvironmentMissingError, match=message) as caught:
        make_vector_env(env_id, 2)
    assert "\n" not in str(caught.value)


def test_envpool_says_what_it_does_not_know():
    pytest.importorskip("envpool")
    with pytest.raises(EnvironmentMissingError, match=r"'Hoper-v5': unknown to envpool\. Did you mean Hopper-v5"):
        make_vector_env("Hoper-v5", 2, "envpool")


def test_without_envpool_auto_is_gymnasium_and_envpool_says_how_to_get_it():
    code = textwrap.dedent("""
        import sys
        sys.modules["envpool"] = None
        from seqeval_rl.environments.make import make_vector_env
        print(make_vector_env("Hopper-v5", 1).backend)
        try:
            make_vector_env("Hopper-v5", 1, "envpool")
        except Exception as error:
            print(type(error).__name__, error)
    """)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    assert found[0] == "gymnasium"
    assert found[1].startswith("EnvironmentMissingError backend envpool: not installed here")
    assert "pip install 'seqeval-rl[fast]'" in found[1]


def test_auto_takes_envpool_only_where_it_is_the_same_environment(crowd):
    pytest.importorskip("envpool")
    with make_vector_env("InvertedPendulum-v5", 1) as envs:
        assert envs.backend == "envpool"
    # What is stepped by rules needs no extra, and is the same whether the extra is there or not.
    with make_vector_env("Hopper-v5", 1) as envs:
        assert envs.backend == "gymnasium"
    # Somebody's variant under the same id, with another time limit: not what envpool has.
    del gymnasium.registry["Swimmer-v5"]
    gymnasium.register("Swimmer-v5", "gymnasium.envs.mujoco.swimmer_v5:SwimmerEnv", max_episode_steps=77)
    with make_vector_env("Swimmer-v5", 1) as envs:
        assert (envs.backend, envs.max_episode_length) == ("gymnasium", 77)


def test_what_cannot_be_sent_to_a_worker_runs_in_this_process(crowd):
    import crowd as module

    gymnasium.register("test/Local-v0", lambda: module.Crowd())
    with pytest.raises(
        EnvironmentMissingError, match=r"'test/Local-v0': cannot be sent to worker processes .* one worker"
    ):
        make_vector_env("test/Local-v0", 2, workers=2)
    with make_vector_env("test/Local-v0", 2, workers=1) as envs:
        assert envs.reset([0, 1]).shape == (2, 3)
        assert envs.max_episode_length == 1000


def test_spaces_that_are_not_boxes_with_bounds_are_refused(crowd):
    import crowd as module

    class Several(module.Crowd):
        action_space = gymnasium.spaces.MultiDiscrete([2, 3])

    gymnasium.register("test/Several-v0", Several)
    with pytest.raises(DataError, match=r"'test/Several-v0': expected discrete actions, or .* found MultiDiscrete"):
        make_vector_env("test/Several-v0", 1)

    class Boundless(module.Crowd):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))

    gymnasium.register("test/Boundless-v0", Boundless)
    with pytest.raises(DataError, match="expected finite action bounds, found"):
        make_vector_env("test/Boundless-v0", 1)


@pytest.mark.parametrize(("envs", "backend", "workers"), [(0, "auto", 1), (1, "auto", 0), (1, "vector", 1)], ids=str)
def test_usage(envs, backend, workers):
    with pytest.raises(UsageError, match="expected"):
        make_vector_env("Hopper-v5", envs, backend, workers)


def test_a_process_is_taken_where_it_is_worth_it(crowd):
    assert [worthwhile_workers("Hopper-v5", envs, "auto", 4) for envs in (1, 10, 39, 40, 200)] == [1, 1, 1, 2, 4]
    assert [worthwhile_workers("Hopper-v5", envs, "envpool", 4) for envs in (1, 10, 40)] == [1, 2, 4]
    assert [worthwhile_workers("crowd:test/Crowd-v0", envs, "auto", 4) for envs in (1, 10, 40)] == [1, 2, 4]
    # Such as envpool alone may have: whoever opens it is told.
    assert worthwhile_workers("NotInGymnasium-v0", 10, "auto", 4) == 2


@pytest.mark.parametrize(("backend", "workers"), BACKENDS)
def test_one_seed_per_environment(backend, workers):
    with (
        make_vector_env("Hopper-v5", 3, backend, workers) as envs,
        pytest.raises(ValueError, match=r"3|longer|shorter"),
    ):
        envs.reset([1, 2])
