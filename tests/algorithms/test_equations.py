"""Updates of each algorithm against reference implementations of one run, written from the equations, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from one_run import ACT, RUN, SPEC, B, Net, PlainAdam, assert_metric, assert_same, batches, smaller, twins
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from seqeval_rl.algorithms.awac import AWAC
from seqeval_rl.algorithms.bc import BC
from seqeval_rl.algorithms.cal_ql import CalQL
from seqeval_rl.algorithms.cql import CQL
from seqeval_rl.algorithms.edac import EDAC
from seqeval_rl.algorithms.fql import FQL
from seqeval_rl.algorithms.iql import IQL, actor_losses
from seqeval_rl.algorithms.rebrac import ReBRAC
from seqeval_rl.algorithms.sac import SAC
from seqeval_rl.algorithms.sac_n import SACN
from seqeval_rl.algorithms.td3 import TD3
from seqeval_rl.algorithms.td3_bc import TD3BC
from seqeval_rl.interface.per_seed import columns, noise_dim
from seqeval_rl.networks.distributions import tanh_normal_log_prob

pytestmark = pytest.mark.usefixtures("float64")


def test_bc():
    algorithm = BC(BC.Config(hidden=(4, 5)), SPEC)
    actor = Net(algorithm.actor.net)
    adam = PlainAdam(actor.leaves, 1e-3)
    for batch in batches(0):
        metrics = algorithm.update(batch)
        s, a, *_ = batch.run(RUN)[:6]
        loss = sum(((actor(s).tanh() - a)[i, j] ** 2) for i in range(B) for j in range(ACT)) / (B * ACT)
        adam.step(loss)
        assert_metric(metrics, "actor/loss", loss)
    assert_same(actor, algorithm.actor.net)


def test_td3_bc():
    config = TD3BC.Config(hidden=(4, 5), policy_noise=0.4)
    algorithm = TD3BC(config, SPEC)
    assert algorithm.period == 2
    actor, critics = Net(algorithm.actor.net), twins(algorithm.critic)
    actor_target, critic_targets = Net(algorithm.actor_target.net), twins(algorithm.critic_target)
    actor_adam = PlainAdam(actor.leaves, 3e-4)
    critic_adam = PlainAdam(critics[0].leaves + critics[1].leaves, 3e-4)
    for t, batch in enumerate(batches(ACT, 4), 1):
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        a2 = (actor_target(s2).tanh() + (0.4 * e).clamp(-0.5, 0.5)).clamp(-1, 1)
        y = (r + 0.99 * m * smaller(critic_targets, s2, a2)).detach()
        critic_loss = ((critics[0].q(s, a) - y) ** 2).mean() + ((critics[1].q(s, a) - y) ** 2).mean()
        mean_q = (critics[0].q(s, a) + critics[1].q(s, a)).mean() / 2
        critic_adam.step(critic_loss)
        assert_metric(metrics, "critic/loss", critic_loss)
        assert_metric(metrics, "critic/q", mean_q)
        if t % 2 == 0:
            b = actor(s).tanh()
            q = critics[0].q(s, b)
            actor_loss = ((b - a) ** 2).mean() - 2.5 / q.abs().mean().detach() * q.mean()
            actor_adam.step(actor_loss)
            assert_metric(metrics, "actor/loss", actor_loss)
            actor_target.towards(actor, 0.005)
            for i in (0, 1):
                critic_targets[i].towards(critics[i], 0.005)
    assert_same(actor, algorithm.actor.net)
    assert_same(actor_target, algorithm.actor_target.net)
    for i in (0, 1):
        assert_same(critics[i], algorithm.critic.net, i)
        assert_same(critic_targets[i], algorithm.critic_target.net, i)


def test_iql():
    algorithm = IQL(IQL.Config(hidden=(4, 5), temperature=6.0), SPEC)
    actor, value, critics = Net(algorithm.actor.net), Net(algorithm.value.net), twins(algorithm.critic)
    targets = twins(algorithm.critic_target)
    log_std = torch.zeros(ACT, requires_grad=True)
    adams = [
        PlainAdam([*actor.leaves, log_std], 3e-4),
        PlainAdam(value.leaves, 3e-4),
        PlainAdam(critics[0].leaves + critics[1].leaves, 3e-4),
    ]
    for batch in batches(0):
        batch = batch._replace(rewards=5 * batch.rewards)
        metrics = algorithm.update(batch)
        s, a, r, s2, m, _ = batch.run(RUN)[:6]
        advantage = smaller(targets, s, a).detach() - value(s)[:, 0]
        value_loss = sum((0.7 if x > 0 else 0.3) * x * x for x in advantage) / B
        y = (r + 0.99 * m * value(s2)[:, 0]).detach()
        critic_loss = ((critics[0].q(s, a) - y) ** 2).mean() + ((critics[1].q(s, a) - y) ** 2).mean()
        log_prob = Independent(Normal(actor(s).tanh(), log_std.exp()), 1).log_prob(a)
        weight = torch.exp(6.0 * advantage.detach()).clamp(max=100.0)
        actor_loss = -(weight * log_prob).mean()
        for adam, loss in zip(adams, (actor_loss, value_loss, critic_loss), strict=True):
            adam.step(loss)
        for i in (0, 1):
            targets[i].towards(critics[i], 0.005)
        for name, loss in (("actor", actor_loss), ("value", value_loss), ("critic", critic_loss)):
            assert_metric(metrics, f"{name}/loss", loss)
    assert_same(actor, algorithm.actor.net)
    assert_same(value, algorithm.value.net)
    torch.testing.assert_close(algorithm.actor.log_stds[RUN, 0].detach(), log_std.detach())
    for i in (0, 1):
        assert_same(critics[i], algorithm.critic.net, i)
        assert_same(targets[i], algorithm.critic_target.net, i)


def test_bc_with_dropout_and_a_rate_that_decays():
    config = BC.Config(hidden=(4, 5), dropout=0.3, decay_steps=3)
    algorithm = BC(config, SPEC)
    actor = Net(algorithm.actor.net)
    adam = PlainAdam(actor.leaves, 1e-3)
    assert noise_dim(BC, config, SPEC) == 9
    for t, batch in enumerate(batches(9, 4)):
        metrics = algorithm.update(batch)
        s, a, *_, e = batch.run(RUN)[:6]
        kept = (Normal(0, 1).cdf(e) >= 0.3) / 0.7
        assert 0.5 < (kept > 0).double().mean() < 0.9
        w1, b1, w2, b2, w3, b3 = actor.leaves
        h = (s @ w1 + b1).clamp(min=0) * kept[:, :4]
        h = (h @ w2 + b2).clamp(min=0) * kept[:, 4:]
        loss = (((h @ w3 + b3).tanh() - a) ** 2).mean()
        adam.rate = 1e-3 * (1 + math.cos(math.pi * min(t, 3) / 3)) / 2
        adam.step(loss)
        assert_metric(metrics, "actor/loss", loss)
    assert_same(actor, algorithm.actor.net)
    assert adam.rate == 0  # after the decay it does not learn any more
    s = batch.observations
    torch.testing.assert_close(algorithm.act(s, None)[RUN], actor(s[RUN]).tanh().detach())


def test_awac_without_clipping_its_samples():
    """The critics see the samples of (1) and (3) as they are drawn; actions that explore stay in bounds."""
    algorithm = AWAC(AWAC.Config(hidden=(4, 5), actor_hidden=(5, 4), clip_samples=False), SPEC)
    batch = batches(2 * ACT, 1)[0]
    batch = batch._replace(noise=3 * batch.noise)
    actor, critics, targets = Net(algorithm.actor.net), twins(algorithm.critic), twins(algorithm.critic_target)
    s, a, r, s2, m, e = batch.run(RUN)[:6]
    a2, b = actor(s2).tanh() + e[:, ACT:], actor(s).tanh() + e[:, :ACT]
    assert a2.abs().max() > 1
    assert b.abs().max() > 1
    y = (r + 0.99 * m * smaller(targets, s2, a2)).detach()
    weight = ((smaller(critics, s, a) - smaller(critics, s, b)) / 2).softmax(0).detach()
    log_prob = Independent(Normal(actor(s).tanh(), torch.ones(ACT)), 1).log_prob(a)
    metrics = algorithm.update(batch)
    assert_metric(metrics, "critic/loss", sum(((critic.q(s, a) - y) ** 2).mean() for critic in critics))
    assert_metric(metrics, "actor/loss", -(weight * log_prob).sum())
    assert algorithm.act(batch.observations, 9 * batch.actions).abs().max() <= 1


def test_cql_clips_the_actions_of_the_dataset():
    batch = batches(noise_dim(CQL, CQL.Config(sampled_actions=2), SPEC), 1)[0]
    batch = batch._replace(actions=batch.actions.sign())
    inside = batch._replace(actions=0.999 * batch.actions)
    limited, free = (
        CQL(CQL.Config(hidden=(4,), sampled_actions=2, action_limit=limit), SPEC) for limit in (0.999, None)
    )
    of_limited, of_free = limited.update(batch), free.update(inside)
    for name, value in of_limited.items():
        assert torch.equal(value, of_free[name])


def test_td3_bc_as_published_clips_unscaled_normals():
    algorithm = TD3BC(TD3BC.Config(hidden=(4, 5), **TD3BC.published), SPEC)
    batch = batches(ACT, 1)[0]
    actor, critics = Net(algorithm.actor_target.net), twins(algorithm.critic_target)
    _, _, _, s2, _, e = batch.run(RUN)[:6]
    a2 = (actor(s2).tanh() + e.clamp(-0.5, 0.5)).clamp(-1, 1)
    expected = torch.stack([critic.q(s2, a2) for critic in critics])
    torch.testing.assert_close(algorithm.next_q(batch)[RUN], expected.detach())


def test_iql_clips_its_weights():
    algorithm = IQL(IQL.Config(hidden=(4,), temperature=1e3), SPEC)
    batch = batches(0, 1)[0]
    mean, log_std = algorithm.actor(batch.observations)
    log_prob = Independent(Normal(mean, log_std.exp()), 1).log_prob(batch.actions)
    loss = actor_losses(mean, log_std, batch.actions, torch.ones(2, B), 1e3, 100.0)  # exp(1000) is infinite
    torch.testing.assert_close(loss, -100 * log_prob.mean(1))


def test_awac():
    algorithm = AWAC(AWAC.Config(hidden=(4, 5), actor_hidden=(5, 4, 3), temperature=0.3, weight_decay=0.01), SPEC)
    actor, critics, targets = Net(algorithm.actor.net), twins(algorithm.critic), twins(algorithm.critic_target)
    log_std = torch.zeros(ACT, requires_grad=True)
    actor_adam = PlainAdam([*actor.leaves, log_std], 3e-4, 0.01)
    critic_adam = PlainAdam(critics[0].leaves + critics[1].leaves, 3e-4)
    for batch in batches(2 * ACT):
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        a2 = (actor(s2).tanh() + log_std.exp() * e[:, ACT:]).clamp(-1, 1)
        y = (r + 0.99 * m * smaller(targets, s2, a2)).detach()
        critic_loss = ((critics[0].q(s, a) - y) ** 2).mean() + ((critics[1].q(s, a) - y) ** 2).mean()
        sample = (actor(s).tanh() + log_std.exp() * e[:, :ACT]).clamp(-1, 1)
        advantage = (smaller(critics, s, a) - smaller(critics, s, sample)).detach()
        weight = torch.exp(advantage / 0.3) / torch.exp(advantage / 0.3).sum()
        log_prob = Independent(Normal(actor(s).tanh(), log_std.exp()), 1).log_prob(a)
        actor_loss = -(weight * log_prob).sum()
        actor_adam.step(actor_loss)
        critic_adam.step(critic_loss)
        for i in (0, 1):
            targets[i].towards(critics[i], 0.005)
        assert_metric(metrics, "critic/loss", critic_loss)
        assert_metric(metrics, "actor/loss", actor_loss)
    assert_same(actor, algorithm.actor.net)
    torch.testing.assert_close(algorithm.actor.log_stds[RUN, 0].detach(), log_std.detach())
    for i in (0, 1):
        assert_same(critics[i], algorithm.critic.net, i)
        assert_same(targets[i], algorithm.critic_target.net, i)


def test_cql():
    n = 3
    config = CQL.Config(hidden=(4, 5), sampled_actions=n)
    algorithm = CQL(config, SPEC)
    actor, critics, targets = Net(algorithm.actor.net), twins(algorithm.critic), twins(algorithm.critic_target)
    c, d = torch.tensor(1.0, requires_grad=True), torch.tensor(-1.0, requires_grad=True)
    log_alpha = torch.tensor(0.0, requires_grad=True)
    actor_adam = PlainAdam([*actor.leaves, c, d], 3e-4)
    critic_adam = PlainAdam(critics[0].leaves + critics[1].leaves, 3e-4)
    alpha_adam = PlainAdam([log_alpha], 3e-4)

    def policy(s):
        out = actor(s)
        std = (c * out[:, ACT:] + d).clamp(-20, 2).exp()
        normal = Normal(out[:, :ACT], std)
        return normal, Independent(TransformedDistribution(normal, TanhTransform()), 1)

    for batch in batches(noise_dim(CQL, config, SPEC)):
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        e_s, e_next, e_many = e[:, :ACT], e[:, ACT : 2 * ACT], e[:, 2 * ACT :].reshape(B, 3, n, ACT)
        (normal, squashed), (normal2, squashed2) = policy(s), policy(s2)
        y = (r + 0.99 * m * smaller(targets, s2, (normal2.mean + normal2.stddev * e_next).tanh())).detach()
        losses, gaps = [], []
        for critic in critics:
            terms = []
            for k in range(n):
                uniform = 2 * Normal(0, 1).cdf(e_many[:, 0, k]) - 1
                terms.append(critic.q(s, uniform) - math.log(0.5**ACT))
                for kind, (base, density) in ((1, (normal, squashed)), (2, (normal2, squashed2))):
                    action = (base.mean + base.stddev * e_many[:, kind, k]).tanh().detach()
                    terms.append(critic.q(s, action) - density.log_prob(action).detach())
            gaps.append((torch.log(sum(torch.exp(term) for term in terms)) - critic.q(s, a)).mean())
            losses.append(((critic.q(s, a) - y) ** 2).mean())
        critic_loss = sum(losses) + 5.0 * sum(gaps)
        b = (normal.mean + normal.stddev * e_s).tanh()
        log_prob = squashed.log_prob(b)
        actor_loss = (log_alpha.exp().detach() * log_prob - smaller(critics, s, b)).mean()
        alpha_loss = -(log_alpha * (log_prob - ACT).detach()).mean()
        for adam, loss in ((actor_adam, actor_loss), (critic_adam, critic_loss), (alpha_adam, alpha_loss)):
            adam.step(loss)
        for i in (0, 1):
            targets[i].towards(critics[i], 0.005)
        assert_metric(metrics, "critic/td", sum(losses))
        assert_metric(metrics, "critic/gap", sum(gaps))
        assert_metric(metrics, "critic/loss", critic_loss)
        assert_metric(metrics, "actor/loss", actor_loss)
    assert_same(actor, algorithm.actor.net)
    for mine, theirs in (
        (c, algorithm.actor.multiplier),
        (d, algorithm.actor.offset),
        (log_alpha, algorithm.log_alpha),
    ):
        torch.testing.assert_close(theirs.detach()[RUN].reshape(()), mine.detach())
    for i in (0, 1):
        assert_same(critics[i], algorithm.critic.net, i)
        assert_same(targets[i], algorithm.critic_target.net, i)


def test_sac():
    algorithm = SAC(SAC.Config(hidden=(4, 5)), SPEC)
    assert algorithm.period == 2
    actor, critics, targets = Net(algorithm.actor.net), twins(algorithm.critic), twins(algorithm.critic_target)
    log_alpha = torch.tensor(0.0, requires_grad=True)
    actor_adam, alpha_adam = PlainAdam(actor.leaves, 3e-4), PlainAdam([log_alpha], 3e-4)
    critic_adam = PlainAdam(critics[0].leaves + critics[1].leaves, 3e-4)

    def policy(s):
        out = actor(s)
        normal = Normal(out[:, :ACT], out[:, ACT:].clamp(-5, 2).exp())
        return normal, Independent(TransformedDistribution(normal, TanhTransform()), 1)

    for t, batch in enumerate(batches(2 * ACT, 4), 1):
        batch = batch._replace(observations=8 * batch.observations)  # so that the clip is met
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        normal, squashed = policy(s2)
        a2 = (normal.mean + normal.stddev * e[:, :ACT]).tanh()
        y = (r + 0.99 * m * (smaller(targets, s2, a2) - log_alpha.exp() * squashed.log_prob(a2))).detach()
        critic_loss = ((critics[0].q(s, a) - y) ** 2).mean() + ((critics[1].q(s, a) - y) ** 2).mean()
        mean_q = (critics[0].q(s, a) + critics[1].q(s, a)).mean() / 2
        critic_adam.step(critic_loss)
        assert_metric(metrics, "critic/loss", critic_loss)
        assert_metric(metrics, "critic/q", mean_q)
        if t % 2 == 0:
            normal, squashed = policy(s)
            b = (normal.mean + normal.stddev * e[:, ACT:]).tanh()
            log_prob = squashed.log_prob(b)
            actor_loss = (log_alpha.exp().detach() * log_prob - smaller(critics, s, b)).mean()
            alpha_loss = -(log_alpha * (log_prob - ACT).detach()).mean()
            actor_adam.step(actor_loss)
            alpha_adam.step(alpha_loss)
            assert_metric(metrics, "actor/loss", actor_loss)
            assert_metric(metrics, "actor/log_prob", log_prob.mean())
        assert_metric(metrics, "actor/alpha", log_alpha.exp())
        for i in (0, 1):
            targets[i].towards(critics[i], 0.005)
    assert_same(actor, algorithm.actor.net)
    torch.testing.assert_close(algorithm.log_alpha.detach()[RUN], log_alpha.detach())
    for i in (0, 1):
        assert_same(critics[i], algorithm.critic.net, i)
        assert_same(targets[i], algorithm.critic_target.net, i)


def test_sac_hooks():
    algorithm = SAC(SAC.Config(hidden=(4, 5)), SPEC)
    batch = batches(2 * ACT, 1)[0]
    mean, log_std = algorithm.actor(batch.observations)
    policy = Independent(TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform()), 1)
    torch.testing.assert_close(
        algorithm.log_prob(batch.observations, batch.actions), policy.log_prob(batch.actions).detach()
    )
    critics = twins(algorithm.critic)
    s, a, *_ = batch.run(RUN)[:6]
    torch.testing.assert_close(
        algorithm.values(batch.observations, batch.actions)[RUN], smaller(critics, s, a).detach()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_squashed_density_is_finite_at_the_bounds_and_near_them(dtype):
    mean, log_std = torch.tensor([0.3, -8.0], dtype=dtype), torch.tensor([-5.0, 2.0], dtype=dtype)
    ends = torch.tensor([1.0, 1 - 1e-6, 1 - 1e-7, -1.0, 0.0], dtype=dtype)
    actions = torch.cartesian_prod(ends, ends)
    found = tanh_normal_log_prob(mean, log_std, actions)
    assert found.isfinite().all()
    # Within the margin of the bounds the density is that at the margin.
    assert torch.allclose(found[0], tanh_normal_log_prob(mean, log_std, actions[6]), rtol=1e-3)


@pytest.mark.parametrize("algorithm", [TD3BC, IQL, AWAC, CQL, SAC, TD3, SACN, EDAC, FQL, ReBRAC, CalQL])
def test_only_a_terminal_masks_the_next_state(algorithm):
    """The critics' target has no next state where the mask is 0, and has it where the mask is 1 (a time limit keeps 1)."""
    width = noise_dim(algorithm, algorithm.Config(), SPEC)
    batch = batches(width, 1, columns(algorithm, algorithm.Config()))[0]

    def critic_loss(next_observations):
        # A fresh group each time; CQL's conservative term looks at s' too, so that it is left out.
        config = algorithm.Config(**({"min_q_weight": 0.0} if issubclass(algorithm, CQL) else {}))
        return algorithm(config, SPEC).update(batch._replace(next_observations=next_observations))["critic/loss"]

    of_terminal, of_time_limit = batch.next_observations.clone(), batch.next_observations.clone()
    of_terminal[:, [1, 4]] += 1
    of_time_limit[:, [0, 2]] += 1
    before = critic_loss(batch.next_observations)
    assert torch.equal(critic_loss(of_terminal), before)
    assert not torch.isclose(critic_loss(of_time_limit), before).any()
