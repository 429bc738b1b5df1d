"""What update, act and the hooks may return: a wrong one is named once by `check`, and stops a run at its first call."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from trainers import entry_of, make

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.experiments.reporter import MAY_BE_ABSENT
from seqeval_rl.interface.checks import check_algorithm
from seqeval_rl.interface.returns import RESERVED, WrongReturn, check_actions


class Vectorized(BC):
    """Correct, apart from what a test replaces."""

    @dataclass(frozen=True)
    class Config(BC.Config):
        discount: float = 0.9


class SingleRun:
    """Correct, apart from what a test replaces; it does not say that it is not vectorized."""

    @dataclass(frozen=True)
    class Config:
        learning_rate: float = 3e-3
        discount: float = 0.9

    def __init__(self, config, spec):
        self.net = torch.nn.Sequential(
            torch.nn.Linear(spec.obs_dim, 32), torch.nn.ReLU(), torch.nn.Linear(32, spec.act_dim), torch.nn.Tanh()
        )
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate)

    def update(self, batch):
        loss = (self.net(batch.observations) - batch.actions).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"actor/loss": loss, "actor/number": 1.5, "actor/numpy": np.float32(2), "actor/row": loss.reshape(1)}

    def act(self, observations, noise):
        return self.net(observations)

    def state_dict(self):
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def returning(kind, method, change):
    """An algorithm whose method returns `change` of what is right."""

    def changed(self, *arguments):
        self.calls = getattr(self, "calls", 0) + 1
        return change(self, getattr(kind, method)(self, *arguments))

    return type("Changed", (kind,), {method: changed})


def every_other(self, metrics):
    return {**metrics, "critic/loss": metrics["actor/loss"]} if self.calls % 2 else metrics


def run(algorithm):
    """What a run does with an algorithm, as far as its first updates and actions; on stand-ins for data and environments."""
    settings = {"hidden": (8, 8)} if issubclass(algorithm, BC) else {}
    with make("bc", entry=entry_of(algorithm), settings=settings) as trainer:
        trainer.learner.act(np.zeros((2, 4, 11), np.float32))
        trainer.learner.act(np.zeros((2, 4, 11), np.float32), np.zeros((2, 4, 3), np.float32))
        trainer.learner.train(0, 3, lambda _: None)
        trainer.score_upcoming(trainer.points()[0])


WRONG = [
    ("update", "a dictionary of metrics, found None", lambda self, metrics: None),
    ("update", r"a dictionary of metrics, found \[", lambda self, metrics: list(metrics.values())),
    ("update", "at least one metric", lambda self, metrics: {}),
    ("update", "names like critic/loss.* found 'score'", lambda self, metrics: {"score": metrics["actor/loss"]}),
    ("update", "names like critic/loss.* found 'online/x'", lambda self, metrics: {"online/x": metrics["actor/loss"]}),
    ("update", "actor/loss.* found 'low'", lambda self, metrics: {"actor/loss": "low"}),
    ("update", "actor/loss.* found tensor of shape", lambda self, m: {"actor/loss": m["actor/loss"].expand(7, 2)}),
    ("update", "the same metrics at every update, found critic/loss in some only", every_other),
    ("update", "the same metrics|a dictionary", lambda self, metrics: metrics if self.calls % 2 else None),
    ("act", "a tensor of shape .* found None", lambda self, actions: None),
    ("act", r"a tensor of shape .* found numpy array of shape", lambda self, actions: actions.detach().numpy()),
    ("act", "a tensor of shape .* found tensor of shape", lambda self, actions: actions[..., 0]),
    ("act", r"actions in \[-1, 1\], found 3", lambda self, actions: actions.sign() * 3),
]


@pytest.mark.parametrize("kind", [Vectorized, SingleRun])
@pytest.mark.parametrize(("method", "words", "change"), WRONG, ids=[f"{each[0]}-{i}" for i, each in enumerate(WRONG)])
def test_check_names_what_a_method_returns_once_and_a_run_refuses_it(kind, method, words, change):
    algorithm = returning(kind, method, change)
    place = rf"Changed\.{method} \(.*test_returns\.py, line \d+\): expected .*"
    with pytest.raises(WrongReturn, match=place + words):
        run(algorithm)
    failed = [result for result in check_algorithm(algorithm, 5.0) if not result.passed and result.made]
    assert len(failed) == 1, failed
    with pytest.raises(AssertionError, match=place + words):
        raise AssertionError(failed[0].detail)


@pytest.mark.parametrize("kind", [Vectorized, SingleRun])
def test_check_and_run_take_what_is_right(kind):
    run(kind)
    assert [result for result in check_algorithm(kind) if not result.passed] == []


@pytest.mark.parametrize("kind", [Vectorized, SingleRun])
@pytest.mark.parametrize("hook", ["values", "log_prob"])
@pytest.mark.parametrize("change", [lambda x: x[..., None], lambda x: None, lambda x: x.mean()])
def test_a_hook_of_the_wrong_shape_is_refused_not_broadcast(kind, hook, change):
    algorithm = type("Hooked", (kind,), {hook: lambda self, observations, actions: change(actions.sum(-1))})
    with pytest.raises(
        WrongReturn, match=rf"Hooked\.{hook} \(.*: expected a tensor of shape \(.*one number per transition"
    ):
        run(algorithm)


def test_a_policy_that_becomes_nan_or_rounds_is_left_to_the_evaluation():
    check_actions(SingleRun, torch.full((2, 3), torch.nan), (2, 3), bounded=True)
    check_actions(SingleRun, torch.full((2, 3), 1.00001), (2, 3), bounded=True)
    check_actions(SingleRun, torch.full((2, 3), 3.0), (2, 3), bounded=False)


def test_names_that_the_harness_gives_are_reserved():
    assert set(MAY_BE_ABSENT) == set(RESERVED)
