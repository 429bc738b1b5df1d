"""Environments that hang: the copy fails, the others continue."""

import math
import signal
import time

import hangs
import numpy as np
import pytest

from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.patience import Alarm, Patience, share, with_patience
from seqeval_rl.environments.returned import attempt
from seqeval_rl.errors import EnvironmentMissingError, UsageError

ALL = np.arange(3)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("how", ["sleep", "loop", "reset", "slow"])
def test_a_copy_that_takes_too_long_fails_and_the_others_continue(how, workers, registry):
    """With three workers the second copy is in another process."""
    env_id = hangs.register(how, every=7, seconds=0.4 if how == "slow" else 60.0)
    began = time.monotonic()
    with (
        with_patience(Patience(step=3.0, episode=1.0 if how == "slow" else 3600.0)),
        make_vector_env(env_id, 3, "gymnasium", workers) as envs,
    ):
        _, failures = attempt(lambda: envs.reset([1, 7, 2]))
        for _ in range(4):
            (_, rewards, *_), failed = attempt(lambda: envs.step(np.zeros((3, 1)), ALL))
            failures = {**failures, **failed}
        assert list(failures) == [1]
        limit = "an episode took longer than --episode-timeout = 1 s" if how == "slow" else "--step-timeout = 3 s"
        assert limit in failures[1].message
        assert "environment 'test/Hangs-v0': OverdueError: " in failures[1].message
        assert (rewards[[0, 2]] == 1).all()
        assert "\n" not in failures[1].message
    assert time.monotonic() - began < 30
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_call_that_is_to_be_ended_first_is_shared_whatever_other_threads_do(monkeypatch):
    monkeypatch.setattr("seqeval_rl.environments.patience._shared", None)  # restored afterwards
    shared = [0.0, 0.0]
    share(shared)
    first, second = Alarm(), Alarm()
    first.begin()
    deadline = shared[0]
    assert time.monotonic() < deadline < time.monotonic() + 600
    second.begin()
    assert shared == [deadline, math.inf]
    second.end()
    assert shared == [deadline, math.inf]
    first.end()
    assert shared == [math.inf, math.inf]


def test_an_environment_that_does_not_open_is_said_so(registry):
    env_id = hangs.register(opens=60.0)
    with (
        with_patience(Patience(step=0.3)),
        pytest.raises(EnvironmentMissingError, match="does not start"),
    ):
        make_vector_env(env_id, 1, "gymnasium", 1)


@pytest.mark.parametrize("given", [{"step": 0.0}, {"episode": -1.0}, {"update": 0.0}, {"step": float("nan")}])
def test_a_limit_is_positive(given):
    (name,) = given
    with pytest.raises(UsageError, match=f"--{name}-timeout: expected seconds above 0"):
        Patience(**given)
