"""`seqeval_rl.Policy`: a run's policy outside, with the run's normalization and in the environment's units."""

import numpy as np
import pytest
import torch
from synthetic import npz

import seqeval_rl
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.training.evaluation import Evaluator


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two short runs, one of which normalizes observations."""
    folder = tmp_path_factory.mktemp("policy")
    npz(folder / "hopper.npz")
    results = seqeval_rl.evaluate(
        ["td3_bc", "bc"],
        str(folder / "hopper.npz"),
        seeds=[0],
        protocol={"initial": 250, "batch_size": 16, "evaluate_every": 50, "episodes": 2},
        out=folder / "out",
    )
    return {run.algorithm: run for run in results}


@pytest.mark.parametrize("algorithm", ["td3_bc", "bc"])
def test_it_scores_what_the_last_evaluation_scored(runs, algorithm):
    run = runs[algorithm]
    policy = seqeval_rl.Policy.load(run.path)
    assert policy.task == TASKS["hopper"]
    assert f"{algorithm}, seed 0, after 300 transitions" in policy.description
    with Evaluator(TASKS["hopper"], [0], 2, workers=1) as evaluator:
        evaluation = evaluator.evaluate(lambda seen: policy(seen[0])[None], run.evaluations[-1]["evaluation"])
    recorded = run.evaluations[-1]["returns"]
    if algorithm == "bc":  # not normalized: equal to the last bit
        assert evaluation.returns.tolist() == [recorded]
    else:  # a checkpoint has the statistics of all that is visible by then, which the run uses from there on
        assert evaluation.returns[0] == pytest.approx(recorded, rel=0.02)


def test_an_observation_or_a_batch_gives_actions_in_the_environments_units(runs):
    policy = seqeval_rl.Policy.load(runs["td3_bc"].path)
    observations = np.random.default_rng(0).standard_normal((5, 11))
    actions = policy(observations)
    assert actions.shape == (5, 3)
    assert policy(observations[2]).shape == (3,)
    np.testing.assert_allclose(policy(observations[2]), actions[2], atol=1e-6)
    np.testing.assert_allclose(actions, policy.act(observations.astype(np.float32)), atol=1e-6)  # Hopper's are [-1, 1]
    assert np.array_equal(policy(observations.tolist()), actions)
    with pytest.raises(DataError, match=r"expected an observation of shape \(11,\)"):
        policy(np.zeros(4))


def test_actions_are_scaled_to_the_bounds(runs, monkeypatch):
    policy = seqeval_rl.Policy.load(runs["bc"].path)
    monkeypatch.setattr(policy, "scaled_actions", lambda seen: torch.tensor([[-2.0, 0.0, 1.0]]).expand(len(seen), 3))
    monkeypatch.setattr(
        policy,
        "shapes",
        policy.shapes.__class__((11,), np.dtype(float), np.zeros(3), np.array([1.0, 2.0, 4.0]), 1000, np.dtype(float)),
    )
    assert policy(np.zeros(11)).tolist() == [0.0, 1.0, 4.0]


def test_what_is_no_run_is_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="expected the directory of one run, found 2 runs"):
        seqeval_rl.Policy.load(runs["bc"].path.parents[2])
    with pytest.raises(DataError):
        seqeval_rl.Policy.load(tmp_path)


def test_it_needs_no_gradient(runs):
    assert torch.is_grad_enabled()
    assert isinstance(seqeval_rl.Policy.load(runs["bc"].path)(np.zeros(11)), np.ndarray)
