"""The reference results: the project's own runs, kept as evaluations in long format with a manifest next to them.

`seqeval export RESULTS FILE.parquet --manifest` writes such a pair of files; those in `seqeval_rl/reference/` come with the
package.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from seqeval_rl.errors import DataError, writing
from seqeval_rl.results.evaluations import Evaluations
from seqeval_rl.results.export import TOTAL
from seqeval_rl.results.legacy import modern_manifest
from seqeval_rl.results.read import Results, RunResult, hashable
from seqeval_rl.utils.files import atomic_write

FOLDER = files("seqeval_rl") / "reference"
_COUNTERS = ("phase", "block", "transitions", "gradient_steps", "env_steps")  # columns, in which evaluations differ


def write_manifest(results: Iterable[RunResult], target: Path) -> Path:
    """Write what the manifests of exported runs say, as JSON beside the exported file `target`; returns its path.

    Runs that differ in nothing but their seed share an entry: settings, versions and hardware, and the replay ratio (gradient
    steps per transition).

    Raises:
        FileError: the file cannot be written.
    """
    entries: dict[Hashable, dict[str, Any]] = {}
    for run in results:
        manifest = {name: value for name, value in run.manifest.items() if name != "seed"}
        entry = entries.setdefault(hashable(manifest), {"runs": [], **_replay_ratio(run), "manifest": manifest})
        ended = {"status": run.status, **({"failure": run.failure} if run.failure else {})}
        entry["runs"].append({"run": run.run, "seed": run.seed, **ended})
    path = target.with_suffix(".json")
    with writing(path, "Choose another place."):
        atomic_write(path, json.dumps(list(entries.values()), indent=1, ensure_ascii=False) + "\n")
    return path


def _replay_ratio(run: RunResult) -> dict[str, float]:
    protocol = run.protocol
    known = "updates_per_increment" in protocol and "increment" in protocol
    return {"replay_ratio": protocol["updates_per_increment"] / protocol["increment"]} if known else {}


def read_exported(path: Path) -> list[RunResult]:
    """The runs of an exported Parquet file that has its manifest next to it, without returns of single episodes.

    Raises:
        DataError: one of the two files is missing or damaged, or they are not of the same runs.
    """
    import pyarrow
    import pyarrow.parquet

    manifest = path.with_suffix(".json")
    try:
        entries = json.loads(manifest.read_bytes())
        evaluations = _evaluations(pyarrow.parquet.read_table(path))
        runs = [
            RunResult(
                run["run"], Path(run["run"]), modern_manifest(entry["manifest"] | {"seed": run["seed"]}), run["status"],
                run.get("failure"), Evaluations(evaluations.pop(run["run"])),
            )
            for entry in entries
            for run in entry["runs"]
        ]  # fmt: skip
        if evaluations:
            raise ValueError(f"no entry of the run {next(iter(evaluations))}")
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{path} and {manifest.name}: expected evaluations and manifest of the same runs, found {type(error).__name__}: "
            f"{error}. Write both again: seqeval export RESULTS {path.name} --manifest."
        ) from error
    return runs


def _evaluations(table: Any) -> dict[str, list[dict[str, Any]]]:
    """By run, its evaluations as lines of `metrics.jsonl` have them."""
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for row in table.to_pylist():
        place = tuple(row[name] for name in _COUNTERS)
        of_run = found.setdefault(row["run"], {})
        entry = of_run.setdefault(place, {**dict(zip(_COUNTERS, place, strict=True)), "metrics": {}})
        if not row["metric"].startswith(TOTAL):  # sums, which are computed from the others
            entry["metrics"][row["metric"]] = row["value"]
    return {run: list(entries.values()) for run, entries in found.items()}


def read_reference() -> Results:
    """The reference results that are part of the package.

    Raises:
        DataError: a file is missing or damaged.
    """
    paths = sorted(Path(str(item)) for item in FOLDER.iterdir() if item.name.endswith(".parquet"))
    return Results(run for path in paths for run in read_exported(path))
