"""Reading what runs have left: manifest, metrics and events. Needs neither torch nor environments."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqeval_rl.errors import DataError, FileError, UsageError

MANIFEST, METRICS, EVENTS = "manifest.json", "metrics.jsonl", "events.jsonl"
LONG_COLUMNS = (
    "run", "dataset", "algorithm", "seed", "phase", "block",
    "transitions", "gradient_steps", "env_steps", "metric", "value",
)  # fmt: skip
_log = logging.getLogger("seqeval_rl")


@dataclass(frozen=True)
class RunResult:
    """One run as its files tell it."""

    run: str  # directory relative to the results
    path: Path
    manifest: dict[str, Any]
    status: Literal["finished", "failed", "unfinished"]
    failure: str | None  # why it failed
    evaluations: list[dict[str, Any]]  # one per evaluation, in order; see `recording`

    @property
    def dataset(self) -> str:
        """Name of the stream."""
        return str(self.manifest["dataset"]["name"])

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return str(self.manifest["algorithm"]["name"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.manifest["seed"])

    def curve(self, metric: str = "score") -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Transitions [P] and the metric [P] at the evaluations that have it."""
        points = [(e["transitions"], e["metrics"][metric]) for e in self.evaluations if metric in e["metrics"]]
        return np.array([t for t, _ in points], np.int64), np.array([v for _, v in points], np.float64)


def read_results(path: str | Path) -> list[RunResult]:
    """Every run under `path`, sorted by directory; a damaged one is named in the log and left out.

    Raises:
        DataError: there is no run.
    """
    root = Path(path)
    results = []
    for manifest in sorted(root.rglob(MANIFEST)):
        try:
            results.append(_read_run(root, manifest.parent))
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s: left out, not a readable run (%s: %s)", manifest.parent, type(error).__name__, error)
    if not results:
        found = "no such directory" if not root.is_dir() else f"no {MANIFEST} that can be read"
        raise DataError(f"{root}: expected results of `seqeval run`, found {found}. Check the path.")
    return results


def _read_run(root: Path, directory: Path) -> RunResult:
    manifest = json.loads((directory / MANIFEST).read_text())
    evaluations = read_lines(directory / METRICS)
    failure = None
    finished = len(evaluations) >= manifest["evaluations_expected"]
    for event in read_lines(directory / EVENTS):
        if event["event"] == "failed":
            failure = event["message"]
    name = directory.relative_to(root).as_posix()
    result = RunResult(
        directory.name if name == "." else name,
        directory,
        manifest,
        "failed" if failure else "finished" if finished else "unfinished",
        failure,
        evaluations,
    )
    _ = result.dataset, result.algorithm, result.seed  # a manifest without them is damaged
    return result


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file; a last line that was torn when the writer was killed does not count."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    whole = lines[:-1]  # text after the last newline is a torn line
    return [json.loads(line) for line in whole]


def long_rows(results: Iterable[RunResult]) -> Iterator[tuple[Any, ...]]:
    """One row per run, evaluation and metric, with the columns `LONG_COLUMNS`."""
    for result in results:
        for entry in result.evaluations:
            for metric, value in entry["metrics"].items():
                yield (
                    result.run, result.dataset, result.algorithm, result.seed, entry["phase"], entry["block"],
                    entry["transitions"], entry["gradient_steps"], entry["env_steps"], metric, value,
                )  # fmt: skip


def export(results: Iterable[RunResult], target: Path) -> int:
    """Write the long format to a `.csv` or `.parquet` file, whole or not at all; returns the number of rows.

    Raises:
        UsageError: another ending.
        FileError: the file cannot be written.
    """
    rows = list(long_rows(results))
    partial = target.with_name(target.name + ".partial")
    try:
        if target.suffix == ".csv":
            with partial.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(LONG_COLUMNS)
                writer.writerows(rows)
        elif target.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            columns = [[row[i] for row in rows] for i in range(len(LONG_COLUMNS))]
            table = pyarrow.table(dict(zip(LONG_COLUMNS, columns, strict=True)))
            pyarrow.parquet.write_table(table, partial)
        else:
            raise UsageError(
                f"{target}: expected a file that ends in .csv or .parquet, found {target.suffix or 'no ending'!r}."
            )
        partial.replace(target)
    except OSError as error:
        raise FileError(f"{target}: could not be written ({error.strerror or error}). Choose another place.") from error
    return len(rows)
