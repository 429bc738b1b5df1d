"""The Python API: `seqeval_rl.evaluate`, and what its results offer."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from synthetic import npz

import seqeval_rl
from seqeval_rl import Batch, Spec
from seqeval_rl.algorithms.bc import BC
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import SeqevalError, UsageError

SMALL = {"initial": 100, "batch_size": 16, "evaluate_every": 100, "episodes": 1}


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A dataset in a file."""
    npz(tmp_path / "noise.npz")
    return str(tmp_path / "noise.npz")


class Renamed(BC):
    """Behavior cloning under another name, as a class of a notebook is."""


class Broken(BC):
    """Raises in its first gradient step."""

    def update(self, batch: Batch) -> dict[str, object]:
        raise RuntimeError("on purpose")


def scores(results: seqeval_rl.EvaluationResults) -> dict[str, list[float]]:
    return {run.run: [entry["metrics"]["score"] for entry in run.evaluations] for run in results}


def test_it_computes_what_the_command_computes(source: str, tmp_path: Path) -> None:
    results = seqeval_rl.evaluate(
        ["bc", "td3_bc"], {"noise": source}, seeds=[0, 1], protocol=SMALL, out=tmp_path / "api"
    )
    suite = tmp_path / "mine.toml"
    suite.write_text(f"""
description = "noise"
algorithms = ["bc", "td3_bc"]
seeds = [0, 1]
streams = [{{ name = "noise", blocks = ["{source}"] }}]
protocol = {{ initial = 100, batch_size = 16, evaluate_every = 100, episodes = 1 }}
mini = {{ seeds = [0] }}
""")
    assert main(["run", str(suite), "--out", str(tmp_path / "command")]) == 0
    assert scores(results) == scores(seqeval_rl.read_results(tmp_path / "command"))
    assert {run.status for run in results} == {"finished"}


def test_results_draw_tabulate_and_convert(source: str) -> None:
    results = seqeval_rl.evaluate("bc", source, seeds=range(2), protocol=SMALL)
    assert len(results) == 2
    assert "BC" in str(results.table().text())
    assert "BC" in results._repr_html_()
    assert isinstance(results.plot(), Figure)
    assert isinstance(results.plot("curves", x="gradient_steps"), Figure)
    table = results.to_arrow()
    recorded = [name for name in table["metric"].to_pylist() if not name.startswith("prequential_total/")]
    assert len(recorded) == sum(len(entry["metrics"]) for run in results for entry in run.evaluations)
    assert set(table["metric"].to_pylist()) >= {"score", "return"}
    assert repr(results) == "<EvaluationResults: 2 runs of 1 algorithm on 1 dataset, 2 finished>"
    assert re.fullmatch(r"<RunResult \S+/bc/seed-0: finished, 3 evaluations, latest score -?\d+\.\d>", repr(results[0]))
    assert repr(results.table()) == results.table().text()


def test_notebooks_show_escaped_text(source: str) -> None:
    name = "<script>alert(1)</script>"
    shown = seqeval_rl.evaluate("bc", {name: source}, protocol=SMALL)._repr_html_()
    assert "&lt;EvaluationResults: 1 run of" in shown
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "<table>" in shown
    assert "expected at least one run" in seqeval_rl.EvaluationResults()._repr_html_()
    dataset = seqeval_rl.load_dataset(source)
    assert repr(dataset) == f"<Dataset {source}: 300 transitions of hopper, observations (11,), 3 actions>"


def test_to_pandas_has_a_row_per_metric(source: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = seqeval_rl.evaluate("bc", source, protocol=SMALL).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame[frame.metric == "score"].transitions.tolist() == sorted(frame[frame.metric == "score"].transitions)


def test_classes_are_taken_also_such_as_no_other_process_can_import(source: str) -> None:
    class Local(BC):
        """Defined in a function."""

    results = seqeval_rl.evaluate(
        [Renamed, Local, "bc"], source, protocol=SMALL, settings={"renamed": {"learning_rate": 0.01}}
    )
    assert sorted(run.algorithm for run in results) == ["bc", "local", "renamed"]
    by_name = {run.algorithm: run for run in results}
    assert by_name["renamed"].config["learning_rate"] == 0.01
    # The same updates from the same seed.
    assert scores(results)[by_name["local"].run] == scores(results)[by_name["bc"].run]


def test_a_single_run_algorithm_in_thirty_lines(source: str) -> None:
    import torch

    @dataclass(frozen=True)
    class Settings:
        learning_rate: float = 1e-3

    class Mean:
        """Regression of the action, with one linear layer."""

        Config = Settings
        vectorized = False

        def __init__(self, config: Settings, spec: Spec) -> None:
            self.actor = torch.nn.Linear(spec.obs_shape[0], spec.act_dim)
            self.optimizer = torch.optim.SGD(self.actor.parameters(), config.learning_rate)

        def update(self, batch: Batch) -> dict[str, torch.Tensor]:
            loss = (self.actor(batch.observations).tanh() - batch.actions).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"actor/loss": loss.detach()}

        def act(self, observations: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
            return self.actor(observations).tanh()

        def state_dict(self) -> dict[str, object]:
            return {"actor": self.actor.state_dict(), "optimizer": self.optimizer.state_dict()}

        def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
            self.actor.load_state_dict(state["actor"])
            self.optimizer.load_state_dict(state["optimizer"])

    results = seqeval_rl.evaluate(Mean, source, seeds=(0, 1), protocol=SMALL)
    assert [run.status for run in results] == ["finished"] * 2


def test_a_sweep_and_what_is_there_already(source: str, tmp_path: Path) -> None:
    def run(**options: object) -> seqeval_rl.EvaluationResults:
        return seqeval_rl.evaluate("td3_bc", source, protocol=SMALL, out=tmp_path / "out", **options)  # type: ignore[arg-type]

    first = run(sweep={"td3_bc": {"alpha": [1.0, 2.5]}})
    assert sorted(run.config["alpha"] for run in first) == [1.0, 2.5]
    written = {one.path: (one.path / "metrics.jsonl").stat().st_mtime_ns for one in first}
    again = run(sweep={"td3_bc": {"alpha": [1.0, 2.5, 4.0]}, "protocol": {"increment": [1]}})
    assert len(again) == 3
    assert all((path / "metrics.jsonl").stat().st_mtime_ns == time for path, time in written.items())


def test_a_plug_in_that_raises_is_named_and_the_others_are_kept(source: str, tmp_path: Path) -> None:
    with pytest.raises(SeqevalError, match="on purpose"):
        seqeval_rl.evaluate([Broken, "bc"], source, protocol=SMALL, out=tmp_path)
    statuses = {run.algorithm: run.status for run in seqeval_rl.read_results(tmp_path)}
    assert statuses == {"bc": "finished", "broken": "failed"}


def test_a_temporary_directory_stays_where_an_error_names_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SeqevalError, match="on purpose") as caught:
        seqeval_rl.evaluate([Broken, "bc"], source, protocol=SMALL)
    (directory,) = tmp_path.glob("seqeval-*")
    assert str(directory) in str(caught.value)
    statuses = {run.algorithm: run.status for run in seqeval_rl.read_results(directory)}
    assert statuses == {"bc": "finished", "broken": "failed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["bc", "bc"]}, "bc"),
        ({"algorithms": "no_such"}, "no_such"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": -1}, "seeds"),
        ({"protocol": {"increments": 2}}, "increments"),
        ({"settings": {"iql": {"discount": 0.9}}}, "iql"),
        ({"settings": {"bc": {"discount": 0.9}}}, "discount"),
        ({"datasets": "bundled/hopper/nothing"}, "bundled/hopper/nothing"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(source: str, arguments: dict[str, object], message: str) -> None:
    call = {"algorithms": "bc", "datasets": source, "protocol": SMALL, **arguments}
    with pytest.raises(SeqevalError) as caught:
        seqeval_rl.evaluate(**call)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UsageError) or "datasets" in arguments
