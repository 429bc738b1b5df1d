"""Environments with Dict and with image observations, in a module of their own so that worker processes find them."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict


class Reach(gymnasium.Env):
    """A point on a line that is to reach a goal; the action moves it by `speed`."""

    def __init__(self, speed=0.1):
        self.speed = speed
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        point = Box(-9.0, 9.0, (1,), np.float64)
        self.observation_space = Dict(
            {"achieved_goal": point, "desired_goal": point, "observation": Box(-9.0, 9.0, (2,), np.float64)}
        )

    def _seen(self):
        return {
            "achieved_goal": self.x.copy(),
            "desired_goal": self.goal.copy(),
            "observation": np.array([self.x[0], self.time]),
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.goal, self.time = np.zeros(1), self.np_random.uniform(0.2, 0.8, 1), 0.0
        return self._seen(), {}

    def step(self, action):
        self.x = self.x + self.speed * np.asarray(action, np.float64)
        self.time += 1
        distance = float(abs(self.x - self.goal)[0])
        return self._seen(), -distance, distance < 0.05, False, {}


class Picture(gymnasium.Env):
    """A grey image, three frames stacked; the best action is the image's brightness. Its upper `white` rows are white."""

    def __init__(self, side=6, white=0):
        self.white = white
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = Box(0, 255, (9, side, side), np.uint8)

    def _seen(self):
        self.level = int(self.np_random.integers(256))
        image = np.full(self.observation_space.shape, self.level, np.uint8)
        image[:, : self.white] = 255
        return image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action):
        reward = 1.0 - abs(float(action[0]) - (self.level / 127.5 - 1.0))
        return self._seen(), reward, False, False, {}


class Film(gymnasium.Env):
    """Grey images, of which an observation is the newest three; the best action is the newest one's brightness."""

    def __init__(self, side=6, stack=3):
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = Box(0, 255, (3 * stack, side, side), np.uint8)
        self.stack = stack

    def _seen(self):
        self.level = int(self.np_random.integers(256))
        newest = np.full((3, *self.observation_space.shape[1:]), self.level, np.uint8)
        self.images = [*(self.images or [newest] * self.stack)[1:], newest]
        return np.concatenate(self.images)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.images = None
        return self._seen(), {}

    def step(self, action):
        reward = 1.0 - abs(float(action[0]) - (self.level / 127.5 - 1.0))
        return self._seen(), reward, bool(self.np_random.random() < 0.2), False, {}
