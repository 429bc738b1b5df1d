"""An environment that hangs, in a module of its own so that worker processes find it."""

import time

import gymnasium
import numpy as np


class Hangs(gymnasium.Env):
    """An episode lasts five environment steps. In episodes whose seeds are multiples of `every` the second one takes so many
    seconds: `how` is `sleep`, `loop` or `library` (which cannot be interrupted). `reset`: the reset does; `slow`: every step."""

    def __init__(self, how="", every=1, seconds=60.0, opens=0.0):
        self.how, self.every, self.seconds = how, every, seconds
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        time.sleep(opens)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.bad, self.time = seed % self.every == 0, 0
        if self.bad and self.how == "reset":
            time.sleep(self.seconds)
        return np.zeros(2), {}

    def step(self, action):
        self.time += 1
        if self.bad and self.how == "slow":
            time.sleep(self.seconds)
        if self.bad and self.time == 2:
            if self.how == "sleep":
                time.sleep(self.seconds)
            if self.how == "loop":
                began = time.monotonic()
                while time.monotonic() < began + self.seconds:
                    pass
            if self.how == "library":
                sum(range(10**11))  # minutes; looks for no signal, and keeps the interpreter's lock
        return np.zeros(2), 1.0, self.time == 5, False, {}


# Known to every process that imports this module.
gymnasium.register(
    "test/HangsInLibrary-v0", "hangs:Hangs", max_episode_steps=20, kwargs={"how": "library", "every": 13}
)


def register(how="", **settings):
    """Register the environment with these settings; returns its id."""
    gymnasium.registry.pop("test/Hangs-v0", None)
    gymnasium.register("test/Hangs-v0", "hangs:Hangs", max_episode_steps=20, kwargs={"how": how, **settings})
    return "hangs:test/Hangs-v0"
