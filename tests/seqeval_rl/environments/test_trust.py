"""What data may say of an environment: never code that runs when they are read, evaluated in, or collected with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from minari.storage import get_dataset_path

from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.load import load_dataset
from seqeval_rl.environments.make import make_vector_env
from seqeval_rl.environments.tasks import Task
from seqeval_rl.environments.trust import checked_task, task_of_data
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.results.manifest import manifest_text

pytestmark = pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|is not installed).*:UserWarning")


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears when the module `chosen_by_data` is imported, or its function is called."""
    found = tmp_path / "ran"
    (tmp_path / "chosen_by_data.py").write_text(
        f"import pathlib, gymnasium\n"
        f"pathlib.Path({str(found)!r}).touch()\n"
        "from gymnasium.envs.classic_control.pendulum import PendulumEnv\n"
        "gymnasium.register('ChosenByData-v0', 'chosen_by_data:PendulumEnv', max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "chosen_by_data", raising=False)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    return found


def arrays(**more: Any) -> dict[str, Any]:
    ends = np.arange(20) % 10 == 9
    columns = {"observations": np.zeros((20, 3)), "actions": np.zeros((20, 1)), "rewards": np.ones(20)}
    return {**columns, "terminations": np.zeros(20, bool), "truncations": ends, **more}


def minari_dataset(evaluation: str) -> str:
    """A dataset of Pendulum that is to be evaluated in another environment, given as JSON."""
    directory = Path(get_dataset_path("some/body-v0")) / "data"
    directory.mkdir(parents=True)
    with gymnasium.make("Pendulum-v1") as env:
        storage = MinariStorage.new(directory, env.observation_space, env.action_space, env.spec)
    storage.update_metadata({"dataset_id": "some/body-v0", "minari_version": "0.5.4", "eval_env_spec": evaluation})
    episode = EpisodeBuffer(
        id=0, observations=np.zeros((6, 3), np.float32), actions=np.zeros((5, 1), np.float32), rewards=[0.0] * 5,
        terminations=[False] * 5, truncations=[False] * 4 + [True],
    )  # fmt: skip
    storage.update_episodes([episode])
    return "minari:some/body-v0"


def test_an_npz_file_does_not_choose_a_module_to_import(marker: Path, tmp_path: Path, registry: Any) -> None:
    np.savez(tmp_path / "log.npz", **arrays(env_id="chosen_by_data:ChosenByData-v0"))
    with pytest.raises(DataError, match=r"log\.npz.*'chosen_by_data' would be imported.*--trust-environment chosen_by"):
        load_dataset(tmp_path / "log.npz", progress=False)
    with pytest.raises(DataError, match="would be imported"):
        load_dataset(arrays(env_id="chosen_by_data:ChosenByData-v0"))
    assert not marker.exists()
    for name in ("chosen_by_data:ChosenByData-v0", "chosen_by_data"):
        trusted = load_dataset(tmp_path / "log.npz", progress=False, trust_environments=[name])
        assert trusted.task.env_id == "chosen_by_data:ChosenByData-v0"
    assert marker.exists()
    # A task is the user's own.
    assert load_dataset(tmp_path / "log.npz", "Pendulum-v1", progress=False).task.env_id == "Pendulum-v1"


@pytest.mark.parametrize("entry", ["chosen_by_data:run", "subprocess:check_output", "os:system", "posix.path:x", "x"])
def test_a_minari_dataset_does_not_choose_an_entry_point(marker: Path, entry: str) -> None:
    source = minari_dataset(EnvSpec("Evil-v0", entry, kwargs={"args": ["touch", str(marker)]}).to_json())
    with pytest.raises(DataError, match=rf"{source}.*'Evil-v0' with the entry point '{entry}'.*--trust-environment"):
        load_dataset(source, progress=False)
    assert not marker.exists()


def test_an_entry_point_that_is_trusted_opens_the_environment(marker: Path, registry: Any) -> None:
    entry = "chosen_by_data:PendulumEnv"
    source = minari_dataset(EnvSpec("Unregistered-v0", entry, max_episode_steps=9, kwargs={"g": 5.0}).to_json())
    task = load_dataset(source, progress=False, trust_environments=[entry]).task
    with make_vector_env(task.environment, 1, workers=1) as envs:
        assert envs.max_episode_length == 9
    with pytest.raises(DataError, match="entry point"):
        load_dataset(source, progress=False, trust_environments=["another:PendulumEnv", "gymnasium"])


def test_a_trusted_package_registers_its_environments(marker: Path, registry: Any) -> None:
    spec = EnvSpec("ChosenByData-v0", "subprocess:check_output", max_episode_steps=9, kwargs={"g": 5.0})
    source = minari_dataset(spec.to_json())
    task = load_dataset(source, progress=False, trust_environments=["chosen_by_data"]).task
    with make_vector_env(task.environment, 1, workers=1) as envs:
        assert envs.max_episode_length == 9
    assert EnvSpec.from_json(task.env_spec).entry_point == "chosen_by_data:PendulumEnv"
    with pytest.raises(UsageError, match=r"--trust-environment no_such_module: expected a module.*ModuleNotFoundError"):
        load_dataset(source, progress=False, trust_environments=["no_such_module"])


def test_a_registered_id_is_opened_by_what_is_registered() -> None:
    source = minari_dataset(EnvSpec("Pendulum-v1", "os:system", max_episode_steps=30, kwargs={"g": 9.0}).to_json())
    task = load_dataset(source, progress=False).task
    spec = EnvSpec.from_json(task.env_spec)
    assert (spec.entry_point, spec.kwargs) == (gymnasium.spec("Pendulum-v1").entry_point, {"g": 9.0})
    with make_vector_env(task.environment, 1, workers=1) as envs:
        assert envs.max_episode_length == 30


WRAPPERS = {
    "another's": WrapperSpec("Any", "subprocess:check_output", {"args": ["true"]}),
    "under a harmless name": WrapperSpec("RescaleAction", "gymnasium.wrappers:RecordVideo", {"video_folder": "videos"}),
    "no wrapper": WrapperSpec("deepcopy", "gymnasium.wrappers.rendering:deepcopy", {}),
    "to a path": WrapperSpec("TimeLimit", "gymnasium.wrappers:TimeLimit", {"max_episode_steps": "/etc/passwd"}),
}


@pytest.mark.parametrize("what", WRAPPERS)
def test_wrappers_are_gymnasiums_own(what: str) -> None:
    spec = EnvSpec("Pendulum-v1", gymnasium.spec("Pendulum-v1").entry_point, additional_wrappers=(WRAPPERS[what],))
    with pytest.raises(DataError, match=r"^log: .*(wrappers of gymnasium|below the working directory)"):
        checked_task("log", Task("x", "Pendulum-v1", env_spec=spec.to_json()))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("no_such", 1, "expected arguments of the environment 'Hopper-v5'.*found 'no_such'"),
        ("xml_file", "/etc/passwd", "argument 'xml_file': expected a number, a word or a path below"),
        ("xml_file", "../secret.xml", "argument 'xml_file'"),
        ("xml_file", "~/secret.xml", "argument 'xml_file'"),
        ("xml_file", "http://example.org/a.xml", "argument 'xml_file'"),
        ("healthy_z_range", ["a", {"b": "/etc"}], "argument 'healthy_z_range'"),
    ],
)
def test_arguments_have_known_names_and_no_places(name: str, value: Any, problem: str) -> None:
    spec = EnvSpec("Hopper-v5", gymnasium.spec("Hopper-v5").entry_point, kwargs={name: value})
    with pytest.raises(DataError, match=problem):
        checked_task("log", Task("x", "Hopper-v5", env_spec=spec.to_json()))


def test_known_arguments_are_kept_also_those_of_a_base_class() -> None:
    kwargs = {"healthy_reward": 2.0, "xml_file": "models/hopper.xml", "frame_skip": 2, "render_mode": "rgb_array"}
    task = Task("x", "Hopper-v5", env_spec=EnvSpec("Hopper-v5", "any:Thing", kwargs=kwargs).to_json())
    found = checked_task("log", task)
    assert EnvSpec.from_json(found.env_spec).kwargs == kwargs
    assert checked_task("log", found) == found


def test_text_that_is_no_spec_and_fields_that_are_no_task() -> None:
    for text in ("{}", "[]", "no JSON", json.dumps({"id": 5, "additional_wrappers": []})):
        with pytest.raises(DataError, match="expected gymnasium's EnvSpec as JSON"):
            checked_task("log", Task("x", "Pendulum-v1", env_spec=text))
    for fields in ({"name": "x"}, {"name": "x", "env_id": None, "more": 1}):
        with pytest.raises(DataError, match=r"^run/manifest\.json: expected the fields of a task"):
            task_of_data("run/manifest.json", fields)


@pytest.mark.parametrize("how", ["spec", "id"])
def test_a_manifest_does_not_choose_code(how: str, marker: Path, tmp_path: Path) -> None:
    spec = EnvSpec("Evil-v0", "subprocess:check_output", kwargs={"args": ["touch", str(marker)]})
    environment = {"spec": {"env_id": "Evil-v0", "env_spec": spec.to_json()}, "id": {"env_id": "chosen_by_data:X-v0"}}
    manifest = {
        "suite": "x", "dataset": {"name": "x", "transitions": 5}, "algorithm": {"name": "bc", "config": {}}, "seed": 0,
        "task": {"name": "x", **environment[how]}, "evaluations_expected": 1, "protocol": {},
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(manifest_text(manifest))
    with pytest.raises(DataError, match=r"manifest\.json: expected an environment that gymnasium has registered"):
        Policy.load(tmp_path)
    assert not marker.exists()
