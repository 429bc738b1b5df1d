"""An environment with every kind of trouble, in a module of its own so that worker processes find it.

What is wrong happens in the episodes whose seeds are multiples of `every`, at the second environment step.
"""

import gymnasium
import numpy as np

ID = "trouble:test/Trouble-v0"


class Trouble(gymnasium.Env):
    """An episode lasts five environment steps; the reward is 1 unless it is named, the observation (time, seed)."""

    def __init__(self, at="", every=1, returns=None, low=-0.3, high=0.7, dtype="float32", obs_shape=(2,), length=5):
        self.at, self.every, self.returns, self.length = at, every, returns or {}, length
        self.action_space = gymnasium.spaces.Box(low, high, (1,), np.dtype(dtype))
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, obs_shape, np.float64)
        self.episodes = 0

    def _raise(self, at):
        if self.at == at and self.seed % self.every == 0:
            raise ArithmeticError("the pole has fallen")

    def _seen(self):
        return np.resize([self.time, self.seed], self.observation_space.shape).astype(np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.time = seed, 0
        self._raise("reset")
        return self.returns.get("reset", (self._seen(), {}))

    def step(self, action):
        assert self.action_space.contains(action), f"not in the space: {action!r}"
        self.time += 1
        if self.time == 2:
            self._raise("step")
        answer = {
            "observation": self._seen(), "reward": 1.0, "terminated": self.time == self.length, "truncated": False,
            "info": {},
        } | self.returns  # fmt: skip
        answer.pop("reset", None)
        return answer["whole"] if "whole" in answer else tuple(answer.values())

    def close(self):
        self.seed = 0
        self._raise("close")


def register(name="Trouble", max_episode_steps=20, **settings):
    """Register the environment with these settings; returns its id."""
    gymnasium.register(f"test/{name}-v0", "trouble:Trouble", max_episode_steps=max_episode_steps, kwargs=settings)
    return f"trouble:test/{name}-v0"


class Licensed(Trouble):
    """Opens `LICENCES` times in a process."""

    opened = 0
    LICENCES = 2

    def __init__(self, **settings):
        super().__init__(**settings)
        Licensed.opened += 1
        if Licensed.opened > Licensed.LICENCES:
            raise OSError("no licence left")
