"""`seqeval_rl.benchmarks.run`, the function of the command's name."""

import json

import pytest

from seqeval_rl.benchmarks import run
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import UsageError
from seqeval_rl.results.read import read_results

SETTINGS = {"protocol": {"increment": 10, "evaluate_every": 100}, "td3_bc": {"hidden": [8, 8]}}


def test_the_function_runs_what_the_command_runs(suite, tmp_path):
    results = run(
        str(suite), out=tmp_path / "out", algorithms=["td3_bc"], seeds=[0], settings=SETTINGS,
        sweep={"td3_bc": {"alpha": [1.0, 2.5]}}, progress=False,
    )  # fmt: skip
    assert [(result.run, result.status) for result in results] == [
        (f"noise/td3_bc,alpha={alpha}/seed-0", "finished") for alpha in ("1", "2.5")
    ]
    assert "TD3+BC" in str(results.table())
    before = [path.read_bytes() for path in sorted(tmp_path.rglob("metrics.jsonl"))]
    options = [
        "--set",
        "protocol.increment=10",
        "--set",
        "protocol.evaluate_every=100",
        "--set",
        "td3_bc.hidden=[8, 8]",
    ]
    options += ["--set", "td3_bc.alpha=1,2.5", "--algorithms", "td3_bc", "--seeds", "0", "--out", str(tmp_path / "out")]
    assert main(["run", str(suite), *options]) == 0
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("metrics.jsonl"))] == before
    assert len(read_results(tmp_path / "out")) == 2


def test_unknown_settings_are_refused(suite, tmp_path):
    with pytest.raises(UsageError, match="unknown protocol setting 'incrment'"):
        run(str(suite), out=tmp_path / "out", settings={"protocol": {"incrment": 10}})


def scores(text):
    """What each line says about the run, without seconds."""
    return [json.loads(line)["metrics"]["score"] for line in text.splitlines()]


@pytest.mark.parametrize("count", [2, 3, 6, 7])
def test_shards_divide_the_runs(count, suite, tmp_path):
    """Two run groups, or six runs where there are more shards: nothing twice, nothing left out, the same numbers. The seventh
    shard has no run."""
    arguments = {"seeds": [0, 1, 2], "settings": SETTINGS}
    run(str(suite), out=tmp_path / "whole", progress=False, **arguments)
    parts = [tmp_path / str(index) for index in range(1, count + 1)]
    for index, part in enumerate(parts, 1):
        done = run(str(suite), out=part, shard=f"{index}/{count}", progress=False, **arguments)
        assert bool(done) == part.exists() == (index <= 6)
    found = [(path.relative_to(part), path.read_bytes()) for part in parts for path in part.rglob("metrics.jsonl")]
    whole = {path.relative_to(tmp_path / "whole"): path for path in (tmp_path / "whole").rglob("metrics.jsonl")}
    assert sorted(path for path, _ in found) == sorted(whole)
    assert all(scores(text) == scores(whole[path].read_bytes()) for path, text in found)


def test_a_shard_without_runs_ends_with_0(suite, tmp_path, capsys):
    assert main(["run", str(suite), "--shard", "5/5", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == "--shard 5/5: nothing to do, there are fewer runs than parts.\n"
    assert not (tmp_path / "out").exists()
