"""What is computed from batches of sequences: n-step returns, rewards to go and action chunks, against loops."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from seqeval_rl.errors import UsageError
from seqeval_rl.interface import action_chunks, n_step_returns, rewards_to_go
from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.interface.sequences import fold

R, B = 2, 3


def sequences(length, seed, terminals=0.2):
    draws = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(R, B * length, *shape, generator=draws, dtype=torch.float64)

    masks = (torch.rand(R, B * length, generator=draws) > terminals).double()
    batch = Batch(normal(4), normal(2), normal(), normal(4), masks, torch.zeros(R, B, 0))
    last = torch.randint(0, 2 * length, (R, B), generator=draws)
    return fold(batch, last, last)


@settings(max_examples=30)
@given(length=st.integers(1, 8), n=st.integers(1, 10), seed=st.integers(0, 99))
def test_n_step_returns_stop_at_the_end_of_the_sequence_and_at_terminal_states(length, n, seed):
    batch, gamma = sequences(length, seed), 0.9
    found = n_step_returns(batch, n, gamma)
    for r in range(R):
        for b in range(B):
            for h in range(length):
                total, factor = 0.0, float(batch.valid[r, b, h])
                stop = min(h + n, length)
                for k in range(h, stop):
                    total += factor * float(batch.rewards[r, b, k])
                    factor *= gamma * float(batch.masks[r, b, k])
                assert float(found.returns[r, b, h]) == pytest.approx(total)
                assert float(found.discounts[r, b, h]) == pytest.approx(factor)
                assert found.last[r, b, h] == stop - 1


def test_a_discount_of_each_run_broadcasts():
    batch = sequences(5, 0)
    both = n_step_returns(batch, 3, torch.tensor([0.9, 0.5], dtype=torch.float64)[:, None, None])
    for r, gamma in enumerate((0.9, 0.5)):
        alone = n_step_returns(batch.each(lambda column, r=r: column[r : r + 1]), 3, gamma)
        torch.testing.assert_close(both.returns[r], alone.returns[0])


def test_rewards_to_go_and_chunks():
    batch = sequences(5, 1)
    to_go = rewards_to_go(batch)
    chunks, valid = action_chunks(batch, 3)
    assert chunks.shape == (R, B, 3, 3, 2)
    for h in range(5):
        there = batch.valid[..., h]
        torch.testing.assert_close(to_go[..., h], batch.rewards[..., h:].sum(-1) * there)
        if h < 3:
            assert torch.equal(chunks[:, :, h], batch.actions[:, :, h : h + 3])
            assert torch.equal(valid[..., h], there)
    with pytest.raises(UsageError, match="from 1 to sequence_length = 5, found 6"):
        action_chunks(batch, 6)
