"""`seqeval paper`: what it writes, whatever the names, and that pdfLaTeX compiles it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.plots import score_table, write_paper
from seqeval_rl.plots.citations import entries
from seqeval_rl.plots.tables.matrix import Measure, matrix

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plots.conftest import Results

HOSTILE = r"a_b #1{}&%$~^\end{document}"
RECORDED = {
    "versions": {"seqeval-rl": "0.1.0", "python": "3.11.2", "torch": "2.9.0"},
    "device": "cpu",
    "processor": "2 x X_1",
}


def compiled(folder: Path) -> str:
    """The log of the last of the runs that `main.tex` takes."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    for words in (command, ["bibtex", "main"], command, command):
        done = subprocess.run(words, cwd=folder, capture_output=True, check=False)
        log = done.stdout.decode(errors="replace")
        assert done.returncode == 0, log[-2_000:]
    return log


needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None or shutil.which("bibtex") is None,
    reason="needs Debian's texlive-latex-base and texlive-latex-recommended",
)


@needs_latex
@pytest.mark.filterwarnings("ignore:Glyph")  # figures have the font's box for letters that it lacks
def test_the_paper_compiles_with_hostile_names_and_more_rows_than_a_page_has(results: Results, tmp_path: Path) -> None:
    for number in range(4):
        for algorithm in ("td3_bc", HOSTILE, "naïve"):
            for seed in range(2):
                name = f"d4rl:hopper_{number}-50%&#_é-ą-ð-«-中-→"
                blocks = (("x", 0, 30_000, 44.3, name),)
                results.add(algorithm, seed, dataset=name, blocks=blocks, points=4, **RECORDED)
    write_paper(results.read(), tmp_path / "paper")
    assert r"\begin{longtable}" in (tmp_path / "paper" / "measures.tex").read_text(encoding="utf-8")
    log = compiled(tmp_path / "paper")
    assert not re.search("undefined|multiply defined|Rerun to get", log)
    assert (tmp_path / "paper" / "main.pdf").stat().st_size > 10_000


def test_the_command_writes_every_part(quickstart: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "paper"
    assert main(["paper", str(quickstart.root), "--out", str(out)]) == 0
    written = capsys.readouterr().out.split()
    parts = ["curves.pdf", "across.pdf", "setup.tex", "scores.tex", "measures.tex", "references.bib", "main.tex"]
    assert written == [str(out / name) for name in parts]
    [box] = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", (out / "curves.pdf").read_bytes())
    assert float(box) == pytest.approx(3.25 * 72)
    document = (out / "main.tex").read_text(encoding="utf-8")
    shown = re.findall(r"\\(?:input|includegraphics)\{([^}]+)\}", document)
    assert set(shown) == {*parts} - {"references.bib", "main.tex"}
    known = entries((out / "references.bib").read_text(encoding="utf-8"))
    cited = re.findall(r"\\cite\{([^}]+)\}", (out / "setup.tex").read_text(encoding="utf-8"))
    assert {key for keys in cited for key in keys.split(",")} <= known.keys()
    assert main(["paper", str(quickstart.root)]) == 0
    assert (quickstart.root / "paper" / "main.tex").is_file()


def test_the_paragraph_states_what_manifests_record(results: Results, tmp_path: Path) -> None:
    protocol = {"order": "episodes", "batch_size": 256, "episodes": 10, "window": 2_000, "initial": 1_000}
    for seed in range(5):
        results.add("td3_bc", seed, protocol=protocol, failed=seed == 4, **RECORDED)
    write_paper(results.read(), tmp_path)
    text = " ".join((tmp_path / "setup.tex").read_text(encoding="utf-8").split())
    for words in (
        r"At the beginning of a run 1\,000 transitions of its dataset are visible.",
        "increments of 1 transition, in whole episodes, which are shuffled, each followed by 1 gradient step on batches of 256",
        r"from the newest 2\,000 visible transitions",
        r"Every 5\,000 transitions the policy is evaluated without exploration over 10 episodes.",
        "has 5 runs on each dataset, with the seeds 0 to 4",
        "Of 5 runs, 1 failed.",
        r"interquartile means over seeds (below four seeds the mean) with 95\,\% bootstrap intervals over seeds (2\,000",
        r"Hardware: cpu with 2 x X\_1. Versions: seqeval-rl 0.1.0, Python 3.11.2, PyTorch 2.9.0.",
    ):
        assert words in text, words


def test_a_single_seed_has_no_interval_to_speak_of(results: Results, tmp_path: Path) -> None:
    results.add("bc", 3)
    write_paper(results.read(), tmp_path)
    text = (tmp_path / "setup.tex").read_text(encoding="utf-8")
    assert "single runs, so they have no intervals" in text
    assert "has 1 run on each dataset, with the seed 3;" in text


def test_a_matrix_has_datasets_as_rows_and_algorithms_as_columns_with_the_best_in_bold(results: Results) -> None:
    for algorithm, score in (("td3_bc", 80.0), ("iql", 40.0)):
        for dataset in ("first", "second")[: 2 if algorithm == "td3_bc" else 1]:
            results.add(
                algorithm, 0, dataset=dataset, blocks=(("x", 0, 100, 5.0),), transitions=[0, 100], scores=[0, score]
            )
    text = matrix("x", [Measure(score_table(results.read()), "100 %", "final")], "All.")
    lines = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines()]
    assert ["dataset", "seeds", "dataset mean", "TD3+BC", "IQL"] in [
        [re.sub(r"\\begin\{tabular\}\[b\]\{@\{\}r@\{\}\}|\\end\{tabular\}|\\\\ ", "", cell) for cell in line]
        for line in lines
    ]
    assert ["first", "1", "5.0", r"\textbf{80.0}", "40.0"] in lines
    assert ["second", "1", "5.0", "80.0", r"\textendash{}"] in lines


@pytest.mark.parametrize(
    ("fault", "words", "code"),
    [
        ("unevaluated", "no scores", 2),
        ("a file in the way", "cannot be written (File exists)", 74),
        ("nothing", "found no manifest.json", 65),
    ],
)
def test_what_cannot_be_is_one_line(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, words: str, code: int
) -> None:
    results.root.mkdir()
    if fault != "nothing":
        results.add("bc", 0, evaluated=fault != "unevaluated")
    out = tmp_path / "out"
    if fault == "a file in the way":
        out.touch()
    assert main(["paper", str(results.root), "--out", str(out)]) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
