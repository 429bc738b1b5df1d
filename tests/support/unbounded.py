"""An environment whose actions have the bounds that its id says, in a module of its own so that worker processes find it."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box

PLAIN, FREE = "unbounded:Plain-v0", "unbounded:Free-v0"  # actions within ±1; any


class Echo(gymnasium.Env):
    """The reward is the sum of the action; an action outside the space is an error."""

    def __init__(self, bound=1.0):
        self.action_space = Box(-bound, bound, (2,), np.float32)
        self.observation_space = Box(-9.0, 9.0, (3,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return np.zeros(3), float(action.sum()), False, False, {}


gymnasium.register("Plain-v0", "unbounded:Echo", max_episode_steps=4)
gymnasium.register("Free-v0", "unbounded:Echo", max_episode_steps=4, kwargs={"bound": np.inf})


def columns(actions, **more):
    """Arrays as `load_dataset` takes them: episodes of four transitions with these actions [N, 2]."""
    total = len(actions)
    rng = np.random.default_rng(0)
    return {
        "observations": rng.standard_normal((total, 3)),
        "actions": actions,
        "rewards": np.ones(total),
        "next_observations": rng.standard_normal((total, 3)),
        "terminations": np.zeros(total, bool),
        "truncations": np.arange(total) % 4 == 3,
        **more,
    }
