"""How names and numbers are written in tables: for people, in Markdown, in LaTeX."""

from __future__ import annotations

import re


def number_text(value: float, unit: str) -> str:
    """A number of that unit for people: `12.3`, `12.3k` transitions, a probability or rank of `0.12`; never `-0.0`."""
    if unit == "transitions":
        for size, suffix in ((1e6, "M"), (1e3, "k")):
            if abs(value) >= 0.9995 * size:
                return f"{value / size:.3g}{suffix}"
        return f"{value:.3g}"
    text = f"{value:.1f}" if unit == "score" else f"{value:.2f}"
    return text.removeprefix("-") if not float(text) else text


def markdown_text(text: str) -> str:
    """A name in a cell of GitHub-flavoured Markdown."""
    return re.sub(r"([\\`*_\[\]<>|$#~&])", r"\\\1", " ".join(text.split()))


_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "→": r"$\rightarrow$",
    "…": r"\dots{}",
    "–": r"\textendash{}",
    "ρ": r"$\rho$",
    "−": "$-$",
} | {letter: f"\\{letter}" for letter in "{}$&%#_"}


def latex_text(text: str) -> str:
    """A name or number in LaTeX's text mode. What cannot be printed becomes `?`; letters that pdfLaTeX lacks stay."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    # Two hyphens would become a dash.
    escaped = "".join(_LATEX.get(letter, letter) for letter in printable).replace("--", "-{}-")
    # A minus before a number that stands alone, not a hyphen inside a name.
    return re.sub(r"(?:(?<=[\s\[])|^)-(?=\d)", "$-$", escaped)


def latex_cell(text: str) -> str:
    r"""`latex_text` at the beginning of a cell, where `[` and `*` would belong to the `\\` of the row before."""
    escaped = latex_text(text)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped
