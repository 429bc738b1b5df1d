"""The kernels of an update on CUDA, counted without a GPU."""

import os

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.benchmarks.speed import launches
from seqeval_rl.benchmarks.speed.contenders import Problem
from seqeval_rl.interface.registry import find_algorithm

AIMS = {"td3_bc": 35, "iql": 45, "cql": 90}


def test_tritons_launches_are_counted_with_what_is_left_of_torchs(monkeypatch, capsys):
    """Everything but what torch's compiler makes of the losses, which takes long: each is taken for one kernel here."""
    monkeypatch.setattr(launches, "_planned", lambda *_: 1)
    assert main(["bench", "--launches", "--algorithms", "td3_bc", "--runs", "2"]) == 0
    lines = dict(reversed(line.split(maxsplit=1)) for line in capsys.readouterr().out.splitlines()[3:])
    # Per update, every second of which is one of the actor: three layers of five networks and of two, two of these backward.
    assert {name: float(count) for name, count in lines.items()} == {
        "_forward": 12, "_backward": 6, "_adam": 1.5, "_gather": 1, "_sum_metrics": 1, "_soft_update": 0.5,
        "critic_losses": 1, "critic_losses backward": 1, "smooth": 1, "actor_losses": 0.5, "actor_losses backward": 0.5,
        "aten::add": 0.5, "aten::_foreach_copy_": 0.5,
    }  # fmt: skip


@pytest.mark.skipif(
    "SEQEVAL_COUNT_KERNELS" not in os.environ, reason="half a minute: SEQEVAL_COUNT_KERNELS=1 pytest " + __file__
)
@pytest.mark.parametrize("name", AIMS)
@pytest.mark.parametrize("runs", [1, 20])
def test_an_update_takes_few_kernels(name, runs):
    entry = find_algorithm(name)
    assert sum(launches.launches(entry, entry.configure({}, "a test"), Problem(), runs).values()) <= AIMS[name]


def test_what_would_have_no_effect_is_refused(capsys):
    assert main(["bench", "--launches", "--repeats", "3"]) == 2
    assert "bench --repeats: expected no such option with --launches" in capsys.readouterr().err
