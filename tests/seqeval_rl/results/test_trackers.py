"""The loggers of trackers: their own readers read back every scalar at its transitions, and a resumed run is the same run."""

import json
import math
import sys
import time
from pathlib import Path

import pytest
import wandb_files
from synthetic import assert_one_line, npz

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import UsageError
from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun, OptionalLoggers
from seqeval_rl.results.loggers.tracked import run_id
from seqeval_rl.results.read import EVENTS, read_results

TRACKERS = "tensorboard", "wandb", "trackio"


@pytest.fixture(scope="session")
def tracked(tmp_path_factory):
    """Trackio takes its directory from the environment when it is imported."""
    directory = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(directory))
        patch.setenv("WANDB_MODE", "offline")
        for variable in ("TRACKIO_PROJECT", "TRACKIO_SPACE_ID", "WANDB_PROJECT", "WANDB_DIR"):
            patch.delenv(variable, raising=False)
        yield
        if "wandb" in sys.modules:
            sys.modules["wandb"].teardown()


@pytest.fixture
def suite(tmp_path):
    npz(tmp_path / "log.npz")
    path = tmp_path / "mine.toml"
    path.write_text(f"""
description = "one run"
algorithms = ["bc"]
seeds = [0]
streams = [{{ name = "noise", blocks = ["{tmp_path}/log.npz"] }}]
protocol = {{ initial = 100, increment = 10, batch_size = 16, evaluate_every = 100, episodes = 2 }}
settings = {{ bc = {{ hidden = [8, 8] }} }}
mini = {{}}
""")
    return path


def from_tensorboard(results, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(
        str(results / name), size_guidance=dict.fromkeys(("scalars", "histograms", "tensors", "images"), 0)
    )
    events.Reload()
    return {(point.step, tag): point.value for tag in events.Tags()["scalars"] for point in events.Scalars(tag)}, events


def from_wandb(results, name):
    """W&B takes no step that is not above the last, also across the files of a run's attempts."""
    sys.modules["wandb"].teardown()  # its process writes the last lines
    files = sorted((results / "wandb").glob("offline-run-*/*.wandb"))
    runs = [wandb_files.read(file) for file in files]
    mine = [(run, config, history) for run, config, history in runs if run.display_name == name]
    assert len({run.run_id for run, _, _ in mine}) == 1
    found, last = {}, -1
    for _, _, history in mine:
        for row in history:
            if row["_step"] > last:
                last = row["_step"]
                found |= {
                    (row["transitions"], tag): value for tag, value in row.items() if isinstance(value, (int, float))
                }
    return found, mine[0]


def from_trackio(results, name):
    from trackio.sqlite_storage import SQLiteStorage

    (record,) = [one for one in SQLiteStorage.get_run_records("seqeval-rl") if one["name"].startswith(name)]
    rows = SQLiteStorage.get_logs("seqeval-rl", run_id=record["id"])
    scalars = {
        (row["step"], tag): value for row in rows for tag, value in row.items() if isinstance(value, (int, float))
    }
    return scalars, (record, rows)


READ = {"tensorboard": from_tensorboard, "wandb": from_wandb, "trackio": from_trackio}


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("tracker", TRACKERS)
def test_every_metric_is_read_back_at_its_transitions_with_the_figure_and_the_table(suite, tmp_path, tracker, capfd):
    pytest.importorskip(tracker, reason=f"needs the extra {tracker}")
    out = tmp_path / "out"
    assert main(["run", str(suite), "--out", str(out), "--track", tracker]) == 0
    shown = capfd.readouterr()
    assert not any(word in f"{shown.out}{shown.err}" for word in (tracker, tracker.capitalize(), "arning")), shown
    (run,) = read_results(out)
    name = run.path.relative_to(out).as_posix()
    found, source = READ[tracker](out, name)
    expected = {
        (entry["transitions"], tag): value
        for entry in run.evaluations
        for tag, value in (*entry["metrics"].items(), ("gradient_steps", entry["gradient_steps"]))
    }
    assert len(run.evaluations) == 3
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-6)  # TensorBoard has float32
    SOURCES[tracker](source, out, run)


def tensorboard_has(events, out, run):
    assert events.Tags()["images"] == []
    assert [point.step for point in events.Tensors("manifest/text_summary")] == [100]
    assert json.dumps(run.manifest["protocol"]["initial"]) in str(events.Tensors("manifest/text_summary")[0])
    assert [point.step for point in events.Histograms("returns")] == [100, 200, 300]
    plugin = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"algorithm.config.hidden" in plugin
    _, summary = from_tensorboard(out, "summary")
    assert summary.Tags()["images"] == ["curves"]
    assert "BC" in str(summary.Tensors("table/text_summary")[0])


def wandb_has(source, out, run):
    record, config, history = source
    assert config["protocol"]["initial"] == 100
    assert config["algorithm"]["config"]["hidden"] == [8, 8]
    assert (record.run_group, list(record.tags), record.project) == ("noise/bc", ["noise", "bc"], "seqeval-rl")
    assert all(sum(row["returns/values"]) == 2 for row in history)
    summaries = [wandb_files.read(file) for file in (out / "wandb").glob("offline-run-*/*.wandb")]
    ((_, _, (row,)),) = [one for one in summaries if one[0].run_group == "summary"]
    files = next((out / "wandb").glob(f"offline-run-*/files/{row['table/path']}"))
    assert "BC" in files.read_text(encoding="utf-8")
    assert row["curves/_type"] == "image-file"


def trackio_has(source, out, run):
    from trackio.sqlite_storage import SQLiteStorage

    record, rows = source
    config = SQLiteStorage.get_run_config("seqeval-rl", run_id=record["id"])
    assert config["protocol"]["initial"] == 100
    assert config["_Group"] == "noise/bc"
    assert all(sum(row["returns"]["values"]) == 2 for row in rows)
    _, (_, (row,)) = from_trackio(out, f"{out.name} ")
    assert row["curves"]["_type"] == "trackio.image"
    assert "BC" in row["table"]["_value"]
    assert not (out / "0").exists()


SOURCES = {"tensorboard": tensorboard_has, "wandb": wandb_has, "trackio": trackio_has}


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_resumed_run_continues_the_same_tracked_run_and_one_begun_again_does_not(tmp_path, tracker):
    pytest.importorskip(tracker, reason=f"needs the extra {tracker}")
    directory = tmp_path / f"noise-{tracker}" / "bc" / "seed-0"
    directory.mkdir(parents=True)
    (directory / EVENTS).write_text('{"event": "attempt", "time": 1}\n', encoding="utf-8")
    manifest = {"dataset": {"name": "noise"}, "algorithm": {"name": "bc", "config": {"rate": None}}, "seed": 0}
    run = LoggedRun(f"noise-{tracker}/bc/seed-0", directory, manifest)
    problems = []

    def attempt(indices):
        loggers = OptionalLoggers([tracker], problems.append)
        for index in indices:
            loggers.log(
                run, LoggedPoint(index, 100 * index, 10 * index, 0), {"score": index + 0.5, "return": index / 4}
            )
        loggers.close()

    attempt([0, 1, 2])
    time.sleep(1.1 * (tracker == "wandb"))  # its offline directories are named by the second
    attempt([2, 3])  # what followed the newest checkpoint is logged again
    assert not problems
    found, _ = READ[tracker](tmp_path, run.name)
    scores = {step: value for (step, tag), value in found.items() if tag == "score"}
    assert scores == {0: 0.5, 100: 1.5, 200: 2.5, 300: 3.5}
    assert all(math.isfinite(value) for value in found.values())

    before = run_id(run)
    (directory / EVENTS).write_text('{"event": "attempt", "time": 2}\n', encoding="utf-8")  # as --overwrite leaves it
    assert run_id(run) != before
    if tracker == "tensorboard":
        attempt([0])
        found, _ = from_tensorboard(tmp_path, run.name)
        assert {step for step, _ in found} == {0}


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_without_its_package_is_an_error_before_any_training(suite, tmp_path, tracker, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, tracker, None)
    out = tmp_path / "out"
    assert main(["run", str(suite), "--out", str(out), "--track", tracker]) == UsageError.exit_code
    words = [f"expected the package {tracker}, found none", f"pip install 'seqeval-rl[{tracker}]'"]
    assert_one_line(capsys, words, out)


def test_wandb_without_a_login_is_an_error_before_any_training(suite, tmp_path, capsys, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")
    for variable in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    wandb.teardown()
    out = tmp_path / "out"
    assert main(["run", str(suite), "--out", str(out), "--track", "wandb"]) == UsageError.exit_code
    wandb.teardown()
    assert_one_line(capsys, ["expected a login to Weights & Biases, found none", "WANDB_MODE=offline"], out)


@pytest.mark.usefixtures("tracked")
def test_a_tracker_that_cannot_write_warns_once_and_stops_nothing(suite, tmp_path, capfd, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    import wandb

    def unreachable(*args, **settings):
        raise wandb.errors.CommError(f"no server for {settings['id']}")

    monkeypatch.setattr(wandb, "init", unreachable)
    out = tmp_path / "out"
    assert main(["run", str(suite), "--out", str(out), "--track", "wandb", "--seeds", "0,1"]) == 0
    assert [(run.status, len(run.evaluations)) for run in read_results(out)] == [("finished", 3)] * 2
    assert Path(out / "run.log").read_text(encoding="utf-8").count("logger wandb: CommError: no server") == 1
