"""What the pages show runs: their commands with --mini, every Python block marked as tested, the example notebook."""

import shutil

import pytest
from doc_pages import PAGES, ROOT, blocks, commands

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.interface.checks import check_algorithm
from seqeval_rl.interface.registry import find_algorithm

HAS_ITS_OWN_TEST = {"your-own-algorithm.md"}


def _to_run():
    """By page: its commands with --mini, and those that read what these have written."""
    by_page = []
    for page in PAGES:
        chosen, written = [], set()
        for words in commands(page):
            if words[0] == "run" and "--mini" in words:
                written.add(words[words.index("--out") + 1] if "--out" in words else f"results/{words[1]}-mini")
                chosen.append(words)
            elif written.intersection(words):
                chosen.append(words)
        if chosen and page.name not in HAS_ITS_OWN_TEST:
            by_page.append(pytest.param(page, chosen, id=page.name))
    return by_page


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A directory to run in, with the repository's examples."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_files(page, directory):
    """The files that the page shows."""
    for block in blocks(page):
        if block.title:
            file = directory / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")


@pytest.mark.parametrize(("page", "to_run"), _to_run())
def test_the_commands_of_a_page_run_in_order(page, to_run, directory):
    write_files(page, directory)
    for words in to_run:
        if "tensorboard" in words:
            pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
        assert main(list(words)) == 0, f"{page.name}: seqeval {' '.join(words)}"


def test_the_readmes_algorithm_holds_to_the_contract(directory):
    write_files(ROOT / "README.md", directory)
    entry = find_algorithm("weighted_bc.py:WeightedBC")
    assert [check for check in check_algorithm(entry.algorithm) if not check.passed] == []


PYTHON = [
    pytest.param(page, block.text, id=f"{block.page}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page))
    if block.tested
]


@pytest.mark.parametrize(("page", "text"), PYTHON)
def test_a_python_block_runs(page, text, directory, monkeypatch):
    write_files(page, directory)
    monkeypatch.syspath_prepend(directory)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    exec(compile(text, f"{page.name}", "exec"), {"__name__": "documentation"})


def test_the_notebook_runs(directory, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    file = directory / "examples" / "quickstart.ipynb"
    notebook = nbformat.read(file, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(directory))
