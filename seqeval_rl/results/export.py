"""Results in long format, one row per run, evaluation and metric, as a CSV or Parquet file for other tools."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    "settings", "static", "uses_future_data",
)  # fmt: skip


def varied_settings(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Of each run the settings in which runs of its algorithm on one dataset differ, by name: `alpha`, `protocol.increment`."""
    settings = [run.config | {f"protocol.{name}": value for name, value in run.protocol.items()} for run in results]
    siblings = defaultdict(list)
    for result, own in zip(results, settings, strict=True):
        siblings[result.algorithm, result.dataset].append(own)
    varying: dict[str, set[str]] = defaultdict(set)
    for (algorithm, _), configs in siblings.items():
        varying[algorithm] |= set(differences(configs))
    return [
        {name: own.get(name) for name in sorted(varying[result.algorithm])}
        for result, own in zip(results, settings, strict=True)
    ]


def algorithm_names(results: Sequence[RunResult]) -> list[str]:
    """Each run's algorithm, with its `varied_settings`: `td3_bc (alpha=2.5)`, `td3_bc (protocol.increment=10)`."""
    names = []
    for result, settings in zip(results, varied_settings(results), strict=True):
        shown = ", ".join(f"{name}={show(value)}" for name, value in settings.items())
        names.append(f"{result.algorithm} ({shown})" if shown else result.algorithm)
    return names


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as a JSON object on one line, for the column `settings`."""
    return json.dumps(settings, ensure_ascii=False)


def long_rows(results: Iterable[RunResult]) -> Iterator[tuple[Any, ...]]:
    """One row per run, evaluation and metric, with the columns `LONG_COLUMNS`.

    Algorithms are named by `algorithm_names`, so that grouping by that column does not average variants of a sweep.
    `settings` are the same settings as a JSON object, `static` marks the static control, and `uses_future_data` runs that used
    data before they were visible. Prequential scores have two rows: as recorded, and summed up to the evaluation as
    `prequential_total/NAME`.
    """
    runs = list(results)
    for result, algorithm, settings in zip(runs, algorithm_names(runs), varied_settings(runs), strict=True):
        made = settings_text(settings), result.static, bool(result.manifest.get("uses_future_data", False))
        totals: dict[int, dict[str, float]] = defaultdict(dict)
        for name in (*COUNTS, *result.prequential_scores()):
            for entry, total, _ in cumulated(result.evaluations, name):
                totals[id(entry)]["prequential_total/" + name] = total
        for entry in result.evaluations:
            for metric, value in (entry["metrics"] | totals[id(entry)]).items():
                yield (
                    result.run, result.dataset, algorithm, result.seed, entry["phase"], entry["block"],
                    entry["transitions"], entry["gradient_steps"], entry["env_steps"], metric, value, *made,
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
