"""What each command does. Every function takes its typed command and prints for people."""

from __future__ import annotations

import dataclasses
from functools import partial, singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqeval_rl.benchmarks import cli
from seqeval_rl.errors import SeqevalError, UsageError

if TYPE_CHECKING:
    from seqeval_rl.results import RunResult


def _words(text: str | None) -> list[str] | None:
    """`a,b` as a list; None stays None."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str | None, option: str) -> list[int] | None:
    words = _words(text)
    if words is None:
        return None
    if not words or not all(word.isdigit() for word in words):
        raise UsageError(f"{option} {text!r}: expected whole numbers from 0 separated by commas, for example 0,1,2.")
    return [int(word) for word in words]


@singledispatch
def perform(command: Any) -> None:
    """Do what the command says. Raises `SeqevalError` for whatever is not a bug."""
    raise TypeError(f"no such command: {command!r}")


@perform.register
def _run(command: cli.Run) -> None:
    from seqeval_rl.benchmarks.suite import build_sweep, read_suite, suite_names
    from seqeval_rl.registry import parse_setting

    if command.list:
        for name in suite_names():
            print(f"{name:<12} {read_suite(name)[1].description}")
        return
    if not command.suite:
        raise UsageError(f"run: expected a suite, found none. Name one of {', '.join(suite_names())}, or a .toml file.")
    for option in ("algorithms", "datasets"):
        if getattr(command, option) is not None and not _words(getattr(command, option)):
            raise UsageError(f"--{option}: expected at least one name, found none.")
    settings = [parse_setting(text) for text in command.set]
    sweep = build_sweep(
        command.suite, command.mini, _words(command.algorithms), _words(command.datasets),
        _numbers(command.seeds, "--seeds"), settings, command.paper,
    )  # fmt: skip
    sweep = dataclasses.replace(sweep, precision=command.precision)
    from seqeval_rl.sweep import run_sweep

    out = command.out or Path("results") / Path(command.suite).stem
    if command.mini and command.out is None:
        out = out.with_name(out.name + "-mini")
    ends = run_sweep(sweep, out, command.device, command.environments, command.overwrite)
    _summarise(out)
    for end in ends:
        if end.status == "failed":
            print(f"{end.directory}: failed, {end.message}. It is left out of the figure's means.")
    crashed = [end for end in ends if end.status == "crashed"]
    if crashed:
        raise SeqevalError(
            f"{len(crashed)} runs stopped with an exception, first {crashed[0].directory}: {crashed[0].message}"
        )


def _summarise(out: Path) -> None:
    """Derived files, the table and where the figure is."""
    from seqeval_rl import plots
    from seqeval_rl.results import evaluation_share, export, read_results

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


@perform.register
def _plot(command: cli.Plot) -> None:
    from seqeval_rl import plots
    from seqeval_rl.results import read_results

    formats = _words(command.format) or []
    wrong = [item for item in formats if item not in ("png", "pdf", "svg")]
    if wrong or not formats:
        raise UsageError(f"--format {command.format!r}: expected png, pdf or svg separated by commas.")
    if command.paper_figure is not None:
        figure = plots.paper_figure(command.paper_figure)
        out, name = command.out or Path("results") / "paper", f"paper-{command.paper_figure}"
        print("\n".join(map(str, plots.save(figure, out, name, tuple(formats)))))
        return
    if command.results is None:
        raise UsageError("plot: expected a results directory, found none. Name one that `seqeval run` wrote.")
    if command.paper_curves and command.kind != "curves":
        raise UsageError(
            f"--paper-curves: expected --kind curves beside it, found {command.kind}. Leave one of them out."
        )
    results, out = read_results(command.results), command.out or command.results
    instead = plots.without_scores(results)
    if command.kind == "curves" and instead is not None:
        print(instead)
        paths = _prequential_instead(results, out, tuple(formats))
    else:
        figures = plots.FIGURES | {
            "curves": partial(plots.curves, published=command.paper_curves),
            "prequential": partial(plots.prequential, score=command.score),
        }
        paths = plots.save(figures[command.kind](results), out, command.kind, tuple(formats))
    for path in paths:
        print(path)


@perform.register
def _table(command: cli.Table) -> None:
    from seqeval_rl import plots
    from seqeval_rl.results import read_results

    results = read_results(command.results)
    chosen = {
        "--ranking": command.ranking, "--paper-curves": command.paper_curves, "--measures": command.measures != "data"
    }  # fmt: skip
    if sum(chosen.values()) > 1:
        given = " and ".join(option for option, found in chosen.items() if found)
        raise UsageError(f"table: expected one sort of table, found {given}. Leave one of them out.")
    makers = plots.TABLES[command.measures]
    if command.ranking:
        makers = (plots.ranking_table,)
    elif command.paper_curves:
        makers = (plots.published_table,)
    for place, make in enumerate(makers):
        table = make(results)
        if command.format == "csv":  # one file, whose columns are those of every table
            print(table.csv() if not place else table.csv().partition("\n")[2], end="")
        else:
            print({"md": table.markdown, "latex": table.latex, "text": table.text}[command.format]())


@perform.register
def _select(command: cli.Select) -> None:
    from seqeval_rl import plots
    from seqeval_rl.results import read_results

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
def _export(command: cli.Export) -> None:
    from seqeval_rl.results import export, read_results

    rows = export(read_results(command.results), command.file)
    print(f"{command.file}: {rows:,} rows")


@perform.register
def _datasets(command: cli.Datasets) -> None:
    from seqeval_rl.benchmarks import datasets

    datasets.perform(command.action)


@perform.register
def _algorithms(command: cli.Algorithms) -> None:
    from seqeval_rl.registry import find_algorithm, registered

    for name in sorted(registered()):
        entry = find_algorithm(name)
        print(f"{name}: {entry.summary}")
        for item in dataclasses.fields(entry.algorithm.Config):
            print(f"    {name}.{item.name} = {item.default!r}")


@perform.register
def _check(command: cli.Check) -> None:
    from seqeval_rl.contract import check_algorithm
    from seqeval_rl.registry import find_algorithm

    entry = find_algorithm(command.algorithm, "check")
    results = check_algorithm(entry.algorithm)
    for result in results:
        print(f"{'ok  ' if result.passed else 'FAIL'} {result.name}: {result.detail}")
    broken = [result.name for result in results if not result.passed]
    if broken:
        raise SeqevalError(f"{command.algorithm}: {len(broken)} of {len(results)} checks failed: {', '.join(broken)}.")


@perform.register
def _bench(command: cli.Bench) -> None:
    from seqeval_rl.benchmarks import bench
    from seqeval_rl.precision import matrix_products
    from seqeval_rl.registry import find_algorithm, registered
    from seqeval_rl.sweep import choose_device

    names = _words(command.algorithms)
    if names == []:
        raise UsageError("--algorithms: expected at least one name, found none.")
    if command.estimate is not None:
        _estimate(command)
        return
    if command.mini:
        raise UsageError("bench --mini: expected --estimate SUITE beside it, found none. Name a suite or leave it out.")
    device = choose_device(command.device)
    sizes = _numbers(command.runs, "--runs") or list(bench.default_runs(device))
    for option, least, found in (
        ("runs", 1, min(sizes)),
        ("repeats", 1, command.repeats),
        ("threads", 0, command.threads),
    ):
        if found < least:
            raise UsageError(f"bench --{option}: expected whole numbers from {least}, found {found}. Correct it.")
    entries = [find_algorithm(name) for name in names or sorted(registered())]
    with matrix_products(command.precision):
        report = bench.bench(entries, sizes, device, command.threads, command.repeats)
    print(bench.as_table(report))
    if command.json:
        bench.save(report, command.json)
        print(f"saved: {command.json}")


def _estimate(command: cli.Bench) -> None:
    """How long a suite will take here."""
    from seqeval_rl.benchmarks import bench, forecast
    from seqeval_rl.benchmarks.suite import build_sweep
    from seqeval_rl.estimate import estimate
    from seqeval_rl.precision import matrix_products
    from seqeval_rl.sweep import choose_device

    for item in dataclasses.fields(command):
        if item.name in ("runs", "threads", "repeats") and getattr(command, item.name) != item.default:
            raise UsageError(
                f"bench --{item.name}: expected no such option beside --estimate, found {getattr(command, item.name)}. "
                "The suite and the scheduler decide it; leave it out."
            )
    assert command.estimate is not None
    device = choose_device(command.device)
    sweep = build_sweep(command.estimate, command.mini, _words(command.algorithms))
    with matrix_products(command.precision):
        report = forecast.as_report(estimate(sweep, device), sweep, device)
    print(forecast.as_table(report))
    if command.json:
        bench.save(report, command.json)
        print(f"saved: {command.json}")
