"""Results in long format, one row per run, evaluation and metric, as a CSV or Parquet file for other tools."""

from __future__ import annotations

import csv
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import UsageError, writing
from seqeval_rl.results.read import COUNTS, PREQUENTIAL, RunResult, differences
from seqeval_rl.utils.files import atomic_path
from seqeval_rl.utils.text import csv_text, show

if TYPE_CHECKING:
    import pyarrow

_ROW_GROUP = 100_000  # rows of a Parquet file that are written together

TOTAL = "prequential_total/"  # before the names of prequential scores that are summed up to the evaluation
LONG_COLUMNS = (
    "run", "dataset", "algorithm", "seed", "phase", "block",
    "transitions", "gradient_steps", "env_steps", "metric", "value",
    "settings", "static", "uses_future_data",
)  # fmt: skip


def varied_settings(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Of each run the settings in which runs of its algorithm on one dataset differ, by name: `alpha`, `protocol.increment`."""
    settings = [
        run.config | {f"protocol.{name}": value for name, value in run.protocol.items()} | {"fork": run.fork}
        for run in results
    ]
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


def long_tables(results: Iterable[RunResult]) -> Iterator[pyarrow.Table]:
    """For each run one row per evaluation and metric, with the columns `LONG_COLUMNS`.

    Algorithms are named by `algorithm_names`, so that grouping by that column does not average variants of a sweep.
    `settings` are the same settings as a JSON object, `static` marks the static control, and `uses_future_data` runs that used
    data before they were visible. Prequential scores have two rows: as recorded, and summed up to the evaluation as
    `prequential_total/NAME`.
    """
    runs = list(results)
    for result, algorithm, settings in zip(runs, algorithm_names(runs), varied_settings(runs), strict=True):
        yield _long_table(result, algorithm, settings_text(settings))


def _long_table(result: RunResult, algorithm: str, settings: str) -> pyarrow.Table:
    import pyarrow

    evaluations = result.evaluations
    totals = [name for name in (*COUNTS, *result.prequential_scores()) if PREQUENTIAL + name in evaluations.metrics]
    names = [*evaluations.metrics, *(TOTAL + name for name in totals)]
    columns = [*map(evaluations.metric, evaluations.metrics), *(result.cumulated(name)[0] for name in totals)]
    values = np.stack(columns, axis=1) if columns else np.zeros((len(evaluations), 0))
    recorded = [evaluations.recorded(name) for name in (*evaluations.metrics, *(PREQUENTIAL + name for name in totals))]
    places, metrics = np.nonzero(
        np.stack(recorded, axis=1) if recorded else values
    )  # rows by evaluation, then by metric

    def repeated(value: Any) -> Any:
        return pyarrow.repeat(pyarrow.scalar(value), len(places))

    def of_evaluations(name: str) -> Any:
        return pyarrow.array(evaluations.counter(name) if len(evaluations) else [], pyarrow.int64()).take(places)

    def labels(name: str) -> Any:
        return pyarrow.array(evaluations.labels(name) if len(evaluations) else [], pyarrow.string()).take(places)

    by_column = {
        **{"run": repeated(result.run), "dataset": repeated(result.dataset), "algorithm": repeated(algorithm)},
        **{"seed": repeated(result.seed), "phase": labels("phase"), "block": labels("block")},
        **{name: of_evaluations(name) for name in ("transitions", "gradient_steps", "env_steps")},
        **{
            "metric": pyarrow.array(names, pyarrow.string()).take(metrics),
            "value": pyarrow.array(values[places, metrics]),
        },
        **{"settings": repeated(settings), "static": repeated(result.static)},
        "uses_future_data": repeated(bool(result.manifest.get("uses_future_data", False))),
    }
    return pyarrow.table({name: by_column[name] for name in LONG_COLUMNS})


def long_rows(results: Iterable[RunResult]) -> Iterator[tuple[Any, ...]]:
    """The rows of `long_tables`."""
    for table in long_tables(results):
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


def export(results: Iterable[RunResult], target: Path) -> int:
    """Write the long format to a `.csv` or `.parquet` file, atomically; returns the number of rows.

    Raises:
        UsageError: another ending.
        FileError: the file cannot be written.
    """
    if target.suffix not in (".csv", ".parquet"):
        raise UsageError(
            f"{target}: expected a file that ends in .csv or .parquet, found {target.suffix or 'no ending'!r}."
        )
    write = _write_csv if target.suffix == ".csv" else _write_parquet
    with writing(target, "Choose another place."), atomic_path(target) as temporary:
        return write(long_tables(results), temporary)


def _write_csv(tables: Iterable[pyarrow.Table], path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(LONG_COLUMNS)
        for table in tables:
            columns = [
                [csv_text(text) for text in column.to_pylist()] if column.type == "string" else column.to_pylist()
                for column in table.columns
            ]
            writer.writerows(zip(*columns, strict=True))
            rows += len(table)
    return rows


def _write_parquet(tables: Iterable[pyarrow.Table], path: Path) -> int:
    """Runs of `_ROW_GROUP` rows together, so that memory does not grow with their number, nor the file with each run."""
    import pyarrow.parquet

    iterator = iter(tables)
    waiting = [next(iterator)]
    rows = 0
    with pyarrow.parquet.ParquetWriter(path, waiting[0].schema, compression="zstd") as writer:
        for table in itertools.chain(iterator, (None,)):
            if table is None or sum(map(len, waiting)) >= _ROW_GROUP:
                writer.write_table(pyarrow.concat_tables(waiting))
                rows += sum(map(len, waiting))
                waiting = []
            if table is not None:
                waiting.append(table)
    return rows
