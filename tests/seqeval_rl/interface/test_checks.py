"""The contract checks on all registered algorithms and a single-run one, and on broken ones, each failing one check."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass
from importlib.metadata import entry_points
from typing import Annotated

import pytest
import torch
from pydantic import Field

from seqeval_rl.interface.checks import CHECKS, check_algorithm, contract, iterate_checks
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.modules import TanhActor, frozen_copy
from seqeval_rl.networks.optimizers import Adam, soft_update

REGISTERED = {entry.name: entry for entry in entry_points(group="seqeval_rl.algorithms")}


def test_the_reference_algorithms_are_registered():
    assert {"awac", "bc", "cql", "iql", "sac", "td3_bc"} <= REGISTERED.keys()


def made_small(algorithm, **settings):
    """The algorithm with other defaults: 600 updates of a large one take half a minute."""
    smaller = [(f.name, f.type, settings[f.name]) for f in fields(algorithm.Config) if f.name in settings]
    config = make_dataclass("SmallConfig", smaller, bases=(algorithm.Config,), frozen=True)
    return type(algorithm.__name__, (algorithm,), {"Config": config, "__module__": algorithm.__module__})


LARGE = {
    "cql": {"hidden": (64, 64), "sampled_actions": 4, "learning_rate": 1e-3},
    "td3": {"hidden": (64, 64), "learning_rate": 1e-3},
    "sac_n": {"hidden": (64, 64), "critics": 4, "learning_rate": 1e-3},
    "edac": {"hidden": (64, 64), "critics": 4, "learning_rate": 1e-3},
    "fql": {"hidden": (64, 64)},
    "rebrac": {"hidden": (64, 64), "learning_rate": 1e-3},
    "cal_ql": {"hidden": (64, 64), "sampled_actions": 4, "learning_rate": 1e-3},
    **{name: {"hidden": (64, 64), "learning_rate": 1e-3} for name in ("discrete_bc", "discrete_cql", "dqn")},
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_registered_algorithms(name, check):
    if name in ("decision_transformer", "drq_bc") and check == "learning":
        pytest.skip(f"takes a minute or two: seqeval check {name}")
    algorithm = REGISTERED[name].load()
    if name == "drq_bc" and check != "config":
        algorithm = made_small(algorithm, features=10, hidden=(32, 32))
    if check == "learning" and name in LARGE:
        algorithm = made_small(algorithm, **LARGE[name])
    assert CHECKS[check](algorithm)  # raises with the reason, else says what was found


@dataclass(frozen=True)
class Config:
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3


class SingleRun:
    """A complete single-run algorithm: cloning, with noise of its own."""

    Config = Config

    def __init__(self, config, spec):
        self.net = torch.nn.Sequential(
            torch.nn.Linear(spec.obs_dim, 32), torch.nn.ReLU(), torch.nn.Linear(32, spec.act_dim), torch.nn.Tanh()
        )
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate)

    def update(self, batch):
        noise = 0.01 * torch.randn_like(batch.observations)
        loss = (self.net(batch.observations + noise) - batch.actions).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"actor/loss": loss}

    def act(self, observations, noise):
        return self.net(observations)

    def state_dict(self):
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def test_a_single_run_algorithm_passes():
    results = check_algorithm(SingleRun)
    assert [result.name for result in results] == list(CHECKS)
    assert [(result.name, result.detail) for result in results if not result.passed] == []


class Vectorized(Stateful):
    """Cloning, also towards a target network: small, and with everything that a state can lack."""

    Config = Config
    vectorized = True
    period = 2
    counters = ("turn",)

    def __init__(self, config, spec):
        self.spec, self.turn = spec, 0
        self.actor = TanhActor(spec, "actor", (32,))
        self.target = frozen_copy(self.actor)
        self.optimiser = Adam(self.actor.parameters(), config.learning_rate)

    def loss(self, batch):
        actions = self.actor(batch.observations)
        loss = (actions - batch.actions).square().mean((1, 2))
        return loss + 0.01 * (actions - self.target(batch.observations)).square().mean((1, 2))

    def update(self, batch):
        loss = self.loss(batch)
        self.optimiser.minimise(loss)
        self.turn = (self.turn + 1) % 2
        if self.turn == 0:
            soft_update(self.target, self.actor, 0.1)
        return {"actor/loss": loss.detach()}

    @torch.no_grad()
    def act(self, observations, noise):
        return self.actor(observations)


def test_a_vectorized_algorithm_passes():
    assert [(result.name, result.detail) for result in check_algorithm(Vectorized) if not result.passed] == []


def test_correct_hooks_are_named():
    correct = with_hook(torch.detach, log_prob=lambda self, observations, actions: -actions.square().sum(-1))
    assert CHECKS["hooks"](correct) == "values, log_prob"
    assert CHECKS["hooks"](Vectorized).startswith("has neither values nor log_prob")


@dataclass
class Melting:
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Bare:
    learning_rate: float


@dataclass(frozen=True)
class Outside:
    learning_rate: Annotated[float, Field(gt=0)] = -1.0


def broken(**overrides):
    return type("Broken", (Vectorized,), overrides)


def metrics(change):
    """An algorithm whose metrics are those of `Vectorized` after `change(self, metrics)`."""
    return broken(update=lambda self, batch: change(self, Vectorized.update(self, batch)))


def acts(change):
    return broken(act=lambda self, observations, noise: change(Vectorized.act(self, observations, noise)))


def with_loss(change):
    return broken(loss=lambda self, batch: change(self, batch, Vectorized.loss(self, batch)))


def spoil_rewards(self, batch):
    batch.rewards.mul_(0.5)
    return Vectorized.update(self, batch)


def start(change):
    """An algorithm that changes itself right after it is built."""

    def init(self, config, spec):
        Vectorized.__init__(self, config, spec)
        with torch.no_grad():
            change(self)

    return init


def one_rate_for_all(self, config, spec):
    Vectorized.__init__(self, Config(float(torch.as_tensor(config.learning_rate).flatten()[0])), spec)


def clip_all_runs_together(self, batch):
    loss = Vectorized.loss(self, batch)
    gradient = torch.autograd.grad(loss.sum(), list(self.actor.parameters()))[0]
    self.actor.net.weights[0].data -= 0.1 * gradient / gradient.norm()
    return {"actor/loss": loss.detach()}


def forget(name):
    def state_dict(self):
        return {key: value for key, value in Stateful.state_dict(self).items() if key != name}

    def load_state_dict(self, state):
        Stateful.load_state_dict(self, {**state, name: Stateful.state_dict(self)[name]})

    return broken(state_dict=state_dict, load_state_dict=load_state_dict)


def wrong_axis(self):
    state = Stateful.state_dict(self)
    return state | {"table": torch.zeros(7, self.spec.runs)}


@dataclass(frozen=True)
class Discounted(Config):
    discount: float = 0.99


def with_hook(change=lambda numbers: numbers, name="values", **overrides):
    """An algorithm with a hook that returns `change` of correct numbers [R, B] that have a gradient."""

    def hook(self, observations, actions):
        return change((self.actor(observations) - actions).square().mean(-1))

    return broken(**({"Config": Discounted, name: hook} | overrides))


def remembers(self, observations, actions):
    self.turn = 1 - self.turn
    return actions.sum(-1)


def spoils_actions(self, observations, actions):
    return actions.mul_(0.5).sum(-1)


def atanh_density(self, observations, actions):
    return torch.atanh(actions).square().sum(-1)


class SingleRunWithHook(SingleRun):
    """A single-run algorithm with a hook that sees one run, and draws from the generator that the harness puts in place."""

    Config = Discounted

    def values(self, observations, actions):
        with torch.no_grad():
            return actions.sum(-1) + 0.01 * torch.randn(len(actions))


class WithoutOptimizer(SingleRun):
    """A single-run algorithm whose state lacks its optimizer."""

    def state_dict(self):
        return {"net": self.net.state_dict()}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])


BROKEN = [
    ("config", "dataclass", broken(Config=int)),
    ("config", "frozen", broken(Config=Melting)),
    ("config", "default for every field", broken(Config=Bare)),
    ("config", "out of their own ranges", broken(Config=Outside)),
    ("metrics", "same metrics", metrics(lambda self, m: m if self.turn else {})),
    ("metrics", "at least one", metrics(lambda self, m: {})),
    ("metrics", "names like", metrics(lambda self, m: {"loss": m["actor/loss"]})),
    ("metrics", "shape", metrics(lambda self, m: {"actor/loss": m["actor/loss"].mean()})),
    ("metrics", "finite", metrics(lambda self, m: {"actor/loss": m["actor/loss"] / 0})),
    ("metrics", "detached", metrics(lambda self, m: {"actor/loss": m["actor/loss"] + self.actor.net.weights[0].sum()})),
    ("act", "in \\[-1, 1\\]", acts(lambda actions: 3 * actions)),
    ("act", "expected a tensor of shape", acts(lambda actions: actions[:, 0])),
    ("act", "finite", acts(lambda actions: actions / 0)),
    ("act", "found different ones", acts(lambda actions: (actions + 0.1 * torch.randn_like(actions)).clamp(-1, 1))),
    ("inputs", "rewards", broken(update=spoil_rewards)),
    ("randomness", "drawn from", with_loss(lambda self, batch, loss: loss * torch.rand(()))),
    (
        "seeds",
        "act differently",
        broken(__init__=start(lambda self: [weights.fill_(0.1) for weights in self.actor.parameters()])),
    ),
    ("resume", "target", forget("target")),
    ("resume", "optimiser", forget("optimiser")),
    ("resume", "found net/0.weight .* apart. Save and load in state_dict .* every .* optimizer", WithoutOptimizer),
    ("resume", "target", forget("turn")),
    ("isolation", "batches of run 0", with_loss(lambda self, batch, loss: loss * loss.detach().mean())),
    ("isolation", "batches of run 0", broken(update=clip_all_runs_together)),
    ("group", "at the start", broken(__init__=start(lambda self: self.actor.net.weights[0].mul_(self.spec.runs)))),
    ("group", "after some updates", broken(update=clip_all_runs_together)),
    ("sweep", "differ in learning_rate", broken(__init__=one_rate_for_all)),
    ("state", "2 runs on the first axis", broken(state_dict=wrong_axis)),
    ("capture", "_local_scalar_dense", with_loss(lambda self, batch, loss: loss * float(loss.sum() > -1))),
    (
        "capture",
        "boolean indexing",
        with_loss(lambda self, batch, loss: loss + batch.rewards[batch.masks > 0].mean() * 0),
    ),
    ("hooks", "setting discount", with_hook(torch.detach, Config=Config)),
    ("hooks", "values .*expected a detached", with_hook()),
    (
        "hooks",
        "log_prob .*expected a tensor of shape",
        with_hook(lambda numbers: numbers.detach().mean(-1), "log_prob"),
    ),
    ("hooks", "finite numbers, found inf", with_hook(lambda numbers: numbers.detach() / 0)),
    (
        "hooks",
        "finite numbers, found inf at the action \\[1.0, 1.0\\]",
        with_hook(torch.detach, log_prob=atanh_density),
    ),
    ("hooks", "actions to be unchanged", with_hook(torch.detach, log_prob=spoils_actions)),
    ("hooks", "no noise", with_hook(lambda numbers: numbers.detach() + torch.rand(()))),
    ("hooks", "before and after the call.*turn", with_hook(torch.detach, log_prob=remembers)),
    ("hooks", "before and after the call.*rng", SingleRunWithHook),
    ("hooks", "in two batches", with_hook(lambda numbers: numbers.detach() - numbers.detach().mean(-1, keepdim=True))),
    ("hooks", "observations of run 0", with_hook(lambda numbers: numbers.detach() + 0 * numbers.detach()[0].mean())),
    ("hooks", "run 0 in the run group and alone", with_hook(lambda numbers: numbers.detach() * len(numbers))),
    ("learning", "score", with_loss(lambda self, batch, loss: -loss)),
    ("learning", "score", with_loss(lambda self, batch, loss: 0 * loss)),
    ("learning", "TypeError", with_loss(lambda self, batch, loss: loss + None)),
]


@pytest.mark.parametrize(("check", "message", "algorithm"), BROKEN, ids=[f"{b[0]}-{i}" for i, b in enumerate(BROKEN)])
def test_a_broken_algorithm_fails_the_check_for_it(check, message, algorithm, monkeypatch):
    monkeypatch.setattr(contract, "CHECKS", {check: CHECKS[check]})
    (result,) = check_algorithm(algorithm)
    assert not result.passed
    assert result.name == check
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.detail)


def test_every_check_has_an_algorithm_that_fails_it():
    assert {check for check, _, _ in BROKEN} == CHECKS.keys()


def test_every_check_is_explained():
    assert all(check.__doc__ for check in CHECKS.values())


def timed(kind, monkeypatch, seconds):
    """The algorithm, whose every update takes so many seconds of a clock that moves only then; and that clock."""
    clock = [0.0]
    monkeypatch.setattr(contract.time, "monotonic", lambda: clock[0])

    def update(self, batch):
        clock[0] += seconds
        return kind.update(self, batch)

    return type("Timed", (kind,), {"update": update}), clock


class SlowlyVarying(SingleRun):
    period = 2


@pytest.mark.parametrize("kind", [SingleRun, SlowlyVarying, Vectorized])
def test_checks_take_the_updates_that_the_time_left_is_computed_from(kind, monkeypatch):
    timed_kind, clock = timed(kind, monkeypatch, 1.0)
    for name, check in CHECKS.items():
        clock[0] = 0.0
        check(timed_kind)
        expected = contract._UPDATES.get(name, contract._Updates()).calls(kind)
        assert clock[0] == (0 if name == "capture" and not hasattr(kind, "vectorized") else expected), name


@pytest.mark.parametrize("kind", [SingleRun, SlowlyVarying, Vectorized])
def test_a_slow_algorithm_is_checked_in_less_than_a_minute_and_told_what_is_left_out(kind, monkeypatch):
    slow, clock = timed(kind, monkeypatch, 0.3)
    shown = []
    results = list(iterate_checks(slow, progress=lambda name, left: shown.append((name, clock[0], left))))
    assert clock[0] < 60
    assert [result.name for result in results] == list(CHECKS)
    assert [result for result in results if not result.passed] == []
    left_out = [result for result in results if not result.made]
    assert [result.name for result in left_out][-1:] == ["learning"]
    assert "600 updates at 0.3 s would take longer than 50 s" in left_out[-1].detail
    known = [(at, left) for _, at, left in shown if left is not None]
    assert len(known) > 20
    assert all(abs(at + left - clock[0]) < 10 for at, left in known)
    allowed = check_algorithm(slow, 1000.0)
    assert [result for result in allowed if not (result.passed and result.made)] == []


def test_an_exception_is_named_once_with_the_line_of_the_algorithm():
    def act(self, observations, noise):
        return observations @ torch.zeros(len(observations), 1)

    results = check_algorithm(broken(act=act))
    failed = [result for result in results if result.made and not result.passed]
    assert [result.name for result in failed] == ["act"]
    assert f"({__file__}, line {act.__code__.co_firstlineno + 1})" in failed[0].detail
    assert {result.detail for result in results if not result.made} == {"meets the fault that act has found"}


def test_networks_with_a_run_axis_need_vectorized():
    class Undeclared(Stateful):
        Config, period, counters = Config, Vectorized.period, Vectorized.counters
        __init__, loss, act = Vectorized.__init__, Vectorized.loss, Vectorized.act

        def update(self, batch):
            raise RuntimeError("batch1 must be a 3D tensor")

    failed = [result for result in check_algorithm(Undeclared) if result.made and not result.passed]
    assert "since vectorized = False is the default" in failed[0].detail


def test_a_config_that_cannot_be_made_is_one_fault():
    results = check_algorithm(broken(Config=Bare))
    assert [result.name for result in results if result.made and not result.passed] == ["config"]
