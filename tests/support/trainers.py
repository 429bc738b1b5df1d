"""Run groups of two runs on synthetic data, trained to the end and compared."""

from dataclasses import replace

import numpy as np
import torch
from recorder import recorded
from synthetic import noise_dataset

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.data.stream import Stream
from seqeval_rl.interface.registry import find_algorithm, registered
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.trainer import Run, Trainer

EXACT = {"rtol": 0, "atol": 0}
# Those that learn from single transitions of vectors, in any order.
ALGORITHMS = sorted(
    name
    for name in registered()
    if (entry := find_algorithm(name)).sequence_length(entry.algorithm.Config()) is None
    and entry.observation_space == "vectors"
)
SMALL = {"hidden": (32, 32)}
SETTINGS = {
    "cql": {**SMALL, "sampled_actions": 3},
    "awac": {**SMALL, "actor_hidden": (32, 32)},
    "sac_n": {**SMALL, "critics": 3},
    "edac": {**SMALL, "critics": 3},
    "fql": {**SMALL, "flow_steps": 3},
    "cal_ql": {**SMALL, "sampled_actions": 3},
}
PROTOCOL = {"cal_ql": {"order": "episodes"}}  # which needs whole episodes


class FakeEvaluator:
    """Returns the greedy actions in fixed states."""

    def __init__(self, runs):
        self.states = np.random.default_rng(0).standard_normal((runs, 5, 11)).astype(np.float32)

    def evaluate(self, act, evaluation):
        return act(self.states)


class LateEvaluator(FakeEvaluator):
    """Evaluates when the result is requested, as late as an asynchronous evaluation can be."""

    def begin(self, act, evaluation):
        class Waiting:
            def done(_):
                return False

            def result(_):
                return self.evaluate(act, evaluation)

        return Waiting()


def make(name, device="cpu", settings=None, protocol=None, entry=None, capture=None):
    """The trainer of two runs, of the same settings or each of its own."""
    entry = entry or find_algorithm(name)
    classes = 3 if entry.action_space == "discrete" else None
    stream = Stream("made", [noise_dataset([60, 90, 155], seed=5, classes=classes)])
    settings = SETTINGS.get(name, SMALL) if settings is None else settings
    each = settings if isinstance(settings, list) else [settings] * 2
    configs = [entry.configure(one, "test") for one in each]
    own = PROTOCOL.get(name, {}) | (protocol or {})
    protocol = Protocol(**{"initial": 100, "batch_size": 16, "evaluate_every": 47, "episodes": 1, **own})
    return Trainer(
        [Run(stream, config, seed) for seed, config in enumerate(configs)],
        entry,
        protocol,
        torch.device(device),
        capture,
    )


def carry(name, evaluator=FakeEvaluator, states=None, done=0, asynchronous=None, **options):
    """(transitions, actions, metrics, states) at each evaluation point, for two runs."""
    trainer = make(name, **options)
    if states is not None:
        trainer.load_states(states)
    found = []
    sequential_evaluation(
        trainer,
        evaluator(2),
        lambda o: not found.append((o.point.transitions, o.evaluation, o.metrics, o.states)),
        lambda _: None,
        done,
        asynchronous,
    )
    return found


def leaves(state):
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from leaves(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from leaves(value)
    elif state is not None:
        yield torch.as_tensor(float(state))


def assert_same(one, other, **tolerance):
    assert [t for t, *_ in one] == [t for t, *_ in other]
    for (_, actions, metrics, states), (_, a, m, s) in zip(one, other, strict=True):
        np.testing.assert_allclose(actions, a, **tolerance)
        assert metrics.keys() == m.keys()
        for key in metrics:
            np.testing.assert_allclose(metrics[key], m[key], **tolerance)
        for x, y in zip(leaves(states), leaves(s), strict=True):
            torch.testing.assert_close(x.cpu(), y.cpu(), **tolerance)


def itself(work):
    return work


def counted(counts, capture=recorded):
    """A capture that records in `counts` what is captured and what is replayed."""

    def counting(work):
        counts.append("captured")
        run = capture(work)

        def replay():
            counts.append("replayed")
            run()

        return replay

    return counting


SWEPT = {
    "td3_bc": dict.fromkeys(("alpha", "discount", "target_rate", "policy_noise", "noise_clip"), (0.1, 0.3)),
    "iql": {"expectile": (0.6, 0.9), "temperature": (1.0, 3.0), "max_weight": (1.0, 100.0), "learning_rate": (1e-3, 1e-4)},
    "cql": {"min_q_weight": (1.0, 5.0), "target_rate": (0.1, 0.01), "discount": (0.9, 0.99)},
    "awac": {"weight_decay": (0.0, 0.1), "temperature": (0.5, 2.0)},
    "bc": {"learning_rate": (1e-2, 1e-3)},
    "sac": {"discount": (0.9, 0.99), "learning_rate": (1e-2, 1e-3)},
    "td3": dict.fromkeys(("discount", "target_rate", "policy_noise", "noise_clip"), (0.1, 0.3)),
    "sac_n": {"discount": (0.9, 0.99), "target_rate": (0.1, 0.01)},
    "edac": {"diversity": (0.5, 5.0), "learning_rate": (1e-2, 1e-3)},
    "fql": {"alpha": (0.5, 5.0), "discount": (0.9, 0.99), "target_rate": (0.1, 0.01)},
    "rebrac": dict.fromkeys(("actor_penalty", "critic_penalty", "discount", "target_rate"), (0.1, 0.3)),
    "cal_ql": {"min_q_weight": (1.0, 5.0), "discount": (0.9, 0.99), "dataset_share": (0.25, 0.5)},
    "discrete_bc": {"learning_rate": (1e-2, 1e-3)},
    "discrete_cql": {"alpha": (0.5, 5.0), "discount": (0.9, 0.99)},
    "dqn": {"discount": (0.9, 0.99), "target_rate": (0.1, 0.01)},
}  # fmt: skip


def swept(name):
    """Different settings for two runs of an algorithm in one group."""
    normalised = {} if name in ("bc", "discrete_bc") else {"return_range": 3.0}
    return [
        {**SETTINGS.get(name, SMALL), "normalise_observations": True, **normalised, **{k: v[i] for k, v in SWEPT[name].items()}}
        for i in range(2)
    ]  # fmt: skip


def singly(trainer, steps):
    """Gradient steps one by one, as in the online phase. Returns the metrics of every 40 steps, and the states."""
    found = []
    for step in range(steps):
        trainer.learner.train(step, step + 1, lambda _: None)
        if (step + 1) % 40 == 0:
            found.append(trainer.learner.metrics())
    return found, trainer.states()


def entry_of(made):
    return replace(find_algorithm("bc"), algorithm=made)


class Reading(BC):
    """Copies a number to the host, so that it cannot be captured."""

    name = "Reading"

    def update(self, batch):
        metrics = super().update(batch)
        return metrics if float(metrics["actor/loss"].sum()) > -1 else {}
