"""The Python API: `evaluate` does what `seqeval run` does, and returns results that draw, tabulate and convert themselves."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqeval_rl.errors import SeqevalError
from seqeval_rl.results import read, reference
from seqeval_rl.results.export import long_tables
from seqeval_rl.results.read import Results

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from matplotlib.figure import Figure

    from seqeval_rl.environments.tasks import Bound, Task
    from seqeval_rl.experiments.sweep import Sweep
    from seqeval_rl.plots.tables.table import Table
    from seqeval_rl.training.device import Precision


class EvaluationResults(Results):
    """Runs as their files hold them: a list of `RunResult`, with figures, tables and conversions."""

    def table(self, measures: str = "data", **options: Any) -> Table:
        """A table of these runs; prints as text, and has `.latex()`, `.markdown()` and `.csv()`.

        Args:
            measures: which table, as in `seqeval table --measures`: `data`, `reach`, `blocks`, `online`, `across`, …; where it
                has several, the first (`plots.tabulate` returns all).
            options: of that table.

        Raises:
            UsageError: no such table or option.
        """
        from seqeval_rl.plots import tabulate

        return tabulate(self, measures, **options)[0]

    def plot(self, kind: str = "curves", **options: Any) -> Figure:
        """A figure of these runs, as a matplotlib `Figure`.

        Args:
            kind: which figure, as in `seqeval plot --kind`: `curves`, `share`, `profile`, …
            options: of that figure.

        Raises:
            UsageError: no such figure or option.
        """
        from seqeval_rl.plots import draw

        return draw(self, kind, **options)

    def to_arrow(self) -> pyarrow.Table:
        """Long format: one row per run, evaluation and metric, with the columns of `seqeval export`."""
        import pyarrow

        return pyarrow.concat_tables(long_tables(self))

    def to_pandas(self) -> pandas.DataFrame:
        """`to_arrow` as a pandas `DataFrame`; pandas must be installed."""
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        """How notebooks show the results: the line of `repr`, and the table, where there is one."""
        try:
            table = self.table()._repr_html_()
        except SeqevalError as error:  # no scores, say
            table = f"<p>{escape(str(error))}</p>"
        return f"<p>{escape(repr(self))}</p>{table}"


def read_results(path: str | Path) -> EvaluationResults:
    """Every run under `path`, sorted by directory; damaged runs and lines are left out and logged as a warning.

    Raises:
        DataError: there is no run.
    """
    results = read.read_results(path)
    return EvaluationResults(results, results.damaged)


def read_reference() -> EvaluationResults:
    """The reference results that come with seqeval-rl: runs of its suites on bundled datasets.

    `results.plot(reference=True)` and `results.table(reference=True)` show those with the data and settings of `results`.
    """
    return EvaluationResults(reference.read_reference())


def evaluate(
    algorithms: str | type | Sequence[str | type],
    datasets: str | Sequence[str] | Mapping[str, str],
    *,
    seeds: int | Sequence[int] = 0,
    protocol: Mapping[str, Any] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    sweep: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    task: Task | str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    loggers: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
    reference_returns: tuple[float, float] | None = None,
    action_low: Bound = None,
    action_high: Bound = None,
    clip_actions: bool = False,
    trust_environments: Sequence[str] = (),
) -> EvaluationResults:
    """Sequential evaluation of every algorithm on every dataset with every seed.

    Trains in one process per core where there is enough to do, else (and where an algorithm is defined in a notebook) in this
    process. In a script, call it below `if __name__ == "__main__":`.

    Args:
        algorithms: registered names (`"td3_bc"`), `"module:Class"`, `"file.py:Class"`, or classes.
        datasets: sources as `load_dataset` takes them; several sources joined by `+` are concatenated to one stream. A mapping
            gives streams a name.
        seeds: one or several.
        protocol: settings of `Protocol` that differ from their defaults, for example `{"increment": 10}`.
        settings: by algorithm, settings that differ from their defaults, for example `{"td3_bc": {"alpha": 1.0}}`.
        sweep: by algorithm (or `"protocol"`), several values for a setting; every combination is run.
        task: of the datasets, in place of their own: a `Task`, the name of a known one, or an environment's id.
        out: results directory. Finished runs in it are not run again, interrupted ones are resumed. None: a temporary
            directory that is deleted with the results, or kept where a run stopped with an error.
        device: `"auto"`, `"cpu"`, `"cuda"` (every visible device), `"cuda:1"` or `"cuda:0,2"`.
        precision: of matrix products: `"float32"`, `"tf32"` or `"bfloat16"`.
        loggers: more than `metrics.jsonl`: registered names, `"module:Class"` or `"file.py:Class"`.
        overwrite: delete these runs in `out` and begin again.
        progress: show progress on standard error.
        reference_returns: of the datasets, see `load_dataset`.
        action_low: as well.
        action_high: as well.
        clip_actions: as well.
        trust_environments: as well.

    Returns:
        All runs under `out`. A run that diverged has the status `failed` and its reason.

    Raises:
        SeqevalError: wrong arguments, data or environments (before any training); at the end, a run that stopped with an error.
    """
    from seqeval_rl.data.stream import StreamSpec, given_reading
    from seqeval_rl.experiments.sweep import Sweep
    from seqeval_rl.interface.registry import find_algorithm
    from seqeval_rl.utils.files import split_at

    named = datasets if isinstance(datasets, Mapping) else {source: source for source in _listed(datasets)}
    reading = given_reading(
        task, reference_returns, action_low, action_high, clip_actions, "evaluate", trust_environments
    )
    planned = Sweep.build(
        protocol or {}, "evaluate", sweep or {}, name="evaluate",
        streams=tuple(StreamSpec(name, tuple(split_at(source, "+")), **reading) for name, source in named.items()),
        algorithms=tuple(find_algorithm(item, "evaluate") for item in _listed(algorithms)),
        seeds=(seeds,) if isinstance(seeds, int) else tuple(seeds), settings=settings or {},
        precision=precision, loggers=tuple(loggers),
    )  # fmt: skip
    return _run(planned, out, device, overwrite, progress)


def _run(planned: Sweep, out: str | Path | None, device: str, overwrite: bool, progress: bool) -> EvaluationResults:
    """Run a sweep and read its results; without `out` in a temporary directory, which is deleted with the results."""
    from seqeval_rl.experiments.scheduler import raise_crashed, run_sweep

    with contextlib.ExitStack() as undo:
        directory = Path(tempfile.mkdtemp(prefix="seqeval-") if out is None else out)
        if out is None:
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
        ends = run_sweep(planned, directory, device, overwrite=overwrite, progress=progress)
        if any(end.status == "crashed" for end in ends):
            undo.pop_all()  # the error names the directory, which has the traceback, and the results of the other runs
        raise_crashed(ends)
        results = read_results(directory)
        weakref.finalize(results, undo.pop_all().close)  # a temporary directory goes with its results
    return results


def _listed(value: Any) -> list[Any]:
    """Several values as a list, also where there is only one."""
    return [value] if isinstance(value, (str, type)) else list(value)
