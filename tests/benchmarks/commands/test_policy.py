"""`seqeval policy` and `seqeval evaluate` as a user meets them: videos, exported files, a second evaluation."""

import ctypes.util
import shutil
import subprocess

import gymnasium
import numpy as np
import painted
import pytest
import torch
from synthetic import npz

import seqeval_rl
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.collection.evaluate import PURPOSE
from seqeval_rl.environments.rendering import opened_with_pictures, picture
from seqeval_rl.results.lines import read_lines
from seqeval_rl.training.evaluation import episode_seed

PROTOCOL = {"initial": 250, "batch_size": 16, "evaluate_every": 50, "episodes": 2}


@pytest.fixture(scope="module")
def registered():
    before = dict(gymnasium.registry)
    painted.register()
    yield painted.ID
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, registered):
    """Finished runs by algorithm, in an environment with pictures; td3_bc normalizes observations."""
    folder = tmp_path_factory.mktemp("policies")
    results = seqeval_rl.evaluate(
        ["td3_bc", "bc"],
        str(npz(folder / "log.npz", actions=np.full((300, 3), 0.4), env_id=registered)),
        seeds=[3],
        protocol=PROTOCOL,
        settings={"bc": {"hidden": (8,)}, "td3_bc": {"hidden": (8, 8)}},
        reference_returns=(0.0, 14.0),
        trust_environments=[registered],
        out=folder / "out",
    )
    return {run.algorithm: run.path for run in results}


def command(capsys, *words):
    """Exit code, standard output and standard error."""
    code = main([*(str(word) for word in words), "--trust-environment", painted.ID])
    return code, *capsys.readouterr()


def refused(capsys, code, *words):
    """The one line of standard error."""
    found, _, error = command(capsys, *words)
    assert found == code, error
    assert error.startswith("seqeval: ")
    assert error.strip().count("\n") == 0
    return error


def test_a_policy_is_described(runs, capsys):
    code, shown, _ = command(capsys, "policy", runs["td3_bc"])
    assert code == 0
    assert "td3_bc, seed 3, after 300 transitions" in shown
    assert "observations (11,) -> actions (3,) from (-2, -2, -2) to (3, 3, 3)" in shown


def test_a_gif_shows_every_picture_of_every_episode_in_real_time(runs, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    assert command(capsys, "policy", runs["bc"], "--video", tmp_path / "a.gif", "--episodes", 2)[0] == 0
    reds, seconds = [], 0.0
    with image.open(tmp_path / "a.gif") as video:
        for number in range(video.n_frames):
            video.seek(number)
            reds.append(np.asarray(video.convert("RGB"))[5, 5, 0])
            seconds += video.info["duration"] / 1000
        assert video.size == (48, 32)
    assert reds == [30 * time for time in range(8)] * 2
    assert seconds == pytest.approx(16 / 25)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pipes that imageio-ffmpeg leaves open
def test_an_mp4_shows_every_picture(runs, tmp_path, capsys):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs the extra video")
    code, shown, _ = command(capsys, "policy", runs["bc"], "--video", tmp_path / "a.mp4", "--episodes", 1)
    assert code == 0
    assert "episode 0: score 50.0, return 7.0, 7 environment steps" in shown
    read = [ffmpeg.get_ffmpeg_exe(), "-i", tmp_path / "a.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(read, capture_output=True, check=True)
    reds = np.frombuffer(done.stdout, np.uint8).reshape(-1, 32, 48, 3)[:, 16, 24, 0]
    assert b" 25 fps" in done.stderr
    np.testing.assert_allclose(reds, [30 * time for time in range(8)], atol=6)


@pytest.mark.skipif(not any(ctypes.util.find_library(name) for name in ("EGL", "OSMesa")), reason="needs EGL or OSMesa")
def test_mujoco_is_rendered_without_a_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MUJOCO_GL", "")  # restored afterwards
    monkeypatch.delenv("MUJOCO_GL")
    with opened_with_pictures("Hopper-v5") as env:
        env.reset(seed=0)
        drawn = picture(env)
    assert drawn.shape == (480, 480, 3)
    assert drawn.std() > 20


@pytest.mark.parametrize("algorithm", ["td3_bc", "bc"])
@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_an_exported_file_acts_as_the_policy_does(runs, algorithm, format, tmp_path, capsys):
    if format == "onnx":
        pytest.importorskip("onnx", reason="needs the extra onnx")
        runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    file = tmp_path / "file"
    code, shown, _ = command(capsys, "policy", runs[algorithm], "--export", format, "--out", file)
    assert code == 0
    assert f"{file}: {format}, largest difference to the policy" in shown
    policy = seqeval_rl.Policy.load(runs[algorithm], trust_environments=[painted.ID])
    for count in (1, 9):
        observations = np.random.default_rng(count).normal(1, 3, (count, 11)).astype(np.float32)
        if format == "onnx":
            session = runtime.InferenceSession(str(file))
            [found] = session.run(["actions"], {"observations": observations})
        else:
            found = torch.jit.load(str(file))(torch.from_numpy(observations)).numpy()
        np.testing.assert_allclose(found, policy(observations), atol=2.5e-5)  # of [-2, 3]
        assert found.dtype == np.float32


def test_a_policy_that_draws_is_not_exported(runs, tmp_path, capsys, monkeypatch):
    def drawn(self, observations):
        return torch.rand(len(observations), 3)

    monkeypatch.setattr(seqeval_rl.Policy, "scaled_actions", drawn)
    words = "policy", runs["bc"], "--export", "torchscript", "--out", tmp_path / "a.pt"
    assert "expected the policy's actions to within 1e-05" in refused(capsys, 65, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_second_evaluation_is_recorded_next_to_the_run(runs, capsys):
    run = runs["td3_bc"]
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    code, shown, _ = command(capsys, "evaluate", run, "--episodes", 5)
    assert code == 0
    assert "after 300 transitions of" in shown
    assert "score 50.00 ± 0.00 (standard error) in 5 episodes" in shown
    [entry] = read_lines(run / "second_evaluations.jsonl").sound()
    assert entry["returns"] == [7.0] * 5
    assert entry["metrics"] == {"score": 50.0, "score_std": 0.0, "return": 7.0, "length": 7.0}
    assert (entry["evaluation"], entry["transitions"], entry["episodes"]) == (1, 300, 5)
    assert {name: (run / name).read_bytes() for name in before} == before  # metrics.jsonl among them
    [found] = seqeval_rl.read_results(run)
    assert len(found.evaluations) == 2
    assert command(capsys, "evaluate", run, "--episodes", 1)[0] == 0
    assert len(read_lines(run / "second_evaluations.jsonl").entries) == 2


def test_its_episodes_are_none_of_training():
    training = {episode_seed(3, evaluation, episode) for evaluation in range(50) for episode in range(10)}
    assert not training & {episode_seed(3, 0, episode, PURPOSE) for episode in range(100)}


def test_more_episodes_than_are_stepped_together(runs, monkeypatch):
    from seqeval_rl.collection.evaluate import evaluate_run

    monkeypatch.setattr("seqeval_rl.collection.evaluate._TOGETHER", 2)
    entry = evaluate_run(runs["bc"], 5, trust_environments=[painted.ID])
    assert len(entry["returns"]) == len(entry["lengths"]) == 5


def test_a_run_that_begins_again_has_no_second_evaluation(tmp_path, registered, capsys):
    suite = tmp_path / "mine.toml"
    log = npz(tmp_path / "log.npz", actions=np.full((300, 3), 0.4), env_id=registered)
    suite.write_text(
        f'description = "made"\nalgorithms = ["bc"]\nseeds = [0]\nstreams = [{{ name = "noise", blocks = ["{log}"] }}]\n'
        "protocol = { initial = 250, batch_size = 16, evaluate_every = 50, episodes = 1 }\n"
    )
    run = tmp_path / "out" / "noise" / "bc" / "seed-0"
    for words in (["run", suite, "--out", tmp_path / "out"], ["evaluate", run, "--episodes", 1]):
        assert command(capsys, *words)[0] == 0
    assert (run / "second_evaluations.jsonl").exists()
    assert command(capsys, "run", suite, "--out", tmp_path / "out", "--overwrite")[0] == 0
    assert not (run / "second_evaluations.jsonl").exists()


def test_what_cannot_be_done_is_one_line(runs, registered, tmp_path, capsys, monkeypatch):
    run = runs["bc"]
    for words, said in (
        (("policy", run, "--video", tmp_path / "a.avi"), "expected a file that ends in .mp4 or .gif"),
        (("policy", run, "--video", tmp_path / "a.gif", "--episodes", 0), "expected at least 1"),
        (("policy", run, "--out", tmp_path / "a.pt"), "expected --export with it"),
        (("policy", run.parents[2]), "expected the directory of one run, found 2 runs"),
        (("evaluate", run, "--episodes", 0), "expected at least 1"),
    ):
        assert said in refused(capsys, 2, *words)
    assert list(tmp_path.iterdir()) == []
    drawn = gymnasium.registry["test/Painted-v0"]
    monkeypatch.setitem(drawn.kwargs, "drawn", False)
    error = refused(capsys, 69, "policy", run, "--video", tmp_path / "a.gif")
    assert "cannot be rendered (RuntimeError: no OpenGL here; MUJOCO_GL is" in error
    assert "set MUJOCO_GL=egl" in error
    monkeypatch.setattr(painted.Painted, "metadata", {"render_modes": []})
    assert "expected rgb_array among its render modes, found none" in refused(
        capsys, 69, "policy", run, "--video", tmp_path / "a.gif"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_environment_is_one_line(runs, registered, capsys, monkeypatch):
    monkeypatch.delitem(gymnasium.registry, "test/Painted-v0")
    for words in (("policy", runs["bc"]), ("evaluate", runs["bc"])):
        assert "unknown to gymnasium" in refused(capsys, 69, *words)
    assert not any(path.suffix == ".gif" for path in runs["bc"].iterdir())


def test_an_unfinished_run_is_not_evaluated_again(runs, tmp_path, capsys):
    run = shutil.copytree(runs["bc"], tmp_path / "run", ignore=shutil.ignore_patterns("second_*"))
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(lines[0])
    assert "found one that is unfinished after 1 of 2 evaluations" in refused(capsys, 2, "evaluate", run)
    assert not (run / "second_evaluations.jsonl").exists()


def test_an_environment_that_raises_records_nothing(runs, tmp_path, capsys, monkeypatch):
    run = shutil.copytree(runs["bc"], tmp_path / "run")
    (run / "second_evaluations.jsonl").unlink(missing_ok=True)

    def step(self, action):
        raise ArithmeticError("the pole has fallen")

    monkeypatch.setattr(painted.Painted, "step", step)
    assert "ArithmeticError: the pole has fallen" in refused(capsys, 1, "evaluate", run, "--episodes", 2)
    assert "ArithmeticError: the pole has fallen" in refused(capsys, 1, "policy", run, "--video", tmp_path / "a.gif")
    assert not (run / "second_evaluations.jsonl").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
