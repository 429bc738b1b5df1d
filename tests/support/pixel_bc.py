"""A single-run algorithm for images, as an author's first plug-in might be: cloning with a small convolutional network."""

from dataclasses import dataclass

import torch
from torch import nn


class PixelBC:
    """Behavior cloning from images: L(pi) = E (pi(s) - a)^2."""

    @dataclass(frozen=True)
    class Config:
        """Its settings."""

        learning_rate: float = 3e-3  # Adam's
        channels: int = 8
        normalise_observations: bool = False

    def __init__(self, config, spec):
        channels, side, _ = spec.obs_shape
        size = (side - 3) // 2 + 1
        self.net = nn.Sequential(
            nn.Conv2d(channels, config.channels, 3, stride=2), nn.ReLU(), nn.Flatten(),
            nn.Linear(config.channels * size * size, spec.act_dim), nn.Tanh(),
        ).to(spec.device)  # fmt: skip
        self.adam = torch.optim.Adam(self.net.parameters(), config.learning_rate)

    def update(self, batch):
        loss = (self.net(batch.observations / 255.0 - 0.5) - batch.actions).square().mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"actor/loss": loss.detach()}

    def act(self, observations, noise):
        return self.net(observations / 255.0 - 0.5)

    def state_dict(self):
        return {"net": self.net.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.adam.load_state_dict(state["adam"])
