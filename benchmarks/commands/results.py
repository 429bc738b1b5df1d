"""The commands that read results: `plot`, `table`, `report`, `select`, `export`, `paper`, `cite`; what `run` prints last."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial, singledispatch
from pathlib import Path
from typing import Any

from seqeval_rl import plots
from seqeval_rl.benchmarks.arguments.options import given_options
from seqeval_rl.benchmarks.arguments.parsing import words
from seqeval_rl.benchmarks.arguments.results import Cite, Export, Paper, Plot, Report, Select, Table
from seqeval_rl.errors import SeqevalError, UsageError, writing
from seqeval_rl.results.export import export
from seqeval_rl.results.loggers.logger import OptionalLoggers, SweepSummary
from seqeval_rl.results.read import RunResult, evaluation_share, read_results
from seqeval_rl.results.reference import write_manifest
from seqeval_rl.utils.console import say
from seqeval_rl.utils.files import atomic_write
from seqeval_rl.utils.text import file_name

_log = logging.getLogger(__name__)


@singledispatch
def perform(command: Any) -> None:
    """Execute the command. Raises `SeqevalError` for everything that is not a bug."""
    raise TypeError(f"no such command: {command!r}")


@perform.register
def _plot(command: Plot) -> None:
    formats = words(command.format) or []
    if not formats or not {*formats} <= {"png", "pdf", "svg"}:
        raise UsageError(f"--format {command.format!r}: expected png, pdf or svg separated by commas.")
    with plots.styled(command.style):
        for path in _figure(command, tuple(formats)):
            say(path)


_RENAMED = {"foretold": "correlation"}  # old names of kinds, which the command still takes


def _figure(command: Plot, formats: tuple[str, ...]) -> list[Path]:
    """Draw and write the figure; returns the paths of its files."""
    options = given_options(command, Plot)
    if command.paper_figure is not None:
        paper = plots.Registration("figure", f"--paper-figure {command.paper_figure}", "", plots.paper_figure)
        out, name = command.out or Path("results") / "paper", f"paper-{command.paper_figure}"
        return plots.save(paper(command.paper_figure, **options), out, name, formats)
    if command.results is None:
        raise UsageError("plot: expected a results directory, found none. Name one that `seqeval run` wrote.")
    kind = _RENAMED.get(command.kind, command.kind)
    if kind != command.kind:
        _log.warning(
            "seqeval: --kind %s is now --kind %s; the next release takes the new name only.", command.kind, kind
        )
    registration = plots.FIGURES.find(kind)
    registration.check(options)
    results, out = read_results(command.results), command.out or command.results
    instead = plots.without_scores(results)
    if kind == "curves" and "metric" not in options and instead is not None:
        if options.keys() - {"width", "caption", "seed"}:
            raise UsageError(f"{', '.join(options)}: {instead}")
        say(instead)
        return _prequential_instead(results, out, formats, **options)
    parts = [kind]
    for name in ("metric", "x", "phase"):  # another metric, axis or phase has a file of its own
        if name in options and options[name] != registration.options[name].default:
            parts.append(str(options[name]))
    return plots.save(registration(results, **options), out, file_name("-".join(parts)), formats)


@perform.register
def _table(command: Table) -> None:
    measures = _measures(command)
    if not command.intervals and command.format == "csv":
        raise UsageError("--no-intervals: expected --format md, latex or text, found csv. Leave one of them out.")
    with plots.styled(command.style):
        tables = plots.tabulate(_tabulated(command), measures, **given_options(command, Table))
    for place, table in enumerate(tables):
        if command.format == "csv":  # one file, whose columns are those of every table
            say(table.csv() if not place else table.csv().partition("\n")[2], end="")
        else:
            makes = {"md": partial(table.markdown, command.intervals), "latex": partial(table.latex, command.intervals)}
            say(makes.get(command.format, table.text)())


def _tabulated(command: Table) -> list[RunResult]:
    """The runs that the table is of."""
    if command.results is not None and command.paper_figure is None:
        return read_results(command.results)
    if command.results is None and command.paper_figure is not None:
        return plots.published_results(command.paper_figure)
    found = "none" if command.results is None else f"{command.results} and --paper-figure"
    raise UsageError(f"table: expected a results directory or --paper-figure, found {found}. Name one of them.")


def _measures(command: Table) -> str:
    """Which table is asked for, under its old option too."""
    old = {"--ranking": command.ranking, "--paper-curves": command.paper_curves}
    given = [option for option, on in old.items() if on]
    if len(given) + (command.measures != "data") > 1:
        found = " and ".join([*given, *["--measures"] * (command.measures != "data")])
        raise UsageError(f"table: expected one sort of table, found {found}. Leave one of them out.")
    if not given:
        return command.measures
    measures = "ranking" if command.ranking else "published"
    _log.warning("seqeval: %s is now --measures %s; the next release takes the new name only.", given[0], measures)
    return measures


@perform.register
def _report(command: Report) -> None:
    out = command.out or command.results / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: expected a file that ends in .html, found {out.suffix or 'no ending'!r}.")
    with plots.styled(command.style):
        say(plots.write_report(read_results(command.results), out, command.results.resolve().name))


@perform.register
def _select(command: Select) -> None:
    choices = plots.select(
        read_results(command.results), score=command.score, share=command.share, algorithm=command.algorithm
    )
    say("\n".join(choice.text() for choice in choices), end="")
    if not any(choice.picked for choice in choices):
        raise UsageError(
            f"select: expected a setting with {command.score} at {100 * command.share:g} % of the data in all of its runs, found "
            "none. Choose another --score or a smaller --share, or finish the runs."
        )


@perform.register
def _export(command: Export) -> None:
    results = read_results(command.results)
    rows = export(results, command.file)
    say(f"{command.file}: {rows:,} rows")
    if command.manifest:
        say(write_manifest(results, command.file))


@perform.register
def _cite(command: Cite) -> None:
    results = [] if command.results is None else read_results(command.results)
    text = plots.bibliography(results, _registered_citations(results))
    if command.out is None:
        say(text, end="")
    else:
        with writing(command.out, "Choose another --out."):
            atomic_write(command.out, text)
        say(command.out)


@perform.register
def _paper(command: Paper) -> None:
    results = read_results(command.results)
    with plots.styled(command.style):
        for path in plots.write_paper(
            results, command.out or command.results / "paper", _registered_citations(results)
        ):
            say(path)


def _registered_citations(results: list[RunResult]) -> dict[str, str]:
    """By name, the citations that registered algorithms have, for those whose manifests are older than that field."""
    names = {run.algorithm for run in results if "citation" not in run.manifest}
    if not names:
        return {}
    from seqeval_rl.interface.registry import find_registered  # imports torch

    return {entry.name: entry.citation for entry in find_registered()[0] if entry.name in names and entry.citation}


def summarise(out: Path, loggers: Sequence[str] = ()) -> None:
    """Write the derived files and the figure of a finished sweep, print its table, and give both to the loggers. What cannot be
    made is a note: the runs are all there."""
    results = read_results(out)
    instead = plots.without_scores(results)
    figures: list[Path] = []
    markdown = ""
    with _noting(out / "results.parquet"):
        export(results, out / "results.parquet")
    with _noting("table"):
        table = None if instead is not None else plots.score_table(results)
        say(instead if table is None else table.text())
        markdown = "" if table is None else table.markdown()
    share = evaluation_share(results)
    if share is not None:
        say(f"evaluation: {share:.0%} of the runs' wall time")
    with _noting("figure"):
        formats = "png", "pdf"
        if instead is None:
            figures = plots.save(plots.curves(results), out, "curves", formats)
        else:
            figures = _prequential_instead(results, out, formats)
        for figure in figures[:1]:
            say(f"figure: {figure}")
    with closing(OptionalLoggers(loggers, lambda text: _log.warning("%s", text))) as optional:
        optional.summarize(SweepSummary(out, tuple(path for path in figures if path.suffix == ".png"), markdown))


@contextmanager
def _noting(what: object) -> Iterator[None]:
    """An error inside of this context is printed as a note."""
    try:
        yield
    except SeqevalError as error:
        say(f"note: no {what}: {error}")


def _prequential_instead(results: list[RunResult], out: Path, formats: tuple[str, ...], **options: Any) -> list[Path]:
    """The figure of prequential scores, if there are any, of runs that were never evaluated in an environment."""
    names = {name for result in results for name in result.prequential_scores()}
    for score in plots.SCORES:
        if score in names:
            return plots.save(plots.prequential(results, score, **options), out, "prequential", formats)
    return []
