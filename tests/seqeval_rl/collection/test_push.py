"""A dataset is put on the Hub in Minari's format and downloaded again; against a local server in place of the Hub."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub, hub_serving
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_one_line

from seqeval_rl import load_dataset
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.collection import push_dataset
from seqeval_rl.data.load import fetch
from seqeval_rl.errors import DataError, FileError, MismatchError, UsageError

NAME = "mine/hopper/noise-v0"


def log_in(tmp_path: Path) -> str:
    """A log of three episodes, one of which terminates."""
    rng = np.random.default_rng(0)
    arrays = {
        "observations": rng.standard_normal((300, 11)),
        "actions": rng.uniform(-1, 1, (300, 3)),
        "rewards": rng.standard_normal(300).astype(np.float32),
        "terminations": np.arange(300) == 99,
        "truncations": np.isin(np.arange(300), (199, 299)),
    }
    np.savez(tmp_path / "log.npz", **arrays, env_id="Hopper-v5", reference_min=-20.0, reference_max=3000.0)
    return str(tmp_path / "log.npz")


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    with hub_serving() as running:
        # The client has read its environment when it was imported.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            running.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield running


def test_what_was_pushed_is_what_others_get(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_in(tmp_path)
    own = load_dataset(log)
    upload = push_dataset(log, identity=NAME)
    assert (upload.repository, upload.user) == ("me/mine", "me")
    assert (upload.url or "").startswith(f"{hub.url}/datasets/me/mine/commit/")
    assert len(hub.commits) == 1
    assert sorted(hub.commits[0]) == sorted(
        ["README.md", "namespace_metadata.json", "hopper/namespace_metadata.json", *upload.files]
    )
    assert {name: len(hub.files["me/mine"][name]) for name in upload.files} == upload.files
    shutil.rmtree(tmp_path / "minari")
    monkeypatch.setenv("MINARI_REMOTE", "hf://me")
    assert fetch(f"minari:{NAME}").is_dir()
    found = load_dataset(f"minari:{NAME}")
    assert_array_equal(found.observations, own.observations)
    assert_array_equal(found.next_observations, own.next_observations)
    assert_allclose(found.actions, own.actions, atol=1e-6)
    assert_array_equal(found.rewards, own.rewards)
    for name in ("terminations", "truncations", "episode_starts"):
        assert_array_equal(getattr(found, name), getattr(own, name))
    assert (found.task.env_id, found.task.references) == (own.task.env_id, own.task.references)


def test_a_repository_keeps_what_it_has(tmp_path: Path, hub: Hub) -> None:
    log = log_in(tmp_path)
    push_dataset(log, "team", identity=NAME, private=True)
    assert hub.private == {"team/mine"}
    hub.files["team/mine"]["README.md"] = b"theirs"
    with pytest.raises(MismatchError, match=r"team/mine on the Hub: has hopper/noise-v0/data/metadata\.json already"):
        push_dataset(f"minari:{NAME}", "team")
    assert len(hub.commits) == 1
    push_dataset(f"minari:{NAME}", "team", overwrite=True)
    push_dataset(log, "team", identity="mine/other-v2")
    push_dataset(log, "team", identity="alone-v0")
    assert hub.files["team/mine"]["README.md"] == b"theirs"
    listed = hub.files["team/mine"]["namespace_metadata.json"].decode()
    assert NAME in listed
    assert "mine/other-v2" in listed
    assert "data/metadata.json" in hub.files["team/alone-v0"]


def test_without_a_login_nothing_is_done(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_in(tmp_path)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert main(["datasets", "push", log, "--id", NAME]) == 2
    assert_one_line(capsys, ["expected a login to the Hugging Face Hub, found none", "hf auth login"], tmp_path)
    assert main(["datasets", "push", log, "--id", NAME, "--dry-run", "--to", "me"]) == 0
    assert "dry run: nothing was uploaded" in capsys.readouterr().out
    assert not list((tmp_path / "minari").rglob("*.hdf5"))
    assert hub.files == {}


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "hf auth login"), (403, "another --to"), (500, "Check the network")]
)
def test_what_the_hub_refuses_is_one_line(tmp_path: Path, hub: Hub, status: int, remedy: str) -> None:
    hub.refuse = status
    log = log_in(tmp_path)
    with pytest.raises(FileError, match=rf"datasets/me/mine: the Hugging Face Hub did not answer.*{remedy}") as caught:
        push_dataset(log, identity=NAME)
    assert "\n" not in str(caught.value)


def test_what_is_no_dataset_of_minaris_form(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    with pytest.raises(UsageError, match=r"expected an id for the Minari dataset.*Add --id"):
        push_dataset(log)
    with pytest.raises(UsageError, match="--id 'mine': expected an id such as"):
        push_dataset(log, identity="mine")
    with pytest.raises(UsageError, match="is a Minari dataset already"):
        push_dataset("minari:toy/a-v0", identity="toy/b-v0")
    arrays = dict(np.load(log))
    jumping = {**arrays, "next_observations": arrays["observations"][::-1]}
    arrays["terminations"][3:5] = True
    arrays["episode_starts"] = np.array([0, 100, 200])
    np.savez(tmp_path / "goal.npz", **arrays)
    with pytest.raises(DataError, match="found a terminal state inside an episode, in row 3"):
        push_dataset(str(tmp_path / "goal.npz"), identity=NAME)
    np.savez(tmp_path / "jumping.npz", **jumping)
    with pytest.raises(
        DataError, match="found another next observation than the observation of the next row, in row 0"
    ):
        push_dataset(str(tmp_path / "jumping.npz"), identity=NAME)
