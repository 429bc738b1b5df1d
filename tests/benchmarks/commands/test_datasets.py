"""`seqeval datasets` as a user meets it: what is listed, shown, fetched, verified and collected."""

import json
from pathlib import Path

import minari
import numpy as np
import pytest
from synthetic import assert_one_line, npz

from seqeval_rl import load_dataset
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.data import cache
from seqeval_rl.data.readers import bundled


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", [["datasets"], ["datasets", "list"]])
def test_what_is_here_and_what_can_be_had_is_listed(command, capsys):
    bundled.build("hopper", "random", 60, progress=False)
    assert main(command) == 0
    shown = capsys.readouterr().out
    for words in (
        "bundled/walker2d/replay",
        "minari:seqeval/hopper/random-60-v0",
        "d4rl:hopper-medium-replay-v2",
        "bundled-hopper-random-v0-60",
        "0.0 MB",
    ):
        assert words in shown


def test_a_dataset_is_shown_with_its_numbers_and_its_figure(tmp_path, capsys):
    assert main(["datasets", "show", str(npz(tmp_path / "log.npz")), "--out", str(tmp_path / "figures")]) == 0
    shown = capsys.readouterr().out
    for word in ("300", "Hopper-v5", "mean score", "sha256"):
        assert word in shown
    (figure,) = (tmp_path / "figures").iterdir()
    assert f"figure: {figure}" in shown
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_several_logs_are_shown_end_to_end(tmp_path, capsys):
    assert main(["datasets", "show", "bundled/hopper/random:60+bundled/hopper/medium:600"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("mean score") == 3
    assert "660 transitions" in shown
    assert len(list((tmp_path / "results" / "datasets").iterdir())) == 1


def test_d4rl_files_are_shown_as_d4rl_reads_them(capsys):
    assert main(["datasets", "show", "synthetic:d4rl/hopper-medium-v2:600"]) == 0
    native = capsys.readouterr().out
    assert main(["datasets", "show", "synthetic:d4rl/hopper-medium-v2:600", "--mode", "d4rl"]) == 0
    assert capsys.readouterr().out.splitlines()[1] != native.splitlines()[1]


def test_fetching_says_where_the_dataset_is(capsys):
    assert main(["datasets", "fetch", "bundled/hopper/random:60"]) == 0
    place = Path(capsys.readouterr().out.strip())
    assert place == cache.root() / "bundled-hopper-random-v0-60"
    assert (place / "rows.npy").exists()


def test_sound_datasets_are_verified_and_damaged_ones_are_named(tmp_path, capsys):
    assert main(["datasets", "verify"]) == 0
    assert "no dataset to verify" in capsys.readouterr().out
    bundled.build("hopper", "random", 60, progress=False)
    npz(tmp_path / "log.npz")
    for source in ([], ["bundled/hopper/random:60"], ["minari:seqeval/hopper/random-60-v0"], ["log.npz"]):
        assert main(["datasets", "verify", *source]) == 0
        shown = capsys.readouterr().out
        assert "SHA-256" in shown
        assert "FAIL" not in shown
    path = tmp_path / "cache" / "bundled-hopper-random-v0-60" / "rows.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    assert main(["datasets", "verify", "bundled/hopper/random"]) == 65
    assert "damaged" in capsys.readouterr().err


def test_a_log_of_the_bundled_policies_is_collected(capsys):
    command = ["datasets", "collect", "bundled/hopper/medium", "--id", "mine/hopper/medium-v0", "--transitions", "500"]
    assert main([*command, "--seed", "7"]) == 0
    assert "minari:mine/hopper/medium-v0: 500 transitions" in capsys.readouterr().out
    log = load_dataset("minari:mine/hopper/medium-v0", progress=False)
    assert len(log) == 500
    assert log.sha256 != bundled.build("hopper", "medium", 500, progress=False).sha256
    assert "seed 7" in minari.list_local_datasets()["mine/hopper/medium-v0"]["description"]
    assert main(command) == 78
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    found = load_dataset("minari:mine/hopper/medium-v0", progress=False)
    assert found.sha256 == bundled.build("hopper", "medium", 500, progress=False).sha256


def test_a_log_of_a_runs_checkpoint_is_collected(tmp_path, capsys):
    npz(tmp_path / "log.npz")
    (tmp_path / "mine.toml").write_text(f"""
description = "made"
algorithms = ["sac", "td3_bc"]
seeds = [0]
streams = [{{ name = "noise", blocks = ["{tmp_path}/log.npz"] }}]
protocol = {{ initial = 250, batch_size = 16, evaluate_every = 50, episodes = 2 }}
mini = {{}}
""")
    assert main(["run", "mine.toml", "--out", "out"]) == 0
    for name in ("sac", "td3_bc"):
        run = tmp_path / "out" / "noise" / name / "seed-0"
        command = ["datasets", "collect", str(run), "--transitions", "150", "--id"]
        assert main([*command, f"mine/{name}-v0"]) == 0
        assert main([*command, f"mine/{name}-greedy-v0", "--greedy"]) == 0
        sampled, greedy = (load_dataset(f"minari:mine/{name}{kind}-v0", progress=False) for kind in ("", "-greedy"))
        assert len(sampled) == len(greedy) == 150
        assert sampled.task == greedy.task == load_dataset("log.npz").task
        assert np.array_equal(sampled.observations[0], greedy.observations[0])  # equal starts
        # TD3+BC explores without noise unless it is told to.
        assert np.array_equal(sampled.actions[0], greedy.actions[0]) == (name == "td3_bc")
        # The policy that was evaluated last: its greedy episodes return about what the evaluation's did.
        line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        returns = greedy.episode_returns()
        assert returns.mean() == pytest.approx(line["metrics"]["return"], rel=0.5)
        assert f"{name}, seed 0" in minari.list_local_datasets()[f"mine/{name}-v0"]["algorithm_name"]
    capsys.readouterr()
    manifest = json.loads((run / "manifest.json").read_text())
    del (
        manifest["format"],
        manifest["sha256"],
    )  # as an earlier version wrote it, which had no checksum to change with it
    manifest["algorithm"]["name"] = "somebody_elses"
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert main([*command, "mine/other-v0"]) == 2
    assert "--algorithm file.py:Class or module:Class" in capsys.readouterr().err
    assert main([*command, "mine/other-v0", "--algorithm", "td3_bc"]) == 0


def test_logs_of_different_tasks_are_not_shown_as_one(tmp_path, capsys):
    for task in ("hopper", "walker2d"):
        bundled.build(task, "random", 60, progress=False)
    assert main(["datasets", "show", "bundled/hopper/random:60+bundled/walker2d/random:60"]) == 65
    assert_one_line(capsys, ["walker2d", "one task"], tmp_path)


BAD = [
    (["show"], 2, ["datasets list"]),
    (["fetch"], 2, ["datasets list"]),
    (["show", "bundled/hoper/medium"], 2, ["bundled/hopper/medium"]),
    (["verify", "bundled/hopper/random"], 74, ["not on this machine", "datasets fetch"]),
    (["verify", "bundled/hoper/random"], 2, ["bundled/hopper/random"]),
    (["fetch", "d4rl:hoper-medium-v2", "--offline"], 2, ["d4rl:hopper-medium-v2"]),
    (["fetch", "d4rl:hopper-medium-v2", "--offline"], 74, ["hopper_medium-v2.hdf5", "offline"]),
    (["collect"], 2, ["--id"]),
    (["collect", "--id", "mine-v0"], 2, ["bundled/TASK/LEVEL", "--train"]),
    (["collect", "bundled/hopper/medum", "--id", "mine-v0"], 2, ["bundled/hopper/medium"]),
    (["collect", "bundled/hopper/medium", "--id", "mine"], 2, ["--id 'mine'", "version"]),
    (["collect", "bundled/hopper/medium", "--id", "mine-v0", "--transitions", "0"], 2, ["--transitions", "0"]),
    (["collect", "bundled/hopper/medium", "--id", "mine-v0", "--greedy"], 2, ["--greedy", "bundled policies"]),
    (["collect", "bundled/hopper/medium", "--id", "mine-v0", "--online", "5"], 2, ["--online", "--train"]),
    (["collect", "{tmp}/nowhere", "--id", "mine-v0"], 2, ["nowhere", "manifest.json"]),
]


@pytest.mark.parametrize(
    ("command", "code", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_what_is_wrong_is_said_in_one_line(command, code, words, tmp_path, capsys):
    assert main(["datasets", *(part.format(tmp=tmp_path) for part in command)]) == code
    assert_one_line(capsys, words, tmp_path)
    assert minari.list_local_datasets() == {}
