"""What the pages show runs: every command with --mini, every Python block marked as tested, the example notebook."""

import shutil

import pytest
from doc_pages import PAGES, ROOT, blocks, commands

from seqeval_rl.benchmarks.cli import main


def _mini():
    """Each command with --mini once, whatever its --out, and the page that it is on."""
    found = {}
    for page in PAGES:
        for words in commands(page):
            if "--mini" in words:
                place = words.index("--out") if "--out" in words else len(words)
                found.setdefault(tuple(words[:place] + words[place + 2 :]), page)
    return [pytest.param(page, words, id=" ".join(words)) for words, page in found.items()]


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


@pytest.mark.parametrize(("page", "words"), _mini())
def test_a_command_with_mini_runs(page, words, directory):
    write_files(page, directory)
    assert main(list(words)) == 0


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
