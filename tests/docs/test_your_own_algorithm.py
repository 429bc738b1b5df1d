"""The tutorial for algorithm authors: its commands run in order, and its algorithms pass the contract checks."""

import shutil

from doc_pages import ROOT, blocks, commands

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.interface.checks import check_algorithm
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.results.read import read_results

PAGE = ROOT / "docs" / "your-own-algorithm.md"


def test_the_tutorial_leads_to_a_figure_next_to_td3_bc(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    assert [main(list(words)) for words in commands(PAGE)] == [0] * 7
    assert "filtered_bc" in capsys.readouterr().out
    results = read_results(tmp_path / "results" / "mine")
    assert {(run.algorithm, run.status) for run in results} == {("filtered_bc", "finished"), ("td3_bc", "finished")}
    assert (tmp_path / "results" / "mine" / "curves.png").stat().st_size > 10_000
    assert len({run.path for run in read_results(tmp_path / "results" / "mine-swept")}) == 6


def test_the_vectorized_example_holds_to_the_contract():
    entry = find_algorithm(f"{ROOT / 'examples' / 'filtered_bc_vectorized.py'}:VectorizedFilteredBC")
    assert [check for check in check_algorithm(entry.algorithm) if not check.passed] == []


def test_the_page_shows_the_files_of_the_examples():
    shown = [block.text for block in blocks(PAGE) if "--8<--" in block.text]
    assert [text.split('"')[1] for text in shown] == ["examples/filtered_bc.py", "examples/filtered_bc_vectorized.py"]
