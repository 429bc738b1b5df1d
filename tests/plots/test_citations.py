"""`seqeval cite`: the entries of the bibliography, which is sound BibTeX for any names."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.interface.registry import find_algorithm, registered
from seqeval_rl.plots import bibliography
from seqeval_rl.plots.citations import entries
from seqeval_rl.results.evaluations import Evaluations
from seqeval_rl.results.read import RunResult

if TYPE_CHECKING:
    from tests.plots.conftest import Results


MINE = "@misc{me2026,\n  title = {Mine},\n  year = 2026\n}"


def run(
    algorithm: str = "mine", dataset: str = "d4rl:hopper-medium-v2", metric: str = "score", **manifest: Any
) -> RunResult:
    """A run with the fields that citations read."""
    everything = {
        "dataset": {"name": dataset, "blocks": [{"name": dataset}]},
        "task": {"env_id": "Hopper-v4"},
        "algorithm": {"name": algorithm, "config": {}},
        "versions": {"seqeval-rl": version("seqeval-rl"), "envpool": "not installed"},
        "citation": MINE,
    } | manifest
    evaluations = [{"transitions": 1, "metrics": {metric: 1.0}}]
    return RunResult("run", Path("run"), everything, "finished", None, Evaluations(evaluations))


def _with_blocks(blocks: list[dict[str, str]]) -> RunResult:
    result = run()
    result.manifest["dataset"]["blocks"] = blocks
    return result


def comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("%"))


def test_without_results_the_paper_and_this_version_of_the_software() -> None:
    found = entries(bibliography())
    assert list(found) == ["sujit2023bridging", "seqeval_rl"]
    assert f"{{Version {version('seqeval-rl')}}}" in found["seqeval_rl"]
    # The same facts as in CITATION.cff.
    facts = (Path(__file__).parents[2] / "CITATION.cff").read_text()
    assert f"version: {version('seqeval-rl')}" in facts
    for fact in (
        "Bridging the Gap Between Offline and Online",
        "Transactions on Machine Learning Research",
        "2212.08131",
    ):
        assert fact in facts
        assert fact in found["sujit2023bridging"]


@pytest.mark.parametrize(
    ("dataset", "keys"),
    [
        ("d4rl:hopper-medium-v2:1000", {"fu2020d4rl"}),
        ("minari:mujoco/hopper/expert-v0", {"younis2024minari"}),
        ("minari:D4RL/door/human-v2@observation", {"younis2024minari", "fu2020d4rl"}),
        ("ogbench:antmaze-large-navigate-singletask-v0", {"park2025ogbench"}),
        ("vd4rl:data/main/walker_walk/random/84px", {"lu2023challenges", "tunyasuvunakool2020dmcontrol"}),
        ("bundled/hopper/medium", {"fu2020d4rl"}),
        ("bundled/cartpole/medium", set()),
    ],
)
def test_each_source_of_data_has_its_entries(dataset: str, keys: set[str]) -> None:
    found = entries(bibliography([run(dataset=dataset)]))
    others = {"sujit2023bridging", "seqeval_rl", "agarwal2021precipice", "me2026"}
    assert found.keys() == keys | others | {"towers2024gymnasium", "todorov2012mujoco"}


def test_a_dataset_with_a_recorded_citation_is_cited_by_it() -> None:
    block = {"name": "lab:robot-v1", "citation": "@misc{lab2026, title = {Robot}}"}
    found = bibliography([_with_blocks([block])])
    assert "% dataset: lab:robot-v1\n@misc{lab2026, title = {Robot}}" in found
    assert "Dataset lab:robot-v1" not in found


def test_each_entry_has_its_reason() -> None:
    blocks = bibliography([run(), run(dataset="d4rl:walker2d-expert-v2", task={"env_id": "Walker2d-v4"})]).split("\n\n")
    assert all(block.startswith("% ") for block in blocks)
    (data,) = [block for block in blocks if "{fu2020d4rl" in block]
    assert comments(data).splitlines() == [
        "% dataset: d4rl:hopper-medium-v2", "% dataset: d4rl:walker2d-expert-v2"
    ]  # fmt: skip
    (theirs,) = [block for block in blocks if MINE in block]
    assert theirs.startswith("% algorithm mine\n@misc")


def test_what_has_no_entry_is_named() -> None:
    text = bibliography(
        [
            run(dataset="logs/mine.npz", citation=None, task={"env_id": "Mine-v0"}),
            run(algorithm="broken", citation="@misc{x, title = {a}"),
            run(algorithm="other", citation="@misc{seqeval_rl, title = {Other}}"),
            run(algorithm="old", versions={"seqeval-rl": "0.0.1", "envpool": "1.2"}),
        ]
    )
    said = comments(text)
    assert "Dataset logs/mine.npz: your own data. No entry is known: cite its source." in said
    assert "Environment Mine-v0: opened by Gymnasium. No entry is known" in said
    assert "Algorithm mine: it has no BibTeX. Give its class an attribute `citation`" in said
    assert (
        "Algorithm broken: its `citation` is not sound BibTeX (x, title: expected a comma or the closing brace" in said
    )
    assert "Algorithm other: its key seqeval_rl is taken by another entry." in said
    assert "made by seqeval-rl 0.0.1." in said
    assert "weng2022envpool" in entries(text)


def test_without_environment_no_environment_is_cited() -> None:
    judged = run(task={"env_id": None})
    assert "towers2024gymnasium" not in entries(bibliography([judged]))
    judged = run(task={"env_id": None}, metric="prequential/nll")
    assert "bornschein2023sequential" in entries(bibliography([judged]))


@given(name=st.text(min_size=1, max_size=80), dataset=st.text(min_size=1, max_size=80), citation=st.text(max_size=80))
def test_names_never_break_the_bibliography(name: str, dataset: str, citation: str) -> None:
    text = bibliography([run(name, dataset), run("spoilt", dataset, citation=citation)])
    found = entries(text)
    assert {"sujit2023bridging", "seqeval_rl", "me2026"} <= found.keys()
    assert text.count("@") == len(found)  # no comment begins an entry
    assert all(line.startswith(("%", "@", " ", "}")) for line in text.split("\n") if line)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("@misc", "expected @type"),
        ("@misc{a, title = {b}", "closing brace"),
        ("@misc{a, title = {b}} }", None),  # text between entries is ignored
        ("@misc{a, title = {b {c}}", "closing brace"),
        ('@misc{a, title = "b}"}', "braces that balance"),
        ("@misc{a, title {b}}", "expected a field"),
        ("@misc{a, title = {b} year = 3}", "expected a comma"),
        ("@misc{a, year = 3,}", None),
        ("@misc{a, year = 3}\n@misc{A, year = 4}", "A twice"),
    ],
)
def test_bibtex_that_is_not_sound_is_refused(text: str, why: str | None) -> None:
    if why is None:
        assert list(entries(text)) == ["a"]
    else:
        with pytest.raises(ValueError, match=why):
            entries(text)


def test_every_reference_algorithm_has_an_entry() -> None:
    for name in registered():
        ((key, entry),) = entries(find_algorithm(name).citation or "").items()
        assert entry.endswith("\n}"), key


def test_the_package_ships_its_references() -> None:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "references.bib" in settings["tool"]["setuptools"]["package-data"]["seqeval_rl.plots"]


def test_the_command(results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite"]) == 0
    assert list(entries(capsys.readouterr().out)) == ["sujit2023bridging", "seqeval_rl"]
    results.add("iql")  # a manifest of an earlier version, without citation
    newer = results.add("mine") / "manifest.json"
    newer.write_text(json.dumps(json.loads(newer.read_text()) | {"citation": MINE}))
    out = tmp_path / "new" / "papers.bib"
    assert main(["cite", str(results.root), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert {"kostrikov2022offline", "me2026"} <= entries(out.read_text()).keys()
    assert main(["cite", str(tmp_path / "nothing")]) == 65
