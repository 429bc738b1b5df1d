"""What an algorithm that acts on a history gets: in evaluation, in the online phase, also resumed, and from `Policy`."""

import gymnasium
import numpy as np
import pytest
import torch
from sequence_bc import SequenceBC
from synthetic import noise_dataset
from trainers import SMALL, entry_of

from seqeval_rl.collection.collect import policy_behavior
from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import UsageError
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.trainer import Run, Trainer

PENDULUM = Task("pendulum", "InvertedPendulum-v5", 0.0, 1000.0)
H = 4


class Acting(SequenceBC):
    """Acts on the current observation, and keeps the histories that it is given: those to explore, and the others."""

    acts_on_history = True

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.greedy, self.exploring = [], []

    def act(self, history, noise):
        (self.greedy if noise is None else self.exploring).append(history.each(torch.clone))
        return super().act(history.observations[:, :, -1], noise)


def trainer(online=0, **protocol):
    entry = entry_of(Acting)
    config = entry.configure({**SMALL, "normalise_observations": False}, "test")
    stream = Stream("log", [noise_dataset([70, 50], obs_dim=4, act_dim=1, seed=3, task=PENDULUM)])
    settings = {
        "initial": 100,
        "batch_size": 8,
        "evaluate_every": 20,
        "episodes": 3,
        "order": "logged",
        "online": online,
    }
    return Trainer(
        [Run(stream, config, seed) for seed in (0, 1)], entry, Protocol(**settings | protocol), torch.device("cpu")
    )


def consistent(histories):
    """For a series of histories [R, E, H, ...]: how often episodes began; and that each follows from the one before."""
    begun = 0
    for before, now in zip([None, *histories], histories, strict=False):
        first = now.steps[..., -1] == 0
        begun += int(first.sum())
        assert (now.valid.sum(-1) == (now.steps[..., -1] + 1).clamp(max=H)).all()
        for column in (now.observations, now.actions, now.rewards, now.received):
            assert not column[now.valid == 0].any()
        assert not now.actions[..., -1, :].any()
        assert not now.rewards[..., -1].any()
        assert not now.received[first].any()
        if before is not None:
            later = ~first
            assert torch.equal(now.observations[later][:, :-1], before.observations[later][:, 1:])
            assert torch.equal(now.steps[later][:, -1], before.steps[later][:, -1] + 1)
            expected = before.received[later][:, -1] + now.rewards[later][:, -2]
            torch.testing.assert_close(now.received[later][:, -1], expected)
    return begun


def test_evaluations_begin_a_history_with_each_episode_and_keep_their_own():
    with trainer() as made, Evaluator(PENDULUM, (0, 1), 3) as evaluator:
        policy = made.learner.policy()
        for number in (0, 1):
            made.algorithm.greedy.clear()
            found = evaluator.evaluate(policy, number)
            histories = made.algorithm.greedy
            assert len(histories) == found.lengths.max()
            assert consistent(histories) == 6
            longest = np.unravel_index(found.lengths.argmax(), found.lengths.shape)
            received = float(histories[-1].received[(*longest, -1)])
            assert received == pytest.approx(found.returns[longest] - 1, abs=1.01)  # all but the last reward


def test_the_online_phase_keeps_a_history_of_its_own_and_resumes_with_it():
    outcomes, made = [], trainer(online=60)
    with made, Evaluator(PENDULUM, (0, 1), 3) as evaluator:
        sequential_evaluation(made, evaluator, lambda o: not outcomes.append(o), lambda _: None)
        seen = made.algorithm.exploring
        ends = np.stack([state["online"]["ends"][0].numpy() for state in outcomes[-1].states])
    assert len(seen) == 60
    assert consistent(seen) == 2 + np.count_nonzero(ends[:, :-1])
    with trainer(online=60) as resumed, Evaluator(PENDULUM, (0, 1), 3) as evaluator:
        resumed.load_states(outcomes[2].states)
        done = outcomes[2].point.env_steps
        assert 0 < done < 60
        sequential_evaluation(resumed, evaluator, lambda _: True, lambda _: None, 3)
        again = resumed.algorithm.exploring
    assert len(again) == 60 - done
    for one, other in zip(seen[done:], again, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_prequential_scores_are_of_the_histories_of_the_dataset():
    with trainer() as made:
        made.algorithm.greedy.clear()
        made.prequential.score(100, [110, 110])
        history = made.algorithm.greedy[0]
        dataset = made.runs[0].stream.blocks[0].dataset
        rows = np.arange(100, 110)
        np.testing.assert_array_equal(history.observations[0, :, -1], dataset.observations[rows])
        np.testing.assert_array_equal(history.actions[0, :, -2], dataset.actions[rows - 1])
        expected = np.cumsum(dataset.rewards[70:].astype(float))[rows - 71]
        np.testing.assert_allclose(history.received[0, :, -1], expected, rtol=1e-4, atol=1e-5)
        assert not history.actions[:, :, -1].any()


def test_a_policy_is_told_when_episodes_begin_and_what_they_return():
    with trainer() as made:
        policy = Policy(made._entry, made.runs[0].config, PENDULUM, made.states()[0], 0)
    env = gymnasium.make("InvertedPendulum-v5")
    for seed in (1, 2):
        policy.reset()
        observation, _ = env.reset(seed=seed)
        for _ in range(6):
            observation, reward, *_ = env.step(policy(observation))
            policy.receive(reward)
    env.close()
    assert consistent(policy._algorithm.greedy) == 2
    policy(observation)
    with pytest.raises(UsageError, match="receive"):
        policy(observation)
    with pytest.raises(UsageError, match="acts on a history"):
        policy_behavior(policy, "it", "test")
