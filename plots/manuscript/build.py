"""Write the directory of `seqeval paper`: everything is a part for `\\input`, and `main.tex` puts the parts together."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from seqeval_rl.errors import UsageError, writing
from seqeval_rl.plots.analysis.captions import NEAREST, curve_caption, table_notes
from seqeval_rl.plots.analysis.cross_task import Phase, has_online_phase, scores_across
from seqeval_rl.plots.analysis.curves import CurveSpec, curve_set
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.plots.citations import bibliography, entries
from seqeval_rl.plots.figures.across import aggregate_intervals, aggregates_caption
from seqeval_rl.plots.figures.learning_curves import curves
from seqeval_rl.plots.figures.style import save
from seqeval_rl.plots.manuscript.setup import setup_paragraph
from seqeval_rl.plots.registry import tabulate
from seqeval_rl.plots.tables.latex import latex_text
from seqeval_rl.plots.tables.matrix import Measure, matrix
from seqeval_rl.plots.tables.reach import reach_table
from seqeval_rl.plots.tables.rows import statistic_text
from seqeval_rl.plots.tables.scores import score_table
from seqeval_rl.results.read import RunResult
from seqeval_rl.utils.files import atomic_write

_NOTE = "% Written by `seqeval paper`, which overwrites it. Copy what you change.\n"
_TEXT, _HIGHEST = 5.5, 7.5  # inches: width of the text of `main.tex`, and the highest figure with its caption
_FURTHER = "blocks", "adaptation", "online", "across"  # tables of what only some results have
_PACKAGES = r"""\documentclass[10pt]{article}
% Without Latin Modern only the letters that Computer Modern lacks are of the encoding T1.
\newcommand{\lacking}[1]{\DeclareTextSymbolDefault{#1}{T1}}
\IfFileExists{lmodern.sty}{\usepackage[T1]{fontenc}\usepackage{lmodern}}{%
  \usepackage[T1,OT1]{fontenc}\DeclareTextAccentDefault{\k}{T1}%
  \lacking\DH\lacking\dh\lacking\DJ\lacking\dj\lacking\NG\lacking\ng\lacking\TH\lacking\th
  \lacking\guillemetleft\lacking\guillemetright\lacking\guilsinglleft\lacking\guilsinglright
  \lacking\quotedblbase\lacking\quotesinglbase\lacking\ij\lacking\IJ\lacking\textquotedbl}
\usepackage[letterpaper,textwidth=5.5in,textheight=9in]{geometry}
\usepackage{graphicx}
\usepackage{booktabs}
\usepackage{longtable}
\usepackage{url}
\setlength{\belowcaptionskip}{6pt}
\setlength{\emergencystretch}{3em}
"""
_log = logging.getLogger("seqeval_rl")


def write_paper(
    results: Sequence[RunResult], directory: str | os.PathLike[str], registered: Mapping[str, str] | None = None
) -> list[Path]:
    r"""Figures (PDF), tables, a paragraph on the setup (LaTeX) and BibTeX of results, and `main.tex`, which pdfLaTeX compiles.

    `curves.pdf` is 3.25 inches wide, a column, unless it would be higher than a page: then 5.5 inches. What the results have no
    numbers for is left out with a warning.

    Args:
        results: from `seqeval_rl.read_results`.
        directory: created if missing; its files of the same names are overwritten.
        registered: BibTeX by algorithm, for runs whose manifest was written before manifests recorded it.

    Returns:
        The files, `main.tex` the last.

    Raises:
        UsageError: no run, or none that was evaluated in an environment.
        FileError: the directory cannot be made or written.
    """
    folder = Path(directory)
    references = bibliography(results, registered)
    parts = {"setup.tex": setup_paragraph(results, entries(references), registered or {})}
    written, figures = _figures(results, folder)
    tables = {"scores.tex": _scores(results), "measures.tex": _measures(results)}
    inputs = [f"\\input{{{name}}}" for name in tables]
    body = [
        r"\input{setup.tex}",
        *figures,
        *inputs,
        r"\nocite{*}",
        r"\bibliographystyle{plain}",
        r"\bibliography{references}",
    ]
    parts |= tables
    characters = _characters("".join([*parts.values(), *body, references]))
    document = [r"\begin{document}", *body, r"\end{document}", ""]
    parts = {name: _NOTE + text for name, text in parts.items()}
    parts |= {"references.bib": references, "main.tex": _NOTE + _PACKAGES + characters + "\n".join(document)}
    for name, text in parts.items():
        with writing(folder / name, "Choose another --out."):
            atomic_write(folder / name, text)
        written.append(folder / name)
    return written


def _figures(results: Sequence[RunResult], folder: Path) -> tuple[list[Path], list[str]]:
    """The paths of the figures, and the environments that show them."""
    # As `curves` computes it for the same arguments.
    text = curve_caption(results, curve_set(results, CurveSpec()))
    figure, options = curves(results, width="column", caption=False), ""
    if figure.get_figheight() > _HIGHEST:
        figure = curves(results, width=_TEXT, caption=False)
        if figure.get_figheight() > _HIGHEST:
            options = f"[height={_HIGHEST:g}in]"
    written = save(figure, folder, "curves", ("pdf",))
    shown = [_figure("curves", f"Performance over the transitions seen. {text}", options)]
    phases: tuple[Phase, ...] = ("offline", "online") if has_online_phase(collect(results)) else ("offline",)
    for phase in phases:
        name = "across" if phase == "offline" else "across-online"
        try:
            scores = scores_across(results, phase=phase)
            figure = aggregate_intervals(results, phase=phase, width="column", caption=False)
        except UsageError as error:
            _log.warning("figure over all datasets: %s It is left out.", error)
            continue
        written += save(figure, folder, name, ("pdf",))
        shown.append(_figure(name, f"All datasets together. {aggregates_caption(results, scores)}"))
    return written, shown


def _figure(name: str, caption: str, options: str = "") -> str:
    lines = [
        r"\begin{figure}", r"\centering", rf"\includegraphics{options}{{{name}.pdf}}",
        rf"\caption{{{latex_text(caption)}}}", rf"\label{{fig:seqeval-{name}}}", r"\end{figure}",
    ]  # fmt: skip
    return "\n".join(lines)


def _scores(results: Sequence[RunResult]) -> str:
    """Final scores, a row for each dataset and a column for each algorithm."""
    table = score_table(results, shares=(1.0,))
    caption = f"At 100 % of the data, {_common(results, statistic_text(table.rows, 'iqm'))}"
    return matrix("paper-scores", [Measure(table, "100 %", "100 % of the data")], caption)


def _measures(results: Sequence[RunResult]) -> str:
    """Every other measure in the same form, then the tables of what only some results have."""
    scores, reached = score_table(results), reach_table(results)
    measures = [Measure(scores, name, f"{name} of the data") for name in ("25 %", "50 %", "75 %")]
    measures += [Measure(scores, "best", "best evaluation"), Measure(scores, "area", "area under the curve")]
    measures.append(Measure(reached, "to dataset mean", "transitions to the dataset's mean score"))
    measures.append(Measure(reached, "fall from best", "fall from the best score to the last"))
    caption = (
        f"Measures of the curves, {_common(results, statistic_text(scores.rows, 'iqm'))} {NEAREST} Area: under the curve, "
        "divided by its width. Transitions to the dataset's mean score: median over seeds, > N where most runs never get there."
    )
    texts = [matrix("paper-measures", measures, caption)]
    for name in _FURTHER:
        try:
            texts += [table.latex(long=True) for table in tabulate(results, name)]
        except UsageError as error:
            _log.debug("table %s: %s", name, error)
    return "\n".join(texts)


def _common(results: Sequence[RunResult], numbers: str) -> str:
    """The part of captions that is the same in both tables."""
    pairs = [(panel.title, group) for panel in collect(results) for group in panel.groups]
    return f"{numbers}. Bold: best of the dataset, and values within its interval.{table_notes(results, pairs)}"


def _characters(text: str) -> str:
    """Declarations of the characters that pdfLaTeX may lack: their code stands for them. Other engines have all of them."""
    letters = sorted({letter for letter in text if not letter.isascii()})
    lines = [
        rf"\ifcsname u8:\detokenize{{{letter}}}\endcsname\else"
        rf"\DeclareUnicodeCharacter{{{ord(letter):04X}}}{{[U+{ord(letter):04X}]}}\fi"
        for letter in letters
    ]
    return "\n".join([r"\ifdefined\DeclareUnicodeCharacter", *lines, r"\fi", ""]) if lines else ""
