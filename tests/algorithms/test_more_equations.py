"""Updates of TD3, SAC-N, EDAC, FQL, ReBRAC, Cal-QL and %BC against reference implementations of one run, in float64."""

from __future__ import annotations

import pytest
import torch
from one_run import ACT, RUN, SPEC, B, Net, PlainAdam, assert_metric, assert_same, batches, smaller, twins
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.algorithms.cal_ql import CalQL
from seqeval_rl.algorithms.cql import CQL
from seqeval_rl.algorithms.edac import EDAC
from seqeval_rl.algorithms.fql import FQL
from seqeval_rl.algorithms.rebrac import ReBRAC
from seqeval_rl.algorithms.sac_n import SACN
from seqeval_rl.algorithms.td3 import TD3
from seqeval_rl.interface.per_seed import noise_dim

pytestmark = pytest.mark.usefixtures("float64")


class NormalizedNet(Net):
    """A perceptron whose hidden layers are normalized after the ReLU."""

    def __init__(self, mlp, member=0):
        super().__init__(mlp, member)
        self.matrices = len(self.leaves)
        self.leaves += [norm[RUN, member].detach().clone().requires_grad_() for norm in mlp.norms]

    def __call__(self, x):
        for i in range(0, self.matrices, 2):
            x = x @ self.leaves[i] + self.leaves[i + 1]
            if i < self.matrices - 2:
                x = x.clamp(min=0)
                scale, shift = self.leaves[self.matrices + i], self.leaves[self.matrices + i + 1]
                variance = ((x - x.mean(1, keepdim=True)) ** 2).mean(1, keepdim=True)
                x = (x - x.mean(1, keepdim=True)) / (variance + 1e-5).sqrt() * scale + shift
        return x


def assert_same_normalized(reference, mlp, member=0):
    for mine, theirs in zip(reference.leaves, [*mlp.weights, *mlp.norms], strict=True):
        torch.testing.assert_close(theirs[RUN, member].detach(), mine.detach(), rtol=1e-9, atol=1e-10)


def test_td3():
    algorithm = TD3(TD3.Config(hidden=(4, 5), policy_noise=0.4, learning_rate=3e-4), SPEC)
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
        critic_adam.step(critic_loss)
        assert_metric(metrics, "critic/loss", critic_loss)
        if t % 2 == 0:
            actor_loss = -critics[0].q(s, actor(s).tanh()).mean()
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
    s = batch.observations
    explored = (actor(s[RUN]).tanh() + 0.1 * batch.actions[RUN]).clamp(-1, 1).detach()
    torch.testing.assert_close(algorithm.act(s, batch.actions)[RUN], explored)


@pytest.mark.parametrize(("kind", "eta"), [(SACN, 0.0), (EDAC, 2.0)])
def test_sac_n_and_edac(kind, eta):
    n = 4
    settings = {"diversity": eta} if kind is EDAC else {}
    algorithm = kind(kind.Config(hidden=(4, 5, 6), critics=n, **settings), SPEC)
    actor = Net(algorithm.actor.net)
    critics, targets = ([Net(each.net, i) for i in range(n)] for each in (algorithm.critic, algorithm.critic_target))
    log_alpha = torch.tensor(0.0, requires_grad=True)
    actor_adam, alpha_adam = PlainAdam(actor.leaves, 3e-4), PlainAdam([log_alpha], 3e-4)
    critic_adam = PlainAdam([leaf for critic in critics for leaf in critic.leaves], 3e-4)

    def policy(s):
        out = actor(s)
        normal = Normal(out[:, :ACT], out[:, ACT:].clamp(-5, 2).exp())
        return normal, Independent(TransformedDistribution(normal, TanhTransform()), 1)

    def least(nets, s, a):
        return torch.stack([net.q(s, a) for net in nets]).min(0).values

    def direction(critic, s, a):
        a = a.clone().requires_grad_()
        (slope,) = torch.autograd.grad(critic.q(s, a).sum(), a, create_graph=True)
        return slope / (slope.norm(dim=1, keepdim=True) + 1e-10)  # a gradient of 0 has the subgradient 0

    for batch in batches(2 * ACT, 4):
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        normal, squashed = policy(s2)
        a2 = (normal.mean + normal.stddev * e[:, :ACT]).tanh()
        y = (r + 0.99 * m * (least(targets, s2, a2) - log_alpha.exp() * squashed.log_prob(a2))).detach()
        critic_loss = sum(((critic.q(s, a) - y) ** 2).mean() for critic in critics)
        if kind is EDAC:
            g = [direction(critic, s, a) for critic in critics]
            pairs = [(g[i] * g[j]).sum(1).mean() for i in range(n) for j in range(n) if i != j]
            assert_metric(metrics, "critic/similarity", sum(pairs) / (n - 1))
        normal, squashed = policy(s)
        b = (normal.mean + normal.stddev * e[:, ACT:]).tanh()
        log_prob = squashed.log_prob(b)
        actor_loss = (log_alpha.exp().detach() * log_prob - least(critics, s, b)).mean()
        alpha_loss = -(log_alpha * (log_prob - ACT).detach()).mean()
        assert_metric(metrics, "critic/loss", critic_loss)
        assert_metric(metrics, "actor/loss", actor_loss)
        assert_metric(metrics, "actor/log_prob", log_prob.mean())
        values = torch.stack([critic.q(s, a) for critic in critics])
        assert_metric(metrics, "critic/spread", ((values - values.mean(0)) ** 2).mean(0).sqrt().mean())
        actor_adam.step(actor_loss)
        alpha_adam.step(alpha_loss)
        critic_adam.step(critic_loss + eta * sum(pairs) / (n - 1) if kind is EDAC else critic_loss)
        assert_metric(metrics, "actor/alpha", log_alpha.exp())
        for target, critic in zip(targets, critics, strict=True):
            target.towards(critic, 0.005)
    assert_same(actor, algorithm.actor.net)
    for i in range(n):
        assert_same(critics[i], algorithm.critic.net, i)
        assert_same(targets[i], algorithm.critic_target.net, i)
    s, a, *_ = batch.run(RUN)[:6]
    found = algorithm.values(batch.observations, batch.actions)[RUN]
    torch.testing.assert_close(found, least(critics, s, a).detach())


def test_edac_without_diversity_is_sac_n():
    batch = batches(2 * ACT, 1)[0]
    plain, diverse = SACN(SACN.Config(hidden=(4,)), SPEC), EDAC(EDAC.Config(hidden=(4,), diversity=0.0), SPEC)
    for _ in range(3):
        found = diverse.update(batch)
        for name, value in plain.update(batch).items():
            torch.testing.assert_close(found[name], value)
    for mine, theirs in zip(plain.critic.parameters(), diverse.critic.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("variant", [{}, {"aggregation": "min", "normalise_q": True}])
def test_fql(variant):
    steps, alpha = 3, 2.5
    config = FQL.Config(hidden=(4, 5), flow_steps=steps, alpha=alpha, **variant)
    algorithm = FQL(config, SPEC)
    flow, actor = Net(algorithm.flow), Net(algorithm.actor)
    critics, targets = (
        [NormalizedNet(each.net, i) for i in (0, 1)] for each in (algorithm.critic, algorithm.critic_target)
    )
    actor_adam = PlainAdam([*flow.leaves, *actor.leaves], 3e-4)
    critic_adam = PlainAdam([*critics[0].leaves, *critics[1].leaves], 3e-4)
    width = noise_dim(FQL, config, SPEC)
    assert width == 3 * ACT + 1

    def mu(s, z):
        return actor(torch.cat([s, z], 1))

    for batch in batches(width):
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        x0, z, z2, t = e[:, :ACT], e[:, ACT : 2 * ACT], e[:, 2 * ACT : 3 * ACT], Normal(0, 1).cdf(e[:, 3 * ACT :])
        next_q = torch.stack([target.q(s2, mu(s2, z2).clamp(-1, 1)) for target in targets])
        next_q = next_q.min(0).values if variant else next_q.mean(0)
        y = (r + 0.99 * m * next_q).detach()
        critic_loss = sum(((critic.q(s, a) - y) ** 2).mean() for critic in critics)
        flow_loss = ((flow(torch.cat([s, (1 - t) * x0 + t * a, t], 1)) - (a - x0)) ** 2).mean()
        x = z
        for k in range(steps):
            x = x + flow(torch.cat([s, x, torch.full((B, 1), k / steps)], 1)) / steps
        distance = ((mu(s, z) - x.clamp(-1, 1).detach()) ** 2).mean()
        q = (critics[0].q(s, mu(s, z).clamp(-1, 1)) + critics[1].q(s, mu(s, z).clamp(-1, 1))) / 2
        value = q.mean() / q.abs().mean().detach() if variant else q.mean()
        actor_loss = alpha * distance - value
        actor_adam.step(flow_loss + actor_loss)
        critic_adam.step(critic_loss)
        for i in (0, 1):
            targets[i].towards(critics[i], 0.005)
        for name, expected in (("critic/loss", critic_loss), ("actor/loss", actor_loss), ("actor/flow", flow_loss)):
            assert_metric(metrics, name, expected)
        assert_metric(metrics, "actor/distance", distance)
    assert_same(flow, algorithm.flow)
    assert_same(actor, algorithm.actor)
    for i in (0, 1):
        assert_same_normalized(critics[i], algorithm.critic.net, i)
        assert_same_normalized(targets[i], algorithm.critic_target.net, i)
    s, noise = batch.observations, 3 * batch.actions
    for z in (None, noise):
        own = torch.zeros(B, ACT) if z is None else z[RUN]
        torch.testing.assert_close(algorithm.act(s, z)[RUN], mu(s[RUN], own).clamp(-1, 1).detach())
    values = torch.stack([critic.q(s[RUN], batch.actions[RUN]) for critic in critics])
    expected = values.min(0).values if variant else values.mean(0)
    torch.testing.assert_close(algorithm.values(s, batch.actions)[RUN], expected.detach())


def test_rebrac():
    config = ReBRAC.Config(hidden=(4, 5), policy_noise=0.4, actor_penalty=0.7, critic_penalty=0.3)
    algorithm = ReBRAC(config, SPEC)
    assert algorithm.period == 2
    actor, actor_target = Net(algorithm.actor.net), Net(algorithm.actor_target.net)
    critics, targets = (
        [NormalizedNet(each.net, i) for i in (0, 1)] for each in (algorithm.critic, algorithm.critic_target)
    )
    actor_adam = PlainAdam(actor.leaves, 3e-4)
    critic_adam = PlainAdam(critics[0].leaves + critics[1].leaves, 3e-4)
    for t, batch in enumerate(batches(ACT, 4, ("next_actions",)), 1):
        logged = batch.next_actions[RUN]
        logged[t] = torch.nan
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        a2 = (actor_target(s2).tanh() + (0.4 * e).clamp(-0.5, 0.5)).clamp(-1, 1)
        unknown = logged.isnan().any(1)
        assert 0 < unknown.sum() < B
        distance = torch.stack(
            [torch.tensor(0.0) if unknown[j] else ((a2[j] - logged[j]) ** 2).sum() for j in range(B)]
        )
        y = (r + 0.99 * m * (smaller(targets, s2, a2) - 0.3 * distance)).detach()
        critic_loss = sum(((critic.q(s, a) - y) ** 2).mean() for critic in critics)
        critic_adam.step(critic_loss)
        assert_metric(metrics, "critic/loss", critic_loss)
        assert_metric(metrics, "critic/known", 1 - unknown.double().mean())
        if t % 2 == 0:
            b = actor(s).tanh()
            q = smaller(critics, s, b)
            actor_loss = (0.7 * ((b - a) ** 2).sum(1) - q / q.abs().mean().detach()).mean()
            actor_adam.step(actor_loss)
            assert_metric(metrics, "actor/loss", actor_loss)
            actor_target.towards(actor, 0.005)
            for i in (0, 1):
                targets[i].towards(critics[i], 0.005)
    assert_same(actor, algorithm.actor.net)
    assert_same(actor_target, algorithm.actor_target.net)
    for i in (0, 1):
        assert_same_normalized(critics[i], algorithm.critic.net, i)
        assert_same_normalized(targets[i], algorithm.critic_target.net, i)


def test_cal_ql_is_cql_with_values_of_the_policys_actions_bounded_from_below():
    """The critic's step by hand; the rest is CQL's, as without a bound all of it is."""
    n = 3
    config = CalQL.Config(hidden=(4, 5), sampled_actions=n)
    width = noise_dim(CalQL, config, SPEC)
    batch = batches(width, 1, ("returns",))[0]
    assert batch.returns[RUN].isinf().any()
    algorithm, plain = CalQL(config, SPEC), CQL(CQL.Config(hidden=(4, 5), sampled_actions=n), SPEC)
    actor, critics, targets = Net(algorithm.actor.net), twins(algorithm.critic), twins(algorithm.critic_target)
    s, a, r, s2, m, e = batch.run(RUN)[:6]
    bound = batch.returns[RUN]

    def policy(s):
        out = actor(s)
        normal = Normal(out[:, :ACT], (out[:, ACT:] - 1).clamp(-20, 2).exp())
        return normal, Independent(TransformedDistribution(normal, TanhTransform()), 1)

    e_next, e_many = e[:, ACT : 2 * ACT], e[:, 2 * ACT :].reshape(B, 3, n, ACT)
    (normal, squashed), (normal2, squashed2) = policy(s), policy(s2)
    y = (r + 0.99 * m * smaller(targets, s2, (normal2.mean + normal2.stddev * e_next).tanh())).detach()
    gap = td = 0.0
    met = 0
    for critic in critics:
        total = torch.zeros(B)
        for k in range(n):
            uniform = 2 * Normal(0, 1).cdf(e_many[:, 0, k]) - 1
            total = total + torch.exp(critic.q(s, uniform) - ACT * torch.tensor(0.5).log())
            for kind, (base, density) in ((1, (normal, squashed)), (2, (normal2, squashed2))):
                action = (base.mean + base.stddev * e_many[:, kind, k]).tanh().detach()
                q = critic.q(s, action)
                met += int((q < bound).sum())
                total = total + torch.exp(torch.where(q < bound, bound, q) - density.log_prob(action).detach())
        gap = gap + (total.log() - critic.q(s, a)).mean()
        td = td + ((critic.q(s, a) - y) ** 2).mean()
    assert met > 0
    leaves = critics[0].leaves + critics[1].leaves
    PlainAdam(leaves, 3e-4).step(td + 5.0 * gap)
    metrics = algorithm.update(batch)
    assert_metric(metrics, "critic/td", td)
    assert_metric(metrics, "critic/gap", gap)
    assert_metric(metrics, "critic/known", bound.isfinite().double().mean())
    for i in (0, 1):
        assert_same(critics[i], algorithm.critic.net, i)
    algorithm = CalQL(config, SPEC)
    for each in batches(width):
        expected = plain.update(each)
        found = algorithm.update(each._replace(returns=torch.full((2, B), -torch.inf)))
        for name, value in expected.items():
            assert torch.equal(found[name], value)


def test_bc_of_the_best_share():
    algorithm = BC(BC.Config(hidden=(4, 5), best=0.6), SPEC)
    actor = Net(algorithm.actor.net)
    adam = PlainAdam(actor.leaves, 1e-3)
    for batch in batches(0, 3, ("ranks",)):
        metrics = algorithm.update(batch)
        s, a, *_ = batch.run(RUN)[:6]
        best = [j for j in range(B) if batch.ranks[RUN, j] < 0.6]
        assert 0 < len(best) < B
        loss = ((actor(s[best]).tanh() - a[best]) ** 2).mean()
        adam.step(loss)
        assert_metric(metrics, "actor/loss", loss)
        assert_metric(metrics, "actor/cloned", torch.tensor(len(best) / B))
    assert_same(actor, algorithm.actor.net)
    before = [weight.detach().clone() for weight in algorithm.actor.parameters()]
    unknown = batch._replace(ranks=torch.full((2, B), torch.nan))
    fresh = BC(BC.Config(hidden=(4, 5), best=0.6), SPEC)
    start = [weight.detach().clone() for weight in fresh.actor.parameters()]
    assert not fresh.update(unknown)["actor/loss"].any()  # nothing is known: nothing is learned
    assert all(torch.equal(one, two) for one, two in zip(start, fresh.actor.parameters(), strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(start, before, strict=True))
