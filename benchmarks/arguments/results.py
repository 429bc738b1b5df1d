"""Arguments of the commands that read results: `plot`, `table`, `select`, `export`, `status`, `report`, `paper`, `cite`.

`plot` and `table` get the options of every registered figure or table besides, see `options`; in the others the comment of
a field is its help text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

_STYLE = "TOML file with a table per algorithm: name, colour, line, marker, hollow"


@dataclass(frozen=True)
class Plot:
    """Draw a figure of a results directory: data-efficiency curves, or its algorithms over all datasets."""

    results: Annotated[Positional[Path | None], arg(help="omit with --paper-figure", metavar="RESULTS")] = None
    kind: Annotated[str, arg(help="which figure", metavar="KIND")] = "curves"
    paper_figure: Annotated[
        Literal["offline", "finetune", "mixed"] | None,
        arg(help="instead draw this figure of the paper from its published data alone"),
    ] = None
    style: Annotated[Path | None, arg(help=_STYLE, metavar="FILE.toml")] = None
    out: Annotated[
        Path | None, arg(help="where to write; default RESULTS, of --paper-figure results/paper", metavar="DIR")
    ] = None
    format: Annotated[str, arg(help="png, pdf or svg, separated by commas", metavar="PNG,PDF,SVG")] = "png"


@dataclass(frozen=True)
class Table:
    """Print scores at 25, 50, 75 and 100 % of the data, or other measures."""

    results: Annotated[Positional[Path | None], arg(help="omit with --paper-figure", metavar="RESULTS")] = None
    measures: Annotated[str, arg(help="which table", metavar="MEASURES")] = "data"
    paper_figure: Annotated[
        Literal["offline", "finetune", "mixed"] | None,
        arg(help="instead tabulate the published data of this figure of the paper"),
    ] = None
    ranking: Annotated[bool, arg(help="the old name of --measures ranking")] = False
    paper_curves: Annotated[bool, arg(help="the old name of --measures published")] = False
    format: Annotated[Literal["md", "latex", "csv", "text"], arg(help="Markdown, LaTeX, CSV or plain text")] = "md"
    style: Annotated[Path | None, arg(help=_STYLE, metavar="FILE.toml")] = None
    intervals: Annotated[bool, arg(help="show intervals in md and latex (text has none, csv has all)")] = True


@dataclass(frozen=True)
class Select:
    """Pick an algorithm and its settings for each dataset by prequential scores alone; with true scores, what the pick costs."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    # prequential score to pick by: the lowest is best; of agreement the highest, of value_gap the nearest to 0
    score: Literal["action_error", "agreement", "nll", "td_error", "value_error", "value_gap"] = "action_error"
    share: float = 1.0  # share of the data that the score is over, above 0 and at most 1
    # pick among the settings of this algorithm; default: of all
    algorithm: Annotated[str | None, arg(metavar="NAME")] = None


@dataclass(frozen=True)
class Export:
    """Write all evaluations in long format, as Parquet or CSV."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    file: Annotated[Positional[Path], arg(metavar="FILE")]  # ends in .csv or .parquet
    manifest: bool = False  # also write settings, versions and hardware of the runs next to it, ending in .json


@dataclass(frozen=True)
class Status:
    """Progress of the runs of a results directory, whichever processes write to it: one line per dataset and algorithm."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    all: bool = False  # one line per run
    # repeat every so many seconds (5 without a number) until no run is in progress
    watch: Annotated[tuple[float, ...] | None, arg(metavar="SECONDS")] = None


@dataclass(frozen=True)
class Report:
    """Write one HTML file with curves, leaderboard and runs of a results directory; it opens without a network."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    out: Annotated[Path | None, arg(metavar="FILE")] = None  # file to write; default RESULTS/report.html
    style: Annotated[Path | None, arg(help=_STYLE, metavar="FILE.toml")] = None


@dataclass(frozen=True)
class Paper:
    """Write all that a paper needs: figures (PDF), tables, a paragraph on the setup (LaTeX), BibTeX, and a main.tex with them."""

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    out: Annotated[Path | None, arg(metavar="DIR")] = None  # where to write; default RESULTS/paper
    style: Annotated[Path | None, arg(help=_STYLE, metavar="FILE.toml")] = None


@dataclass(frozen=True)
class Cite:
    """Print BibTeX of the paper, of this software, and of every algorithm, dataset and environment in the results."""

    # omit for only the paper and this software
    results: Annotated[Positional[Path | None], arg(metavar="RESULTS")] = None
    out: Annotated[Path | None, arg(metavar="FILE")] = None  # write to this file instead
