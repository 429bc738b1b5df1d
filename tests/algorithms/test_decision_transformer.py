"""Decision Transformer: its loss against a reference in float64, written token by token, and its runs in the harness."""

import numpy as np
import pytest
import torch
from recorder import recorded
from trainers import EXACT, LateEvaluator, assert_same, carry

from seqeval_rl.algorithms.decision_transformer import DecisionTransformer
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.checks.contract import CHECKS
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.interface.sequences import History, fold

R, B, H, OBS, A = 2, 3, 4, 5, 2
SMALL = {"width": 8, "layers": 2, "heads": 2, "most_steps": 6, "sequence_length": H}
ORDER = {"order": "episodes", "initial": 160}


def batch(seed=0):
    draws = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(R, B * H, *shape, generator=draws)

    last = torch.tensor([[0, 2, 9], [1, 3, 5]])
    rows = Batch(normal(OBS), normal(A).tanh(), normal(), normal(OBS), torch.ones(R, B * H), torch.zeros(R, B, 0))
    return fold(rows, last, last, normal())


def linear(mlp, r, x):
    for i in range(0, len(mlp.weights), 2):
        x = x @ mlp.weights[i][r, 0] + mlp.weights[i + 1][r, 0, 0]
        if i < len(mlp.weights) - 2:
            x = x.clamp(min=0)
    return x


def normalized(norm, r, x):
    mean = x.mean()
    return (x - mean) / ((x - mean).square().mean() + 1e-5).sqrt() * norm.scale[r, 0] + norm.shift[r, 0]


def predicted(net, r, to_go, s, a, steps, count):
    """The actions at the last `count` transitions of one sequence, from its tokens alone: padding is left out."""
    tokens = []
    for t in range(H - count, H):
        when = (
            net.embed_step.weights[0][r, 0, min(int(steps[t]), SMALL["most_steps"] - 1)]
            + net.embed_step.weights[1][r, 0, 0]
        )
        tokens.append(linear(net.embed_return, r, to_go[t : t + 1]) + when)
        tokens.append(linear(net.embed_observation, r, s[t]) + when)
        tokens.append(linear(net.embed_action, r, a[t]) + when)
    x = [normalized(net.normalization, r, token) for token in tokens]
    width, heads = SMALL["width"], SMALL["heads"]
    for layer in net.layers:
        projections = [linear(layer.projections, r, normalized(layer.before_attention, r, token)) for token in x]
        q, k, v = ([p[i * width : (i + 1) * width].view(heads, -1) for p in projections] for i in range(3))
        mixed = []
        for i in range(len(x)):
            parts = []
            for h in range(heads):
                scores = torch.stack([q[i][h] @ k[j][h] for j in range(i + 1)]) / (width // heads) ** 0.5
                weights = scores.exp() / scores.exp().sum()
                parts.append(sum(w * v[j][h] for j, w in enumerate(weights)))
            mixed.append(torch.cat(parts))
        x = [token + linear(layer.mixture, r, m) for token, m in zip(x, mixed, strict=True)]
        x = [token + linear(layer.units, r, normalized(layer.before_units, r, token)) for token in x]
    return [linear(net.predict, r, normalized(net.last, r, x[i])).tanh() for i in range(1, len(x), 3)]


@pytest.mark.usefixtures("float64")
def test_attention_and_loss_are_those_of_the_equations():
    algorithm = DecisionTransformer(DecisionTransformer.Config(**SMALL), Spec((OBS,), A, (0, 1), torch.device("cpu")))
    given, net = batch(), algorithm.transformer
    losses = algorithm.loss(given)
    for r in range(R):
        errors = []
        for b in range(B):
            count = int(given.valid[r, b].sum())
            columns = given.returns_to_go, given.observations, given.actions, given.steps
            found = predicted(net, r, *(column[r, b] for column in columns), count)
            errors += [(one - given.actions[r, b, H - count + i]).square().mean() for i, one in enumerate(found)]
        torch.testing.assert_close(losses[r], torch.stack(errors).mean(), rtol=1e-10, atol=1e-12)
    # It acts for what is left of the target.
    received = torch.tensor([0.0, 0.3, 0.1, 0.4]).expand(R, B, H)
    history = History.of(given, received * given.valid)
    actions = algorithm.act(history, None)
    for r in range(R):
        for b in range(B):
            columns = (
                1.1 - history.received[r, b],
                history.observations[r, b],
                history.actions[r, b],
                history.steps[r, b],
            )
            found = predicted(net, r, *columns, int(given.valid[r, b].sum()))
            torch.testing.assert_close(actions[r, b], found[-1].detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_an_update_is_a_step_of_adam():
    algorithm = DecisionTransformer(
        DecisionTransformer.Config(**SMALL, weight_decay=0.0), Spec((OBS,), A, (0, 1), torch.device("cpu"))
    )
    given, weights = batch(), list(algorithm.transformer.parameters())
    before = [weight.detach().clone() for weight in weights]
    gradients = torch.autograd.grad(algorithm.loss(given).sum(), weights)
    algorithm.update(given)
    for weight, old, g in zip(weights, before, gradients, strict=True):
        torch.testing.assert_close(weight.detach(), old - 1e-4 * g / (g.abs() + 1e-8), rtol=1e-6, atol=1e-9)


def test_padding_and_later_transitions_change_nothing():
    algorithm = DecisionTransformer(DecisionTransformer.Config(**SMALL), Spec((OBS,), A, (0, 1), torch.device("cpu")))
    given = batch()
    columns = [given.returns_to_go, given.observations, given.actions]
    expected = algorithm.transformer(*columns, given.steps, given.valid)
    for column in columns:
        column[given.valid == 0] = 7.0
    again = algorithm.transformer(*columns, given.steps, given.valid)
    torch.testing.assert_close(again[given.valid == 1], expected[given.valid == 1])
    for column in columns:
        column[:, :, -1] = 7.0
    columns[2][:, :, -2] = -7.0  # the action that is predicted, too
    again = algorithm.transformer(*columns, given.steps, given.valid)
    torch.testing.assert_close(
        again[:, :, :-1][given.valid[:, :, :-1] == 1], expected[:, :, :-1][given.valid[:, :, :-1] == 1]
    )


def test_captured_and_asynchronous_runs_are_what_they_are():
    options = {"settings": SMALL, "protocol": {**ORDER, "evaluate_every": 45, "increment": 3}}
    eager = carry("decision_transformer", **options)
    assert_same(carry("decision_transformer", capture=recorded, **options), eager, **EXACT)
    assert_same(carry("decision_transformer", evaluator=LateEvaluator, asynchronous=True, **options), eager, **EXACT)
    resumed = carry("decision_transformer", states=eager[1][3], done=2, **options)
    assert_same(resumed, eager[2:], **EXACT)
    assert np.isfinite(eager[-1][1]).all()


@pytest.mark.parametrize(
    "name", ["config", "metrics", "act", "inputs", "capture", "isolation", "group", "sweep", "state"]
)
def test_the_contract(name):
    class Smaller(DecisionTransformer):
        Config = type(find_algorithm("decision_transformer").configure(SMALL, "test"))

    CHECKS[name](Smaller)
