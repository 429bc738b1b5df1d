"""A class of CORL's shape as an algorithm: `train(batch) -> dict of floats`, an `actor`, a `state_dict` that may lack things.

Copy `CorlAdapter` into your file and derive a class from it, with a `Config` and the method `build`.
"""

import torch


class CorlAdapter:
    """A single-run algorithm around an object whose `train` takes [states, actions, rewards, next_states, dones]."""

    metrics = ("critic_loss", "actor_loss")  # of what `train` returns; one that it leaves out keeps its last value

    def build(self, config, spec):
        """The object, as its own script builds it, with `max_action` 1; on `spec.device`."""
        raise NotImplementedError

    def __init__(self, config, spec):
        self.agent = self.build(config, spec)
        self.last = dict.fromkeys(self.metrics, 0.0)  # until it has returned one

    def update(self, batch):
        # CORL's rewards and dones are columns. `masks` is 1 at a time limit, as its `terminals` are 0 there.
        rewards, dones = batch.rewards.unsqueeze(-1), 1 - batch.masks.unsqueeze(-1)
        returned = self.agent.train([batch.observations, batch.actions, rewards, batch.next_observations, dones])
        self.last |= {name: float(value) for name, value in returned.items() if name in self.last}
        return {f"train/{name}": value for name, value in self.last.items()}

    @torch.no_grad()
    def act(self, observations, noise):
        actions = self.agent.actor(observations)
        if isinstance(actions, torch.distributions.Distribution):
            actions = actions.mean
        elif isinstance(actions, tuple):  # of a stochastic actor: actions, log probabilities
            actions = actions[0]
        return (actions if noise is None else actions + 0.1 * noise).clamp(-1, 1)

    # Not the object's own `state_dict`, which may lack target networks: everything that it has is saved.
    def state_dict(self):
        parts = {name: part.state_dict() for name, part in vars(self.agent).items() if hasattr(part, "state_dict")}
        counters = {name: value for name, value in vars(self.agent).items() if isinstance(value, int | float)}
        return {"parts": parts, "counters": counters, "last": dict(self.last)}

    def load_state_dict(self, state):
        for name, part in state["parts"].items():
            getattr(self.agent, name).load_state_dict(part)
        vars(self.agent).update(state["counters"])
        self.last = dict(state["last"])
