"""A dataset format of somebody else's: one file and one entry point, and every command takes its sources."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqeval_rl import load_dataset
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.data.load import known_datasets, label
from seqeval_rl.data.readers.base import readers
from seqeval_rl.errors import DataError, FileError, UsageError

EXAMPLE = Path(__file__).parents[4] / "examples" / "csv_reader.py"


def install(folder, monkeypatch, entry_points):
    """What `pip install` of a package with these entry points leaves on the path."""
    info = folder / "lab-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[seqeval_rl.readers]\n{entry_points}\n")
    monkeypatch.syspath_prepend(folder)
    readers.cache_clear()


@pytest.fixture(autouse=True)
def forgotten():
    yield
    readers.cache_clear()
    sys.modules.pop("csv_reader", None)


@pytest.fixture
def csv_file(tmp_path, monkeypatch):
    """An installed reader, and a file for it in the working directory."""
    (tmp_path / "site").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "site")
    install(tmp_path / "site", monkeypatch, "csv = csv_reader:CsvReader")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = [f"observation_{i}" for i in range(11)] + [f"action_{i}" for i in range(3)]
    ends = (np.arange(90) % 30 == 29)[:, None]
    table = [rng.standard_normal((90, 11)), rng.uniform(-1, 1, (90, 3)), np.ones((90, 1)), ends, np.zeros((90, 1))]
    header = ",".join([*names, "reward", "terminated", "truncated"])
    np.savetxt("hopper-robot.csv", np.concatenate(table, 1), delimiter=",", header=header, comments="")
    return "hopper-robot.csv"


def test_it_is_loaded_listed_fetched_verified_and_shown(csv_file, tmp_path, capsys):
    dataset = load_dataset(csv_file)
    assert (len(dataset), dataset.obs_shape, dataset.act_dim, dataset.task.name) == (90, (11,), 3, "hopper")
    assert len(load_dataset(f"{csv_file}:40")) == 40
    assert label(f"{csv_file}:40") == "hopper-robot"
    assert csv_file in known_datasets()
    assert main(["datasets", "list"]) == 0
    shown = capsys.readouterr().out
    assert f"CSV, in this directory:\n  {csv_file}" in shown
    assert "<path>.csv" in shown
    assert main(["datasets", "fetch", csv_file]) == 0
    assert capsys.readouterr().out.strip() == "hopper-robot.csv"
    assert main(["datasets", "verify", csv_file]) == 0
    assert "90 transitions in 3 episodes" in capsys.readouterr().out
    assert main(["datasets", "show", csv_file, "--out", str(tmp_path)]) == 0
    with pytest.raises(FileError, match="expected a CSV file"):
        load_dataset("nowhere.csv")
    Path("hopper-broken.csv").write_text("reward\n1\n2\n")
    with pytest.raises(DataError, match="found no observation"):
        load_dataset("hopper-broken.csv")
    with pytest.raises(UsageError, match="mode d4rl reads files in D4RL's format"):
        load_dataset(csv_file, mode="d4rl")


def test_a_run_on_it_records_what_to_cite(csv_file, tmp_path):
    Path("mine.toml").write_text(f"""
description = "a lab's data"
algorithms = ["bc"]
seeds = [0]
streams = [{{ name = "robot", blocks = ["{csv_file}"] }}]
protocol = {{ initial = 60, batch_size = 16, evaluate_every = 60, episodes = 1 }}
mini = {{}}
""")
    assert main(["run", "mine.toml", "--out", "out"]) == 0
    manifest = json.loads((tmp_path / "out" / "robot" / "bc" / "seed-0" / "manifest.json").read_text())
    (block,) = manifest["dataset"]["blocks"]
    assert block["name"] == csv_file
    assert "lab2026" in block["citation"]


def test_a_broken_reader_is_named_and_stops_nothing(tmp_path, monkeypatch, caplog):
    entries = "gone = lab_without_this_module:Reader\nother = pathlib:Path"
    install(tmp_path / "site", monkeypatch, entries)
    with caplog.at_level(logging.WARNING, "seqeval_rl"):
        assert "bundled/hopper/medium" in known_datasets()
    assert "dataset reader gone (lab_without_this_module:Reader) cannot be used: ModuleNotFoundError" in caplog.text
    assert "dataset reader other (pathlib:Path) cannot be used: TypeError: expected a subclass" in caplog.text


def test_a_source_that_two_readers_take_is_refused(csv_file, tmp_path, monkeypatch):
    install(tmp_path / "second", monkeypatch, "csv = csv_reader:CsvReader\nsame = csv_reader:CsvReader")
    with pytest.raises(UsageError, match="expected one reader for it, found csv and same"):
        load_dataset(csv_file)


def test_the_old_prefix_of_synthetic_data_is_accepted_with_one_note(caplog):
    with caplog.at_level(logging.WARNING, "seqeval_rl"):
        old = load_dataset("made:d4rl/hopper-random-v2:60", progress=False)
        load_dataset("made:d4rl/hopper-random-v2:60", progress=False)
    assert old.name == "synthetic:d4rl/hopper-random-v2:60"
    assert caplog.text.count("is now called synthetic:d4rl/hopper-random-v2:60") == 1


def test_importing_the_package_imports_no_torch_or_reader():
    code = "import sys, seqeval_rl.data, seqeval_rl.environments; print('torch' in sys.modules, 'h5py' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]
