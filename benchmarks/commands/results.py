"""What the commands do that look at results. Every function takes its typed command and prints for people."""

from __future__ import annotations

from functools import partial, singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqeval_rl.benchmarks.arguments.parsing import words
from seqeval_rl.benchmarks.arguments.results import Cite, Export, Plot, Report, Select, Table
from seqeval_rl.errors import UsageError

if TYPE_CHECKING:
    from seqeval_rl.results.read import RunResult


@singledispatch
def perform(command: Any) -> None:
    """Do what the command says. Raises `SeqevalError` for whatever is not a bug."""
    raise TypeError(f"no such command: {command!r}")


@perform.register
def _plot(command: Plot) -> None:
    from seqeval_rl import plots

    formats = words(command.format) or []
    wrong = [item for item in formats if item not in ("png", "pdf", "svg")]
    if wrong or not formats:
        raise UsageError(f"--format {command.format!r}: expected png, pdf or svg separated by commas.")
    with plots.styled(command.style):
        for path in _figure(command, tuple(formats)):
            print(path)


def _figure(command: Plot, formats: tuple[str, ...]) -> list[Path]:
    """Draws what is asked for; the paths of its files."""
    from seqeval_rl import plots
    from seqeval_rl.results.read import read_results

    size: dict[str, Any] = {"caption": command.caption}
    if command.width is not None:
        size["width"] = _width(command.width)
    # Options of the curves alone, and whether each was given.
    of_curves = {
        "--paper-curves": command.paper_curves,
        "--seeds-shown": command.seeds_shown,
        "--statistic": command.statistic != "iqm",
        "--x": command.x != "transitions",
        "--metric": command.metric != "score",
    }
    given = [option for option, found in of_curves.items() if found]
    if command.paper_figure is not None:
        if given:
            raise UsageError(
                f"{given[0]}: expected no such option beside --paper-figure, found it. Leave one of them out."
            )
        out, name = command.out or Path("results") / "paper", f"paper-{command.paper_figure}"
        return plots.save(plots.paper_figure(command.paper_figure, **size), out, name, formats)
    if command.results is None:
        raise UsageError("plot: expected a results directory, found none. Name one that `seqeval run` wrote.")
    if given and command.kind != "curves":
        raise UsageError(f"{given[0]}: expected --kind curves beside it, found {command.kind}. Leave one of them out.")
    if command.score != plots.DEFAULT_SCORE and command.kind not in ("prequential", "foretold"):
        raise UsageError(
            f"--score: expected --kind prequential or foretold beside it, found {command.kind}. Leave one of them out."
        )
    results, out = read_results(command.results), command.out or command.results
    instead = plots.without_scores(results)
    if command.kind == "curves" and command.metric == "score" and instead is not None:
        if given:
            raise UsageError(f"{given[0]}: {instead}")
        print(instead)
        return _prequential_instead(results, out, formats)
    if command.kind == "curves":
        figure = plots.curves(
            results, metric=command.metric, x=command.x, statistic=command.statistic, published=command.paper_curves,
            seeds_shown=command.seeds_shown, **size,
        )  # fmt: skip
    elif command.kind in ("prequential", "foretold"):
        figure = plots.FIGURES[command.kind](results, command.score, **size)
    else:
        figure = plots.FIGURES[command.kind](results, **size)
    # Other axes and metrics are figures of their own, beside that of the scores over transitions.
    others = [command.metric.replace("/", "-")] * (command.metric != "score") + [command.x] * (
        command.x != "transitions"
    )
    return plots.save(figure, out, "-".join([command.kind, *others]), formats)


def _width(text: str) -> str | float:
    """A number of inches, or a name as it is."""
    try:
        return float(text)
    except ValueError:
        return text


@perform.register
def _table(command: Table) -> None:
    from seqeval_rl import plots
    from seqeval_rl.results.read import read_results

    results = read_results(command.results)
    chosen = {
        "--ranking": command.ranking, "--paper-curves": command.paper_curves, "--measures": command.measures != "data"
    }  # fmt: skip
    if sum(chosen.values()) > 1:
        given = " and ".join(option for option, found in chosen.items() if found)
        raise UsageError(f"table: expected one sort of table, found {given}. Leave one of them out.")
    if not command.intervals and command.format == "csv":
        raise UsageError("--no-intervals: expected --format md, latex or text, found csv. Leave one of them out.")
    makers = plots.TABLES[command.measures]
    if command.ranking:
        makers = (plots.ranking_table,)
    elif command.paper_curves:
        makers = (plots.published_table,)
    for place, make in enumerate(makers):
        with plots.styled(command.style):
            table = make(results)
        if command.format == "csv":  # one file, whose columns are those of every table
            print(table.csv() if not place else table.csv().partition("\n")[2], end="")
        else:
            makes = {"md": partial(table.markdown, command.intervals), "latex": partial(table.latex, command.intervals)}
            print(makes.get(command.format, table.text)())


@perform.register
def _report(command: Report) -> None:
    from seqeval_rl import plots
    from seqeval_rl.results.read import read_results

    out = command.out or command.results / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: expected a file that ends in .html, found {out.suffix or 'no ending'!r}.")
    with plots.styled(command.style):
        print(plots.write_report(read_results(command.results), out, command.results.resolve().name))


@perform.register
def _select(command: Select) -> None:
    from seqeval_rl import plots
    from seqeval_rl.results.read import read_results

    choices = plots.select(
        read_results(command.results), score=command.score, share=command.share, algorithm=command.algorithm
    )
    print("\n".join(choice.text() for choice in choices), end="")
    if not any(choice.picked for choice in choices):
        raise UsageError(
            f"select: expected a setting with {command.score} at {100 * command.share:g} % of the data in all of its runs, found "
            "none. Choose another --score or a smaller --share, or finish the runs."
        )


@perform.register
def _export(command: Export) -> None:
    from seqeval_rl.results.export import export
    from seqeval_rl.results.read import read_results

    rows = export(read_results(command.results), command.file)
    print(f"{command.file}: {rows:,} rows")


@perform.register
def _cite(command: Cite) -> None:
    from seqeval_rl import plots
    from seqeval_rl.results.read import read_results

    results = [] if command.results is None else read_results(command.results)
    # A manifest that was written before manifests had citations: what is installed under that name has one.
    lacking = {run.algorithm for run in results if "citation" not in run.manifest}
    text = plots.bibliography(results, _registered_citations(lacking))
    if command.out is None:
        print(text, end="")
    else:
        command.out.parent.mkdir(parents=True, exist_ok=True)
        command.out.write_text(text, encoding="utf-8")
        print(command.out)


def _registered_citations(names: set[str]) -> dict[str, str]:
    """Of the algorithms with these names that are registered, and bring one."""
    if not names:
        return {}
    from seqeval_rl.interface.registry import find_algorithm, registered  # imports torch

    found = {name: find_algorithm(name).citation for name in sorted(names & registered().keys())}
    return {name: text for name, text in found.items() if text}


def summarise(out: Path) -> None:
    """Derived files, the table and where the figure is."""
    from seqeval_rl import plots
    from seqeval_rl.results.export import export
    from seqeval_rl.results.read import evaluation_share, read_results

    results = read_results(out)
    export(results, out / "results.parquet")
    instead = plots.without_scores(results)
    if instead is None:
        figures = plots.save(plots.curves(results), out, "curves", ("png", "pdf"))
        print(plots.score_table(results).text())
    else:
        print(instead)
        figures = _prequential_instead(results, out, ("png", "pdf"))
    share = evaluation_share(results)
    if share is not None:
        print(f"evaluation: {share:.0%} of the runs' wall time")
    for figure in figures[:1]:
        print(f"figure: {figure}")


def _prequential_instead(results: list[RunResult], out: Path, formats: tuple[str, ...]) -> list[Path]:
    """The figure for runs that were never evaluated in an environment, where they have prequential scores."""
    from seqeval_rl import plots

    names = {name for result in results for name in result.prequential_scores()}
    score = next((name for name in plots.SCORES if name in names), None)
    return [] if score is None else plots.save(plots.prequential(results, score), out, "prequential", formats)
