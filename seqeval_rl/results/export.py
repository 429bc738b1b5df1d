"""Results in long format, one row per run, evaluation and metric, as a CSV or Parquet file for other tools."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqeval_rl.errors import UsageError, writing
from seqeval_rl.results.read import COUNTS, RunResult, cumulated, differences
from seqeval_rl.utils.files import atomic_path
from seqeval_rl.utils.text import show

if TYPE_CHECKING:
    import pyarrow

LONG_COLUMNS = (
    "run", "dataset", "algorithm", "seed", "phase", "block",
    "transitions", "gradient_steps", "env_steps", "metric", "value",
)  # fmt: skip


def algorithm_names(results: Sequence[RunResult]) -> list[str]:
    """Each run's algorithm, with the settings in which runs of it on one dataset differ: `td3_bc (alpha=2.5)`,
    `td3_bc (protocol.increment=10)`."""
    settings = [run.config | {f"protocol.{name}": value for name, value in run.protocol.items()} for run in results]
    siblings = defaultdict(list)
    for result, own in zip(results, settings, strict=True):
        siblings[result.algorithm, result.dataset].append(own)
    varying: dict[str, set[str]] = defaultdict(set)
    for (algorithm, _), configs in siblings.items():
        varying[algorithm] |= set(differences(configs))
    names = []
    for result, own in zip(results, settings, strict=True):
        shown = ", ".join(f"{name}={show(own.get(name))}" for name in sorted(varying[result.algorithm]))
        names.append(f"{result.algorithm} ({shown})" if shown else result.algorithm)
    return names


def long_rows(results: Iterable[RunResult]) -> Iterator[tuple[Any, ...]]:
    """One row per run, evaluation and metric, with the columns `LONG_COLUMNS`.

    Algorithms are named by `algorithm_names`, so that grouping by that column does not average variants of a sweep.
    Prequential scores have two rows: as recorded, and summed up to the evaluation as `prequential_total/NAME`.
    """
    runs = list(results)
    for result, algorithm in zip(runs, algorithm_names(runs), strict=True):
        totals: dict[int, dict[str, float]] = defaultdict(dict)
        for name in (*COUNTS, *result.prequential_scores()):
            for entry, total, _ in cumulated(result.evaluations, name):
                totals[id(entry)]["prequential_total/" + name] = total
        for entry in result.evaluations:
            for metric, value in (entry["metrics"] | totals[id(entry)]).items():
                yield (
                    result.run, result.dataset, algorithm, result.seed, entry["phase"], entry["block"],
                    entry["transitions"], entry["gradient_steps"], entry["env_steps"], metric, value,
                )  # fmt: skip


def as_arrow(rows: Sequence[tuple[Any, ...]]) -> pyarrow.Table:
    """Rows of the long format as a table."""
    import pyarrow

    columns = [[row[i] for row in rows] for i in range(len(LONG_COLUMNS))]
    return pyarrow.table(dict(zip(LONG_COLUMNS, columns, strict=True)))


def export(results: Iterable[RunResult], target: Path) -> int:
    """Write the long format to a `.csv` or `.parquet` file, atomically; returns the number of rows.

    Raises:
        UsageError: another ending.
        FileError: the file cannot be written.
    """
    rows = list(long_rows(results))
    if target.suffix not in (".csv", ".parquet"):
        raise UsageError(
            f"{target}: expected a file that ends in .csv or .parquet, found {target.suffix or 'no ending'!r}."
        )
    with writing(target, "Choose another place."), atomic_path(target) as temporary:
        if target.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(LONG_COLUMNS)
                writer.writerows(rows)
        else:
            import pyarrow.parquet

            pyarrow.parquet.write_table(as_arrow(rows), temporary)
    return len(rows)
