"""DrQ+BC: its update against a reference of one run in float64, its runs in groups and captured, and what it learns."""

import gymnasium
import numpy as np
import pytest
import torch
from one_run import ACT, RUN, B, Net, PlainAdam, assert_metric, assert_same
from recorder import recorded
from torch.nn import functional
from vd4rl_files import episodes, write_shard

from seqeval_rl.algorithms.drq_bc import DrQBC
from seqeval_rl.collection.export import export_policy
from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.stream import Stream
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import UsageError
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.per_seed import noise_dim
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.interface.state import join_states
from seqeval_rl.protocol import Protocol
from seqeval_rl.training.evaluation import Evaluator
from seqeval_rl.training.loop import sequential_evaluation
from seqeval_rl.training.trainer import Run, Trainer

CPU = torch.device("cpu")
SIDE = 20  # of images to learn from
IMAGE = (3, 16, 16)
SMALL = {"features": 5, "hidden": (6, 7)}


def batches(count, runs=2, seed=5):
    draws = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(runs, B, *shape, generator=draws)

    def image():
        return torch.randint(256, (runs, B, *IMAGE), generator=draws).to(torch.get_default_dtype())

    masks = torch.tensor([0.98, 0.0, 0.98, 1.0, 0.0, 1.0]).expand(runs, B)  # of n-step transitions
    return [
        Batch(image(), normal(ACT).tanh(), normal(), image(), masks.clone(), normal(2 * ACT + 4)) for _ in range(count)
    ]


class Convolutions:
    """The encoder of one run, as separate leaves."""

    def __init__(self, encoder):
        own = [*encoder.kernels, *encoder.biases]
        self.leaves = [weight[RUN].detach().clone().requires_grad_() for weight in own]

    def __call__(self, images):
        x = images / 255 - 0.5
        for i, stride in enumerate((2, 1, 1, 1)):
            x = functional.conv2d(x, self.leaves[i], self.leaves[4 + i], stride=stride).clamp(min=0)
        return x.flatten(1)


class Features:
    """A trunk of one run."""

    def __init__(self, trunk):
        self.linear = Net(trunk.linear)
        self.norm = [part[RUN].detach().clone().requires_grad_() for part in (trunk.norm.scale, trunk.norm.shift)]
        self.leaves = [*self.linear.leaves, *self.norm]

    def __call__(self, h):
        x = self.linear(h)
        x = x - x.mean(1, keepdim=True)
        return (x / ((x**2).mean(1, keepdim=True) + 1e-5).sqrt() * self.norm[0] + self.norm[1]).tanh()


def shifted(images, z, most):
    """Padded by `most` pixels of the border and cropped, image by image."""
    crops = []
    for image, numbers in zip(images, z, strict=True):
        left, down = (min(int((2 * most + 1) * torch.special.ndtr(number)), 2 * most) for number in numbers)
        padded = functional.pad(image[None], (most,) * 4, mode="replicate")[0]
        crops.append(padded[:, down : down + image.shape[1], left : left + image.shape[2]])
    return torch.stack(crops)


def test_updates_are_those_of_the_equations(float64):
    config = DrQBC.Config(**SMALL, std_steps=3, shift=2)
    algorithm = DrQBC(config, Spec(IMAGE, ACT, (11, 12), CPU))
    encoder = Convolutions(algorithm.encoder)
    actor_trunk, actor = Features(algorithm.actor.trunk), Net(algorithm.actor.net)
    trunk, critics = Features(algorithm.critic.trunk), [Net(algorithm.critic.net, i) for i in (0, 1)]
    target_trunk = Features(algorithm.critic_target.trunk)
    targets = [Net(algorithm.critic_target.net, i) for i in (0, 1)]
    actor_adam = PlainAdam(actor_trunk.leaves + actor.leaves, 3e-4)
    critic_adam = PlainAdam(encoder.leaves + trunk.leaves + critics[0].leaves + critics[1].leaves, 3e-4)
    for step, batch in enumerate(batches(5)):
        metrics = algorithm.update(batch)
        s, a, r, s2, m, e = batch.run(RUN)[:6]
        sigma = 1.0 + min(step / 3, 1.0) * (0.1 - 1.0)

        def noisy(mean, e, sigma=sigma):
            x = mean + (sigma * e).clamp(-0.3, 0.3)
            return x - x.detach() + x.detach().clamp(-1, 1)

        h, h2 = encoder(shifted(s, e[:, 2 * ACT : 2 * ACT + 2], 2)), encoder(shifted(s2, e[:, 2 * ACT + 2 :], 2))
        a2 = noisy(actor(actor_trunk(h2)).tanh(), e[:, :ACT])
        features = target_trunk(h2)
        y = (r + 0.99 * m * torch.minimum(targets[0].q(features, a2), targets[1].q(features, a2))).detach()
        critic_loss = sum(((critic.q(trunk(h), a) - y) ** 2).mean() for critic in critics)
        assert_metric(metrics, "critic/q", sum(critic.q(trunk(h), a).mean() / 2 for critic in critics))
        critic_adam.step(critic_loss)
        h = h.detach()
        b = noisy(actor(actor_trunk(h)).tanh(), e[:, ACT : 2 * ACT])
        q = torch.minimum(*(critic.q(trunk(h), b) for critic in critics))
        actor_loss = ((b - a) ** 2).mean() - 2.5 * q.mean() / q.abs().mean().detach()
        actor_adam.step(actor_loss)
        assert_metric(metrics, "critic/loss", critic_loss)
        assert_metric(metrics, "actor/loss", actor_loss)
        assert_metric(metrics, "actor/cloning", ((b - a) ** 2).mean())
        for target, online in zip([target_trunk, *targets], [trunk, *critics], strict=True):
            for mine, theirs in zip(target.leaves, online.leaves, strict=True):
                mine.data = 0.99 * mine.data + 0.01 * theirs.data
    found = [*algorithm.encoder.kernels, *algorithm.encoder.biases]
    for mine, theirs in zip(encoder.leaves, found, strict=True):
        torch.testing.assert_close(theirs[RUN].detach(), mine.detach(), rtol=1e-9, atol=1e-10)
    assert_same(actor, algorithm.actor.net)
    for i in (0, 1):
        assert_same(critics[i], algorithm.critic.net, i)
        assert_same(targets[i], algorithm.critic_target.net, i)
    for mine, theirs in ((trunk, algorithm.critic.trunk), (target_trunk, algorithm.critic_target.trunk)):
        torch.testing.assert_close(theirs.norm.scale[RUN].detach(), mine.norm[0].detach(), rtol=1e-9, atol=1e-10)
    # It acts and judges on images that are not shifted.
    s, a = batch.observations, batch.actions
    mean = actor(actor_trunk(encoder(s[RUN]))).tanh().detach()
    torch.testing.assert_close(algorithm.act(s, None)[RUN], mean)
    torch.testing.assert_close(algorithm.act(s, a)[RUN], (mean + 0.1 * a[RUN]).clamp(-1, 1))
    features = trunk(encoder(s[RUN]))
    expected = torch.minimum(*(critic.q(features, a[RUN]) for critic in critics)).detach()
    torch.testing.assert_close(algorithm.values(s, a)[RUN], expected)


def test_the_encoder_learns_from_the_critics_alone():
    algorithm = DrQBC(DrQBC.Config(**SMALL), Spec(IMAGE, ACT, (1, 2), CPU))
    (batch,) = batches(1)
    encoded = algorithm.encode(batch.observations, batch.noise[..., :2])
    weights = list(algorithm.encoder.parameters())
    of_critics = torch.autograd.grad(algorithm.critic(encoded, batch.actions).sum(), weights, retain_graph=True)
    assert all(gradient.abs().sum() > 0 for gradient in of_critics[:4])
    loss, _ = algorithm.actor_losses(encoded.detach(), batch.actions, batch.noise[..., :ACT])
    of_actor = torch.autograd.grad(loss.sum(), [*weights, *algorithm.critic.net.parameters()], allow_unused=True)
    assert all(gradient is None for gradient in of_actor)


def test_a_run_is_the_same_alone_and_in_a_group_of_three():
    """The largest difference after 200 updates is 0.0 as well."""
    seeds = (4, 5, 6)
    config = DrQBC.Config(features=10, hidden=(32, 32))
    together = DrQBC(config, Spec(IMAGE, ACT, seeds, CPU))
    alone = [DrQBC(config, Spec(IMAGE, ACT, (seed,), CPU)) for seed in seeds]
    for batch in batches(24, runs=3):
        together.update(batch)
        for r, single in enumerate(alone):
            single.update(batch.each(lambda column, r=r: column[r : r + 1]))
    joined, state = join_states([single.state_dict() for single in alone]), together.state_dict()
    for part in ("encoder", "actor", "critic", "critic_target"):
        for name, weights in joined[part].items():
            assert torch.equal(state[part][name], weights), (part, name)


def test_float_settings_may_differ_between_the_runs_of_a_group():
    swept = {"alpha": (1.0, 4.0), "noise_clip": (0.1, 0.5), "first_std": (1.0, 0.5), "discount": (0.9, 0.99)}
    together = DrQBC(
        DrQBC.Config(**SMALL, **{name: torch.tensor(values) for name, values in swept.items()}),
        Spec(IMAGE, ACT, (1, 2), CPU),
    )
    alone = [
        DrQBC(
            DrQBC.Config(**SMALL, **{name: values[r] for name, values in swept.items()}),
            Spec(IMAGE, ACT, (1 + r,), CPU),
        )
        for r in (0, 1)
    ]
    for batch in batches(3):
        metrics = together.update(batch)
        for r, single in enumerate(alone):
            for name, value in single.update(batch.each(lambda column, r=r: column[r : r + 1])).items():
                torch.testing.assert_close(metrics[name][r : r + 1], value, rtol=1e-4, atol=1e-5)


@pytest.fixture
def bright(tmp_path, monkeypatch):
    """A stream of grey images in which an action is the brightness of its image, and the task."""
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    gymnasium.register(
        "test/Picture-v0", "reach:Picture", max_episode_steps=5, kwargs={"side": SIDE, "white": SIDE // 2}
    )
    made = episodes([25] * 12, side=SIDE, act_dim=1, seed=0)
    rng = np.random.default_rng(0)
    for episode in made:
        levels = rng.integers(0, 256, len(episode["reward"]))
        episode["observation"][:] = levels[:, None, None, None]
        episode["observation"][:, :, : SIDE // 2] = 255
        noise = 0.3 * rng.standard_normal(len(levels))
        action = np.clip(levels / 127.5 - 1.0 + noise, -1, 1)
        episode["action"][1:, 0] = action[:-1]
        episode["reward"][1:] = 1.0 - np.abs(action - (levels / 127.5 - 1.0))[:-1]
    write_shard(tmp_path / "walker_walk" / "0.hdf5", made)
    task = Task("picture", "test/Picture-v0", 0.0, 5.0)
    yield Stream("bright", [load_dataset(f"vd4rl:{tmp_path / 'walker_walk'}", task, progress=False)]), task
    del gymnasium.registry["test/Picture-v0"]


def carried(stream, evaluator, seeds=(0, 1), protocol=None, settings=None, **options):
    """(evaluation, metrics, states) at each evaluation point."""
    entry = find_algorithm("drq_bc")
    given = {
        "features": 20,
        "hidden": (64, 64),
        "learning_rate": 1e-3,
        "std_steps": 100,
        "shift": 2,
        **(settings or {}),
    }
    chosen = Protocol(**{"initial": 150, "batch_size": 32, "evaluate_every": 75, "episodes": 4, **(protocol or {})})
    runs = [Run(stream, entry.configure(given, "test"), seed) for seed in seeds]
    found = []
    with Trainer(runs, entry, chosen, CPU, **options) as trainer:

        def report(outcome):
            found.append((outcome.evaluation, outcome.metrics, trainer.states()))
            return True

        sequential_evaluation(trainer, evaluator, report, lambda _: None)
    return found


def test_it_learns_from_images_in_the_harness(bright):
    stream, task = bright
    with Evaluator(task, [0], 4, "gymnasium", 1) as evaluator:
        found = carried(stream, evaluator, (0,), {"initial": 200, "evaluate_every": 300, "updates_per_increment": 3})
    first, last = (evaluation.scores.mean(1) for evaluation, *_ in (found[0], found[-1]))
    assert (last > first + 15).all()
    assert (last > 80).all()


class Fixed:
    """Scores the greedy action on fixed images."""

    def evaluate(self, act, evaluation):
        return act(np.random.default_rng(0).integers(0, 256, (2, 4, 9, SIDE, SIDE)).astype(np.float32))


def test_captured_it_computes_what_it_computes(bright):
    options = {
        "settings": {"features": 5, "hidden": (8, 8)},
        "protocol": {"batch_size": 8, "increment": 5},
    }
    plain, captured = (carried(bright[0], Fixed(), capture=capture, **options) for capture in (None, recorded))
    for (one, metrics, states), (other, found, again) in zip(plain, captured, strict=True):
        np.testing.assert_array_equal(one, other)
        assert {name: values.tolist() for name, values in metrics.items()} == {
            name: values.tolist() for name, values in found.items()
        }
        for name, weights in states[0]["algorithm"]["critic"].items():
            assert torch.equal(weights, again[0]["algorithm"]["critic"][name])


@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_its_policy_is_exported(bright, tmp_path, format):
    if format == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    (*_, states) = carried(bright[0], Fixed(), protocol={"batch_size": 8, "increment": 50})[-1]
    settings = {"features": 20, "hidden": (64, 64)}
    entry = find_algorithm("drq_bc")
    policy = Policy(entry, entry.configure(settings, "test"), bright[1], states[0], 0)
    # It raises where the file's actions differ, for one image or several.
    assert export_policy(policy, tmp_path / "policy", format) < 1e-6
    assert (tmp_path / "policy").stat().st_size > 10_000


def test_vectors_and_tiny_images_are_refused():
    entry, config = find_algorithm("drq_bc"), DrQBC.Config(**SMALL)
    with pytest.raises(UsageError, match=r"drq_bc is for images, found observations of shape \(11,\)"):
        entry.build(config, Spec((11,), ACT, (0,), CPU))
    with pytest.raises(UsageError, match="expected images of at least 15 x 15 pixels, found 14 x 20"):
        entry.build(config, Spec((3, 14, 20), ACT, (0,), CPU))
    assert noise_dim(DrQBC, config, Spec(IMAGE, ACT, (0,), CPU)) == 2 * ACT + 4
