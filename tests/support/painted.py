"""An environment whose pictures say what they are of: no OpenGL, and each frame can be told from the others."""

import gymnasium
import numpy as np


class Painted(gymnasium.Env):
    """Hopper's shapes. An episode ends after 7 environment steps; the picture's red is 30 times the time, the reward 1."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(self, render_mode=None, drawn=True):
        self.render_mode, self.drawn = render_mode, drawn
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (11,), np.float64)
        self.action_space = gymnasium.spaces.Box(-2.0, 3.0, (3,), np.float32)

    def _seen(self):
        return self.np_random.standard_normal(11) * 3 + 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.start = 0, seed
        return self._seen(), {}

    def step(self, action):
        self.time += 1
        return self._seen(), 1.0, self.time == 7, False, {}

    def render(self):
        if not self.drawn:
            raise RuntimeError("no OpenGL here")
        frame = np.zeros((32, 48, 3), np.uint8)
        frame[..., 0] = 30 * self.time
        return frame


ID = "painted:test/Painted-v0"


def register():
    """Register it, unless it is; worker processes do so by importing this module."""
    if "test/Painted-v0" not in gymnasium.registry:
        gymnasium.register("test/Painted-v0", "painted:Painted", max_episode_steps=20)


register()
