"""The logger of Trackio: one of its runs for each run, and one for the sweep's figure and table.

Its own environment variables hold: `TRACKIO_DIR` and `TRACKIO_PROJECT` say where, `TRACKIO_SPACE_ID` sends to a Space of the
Hugging Face Hub.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun, SweepSummary
from seqeval_rl.results.loggers.tracked import group, installed, project, run_id, scalars, short_id


class TrackioLogger:
    """Every metric at its transitions, the returns of the episodes as histograms, the manifest as config."""

    def __init__(self) -> None:
        self._trackio = installed("trackio")
        self._runs: dict[Path, Any] = {}

    @classmethod
    def check(cls) -> None:
        """Raise `UsageError` where Trackio is not installed."""
        installed("trackio")

    def log(self, run: LoggedRun, point: LoggedPoint, metrics: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        if run.directory not in self._runs:
            # Trackio knows runs by their names: two results directories may hold runs of one name.
            name = f"{run.name} {run_id(run)}"
            self._runs[run.directory] = self._start(name=name, group=group(run), config=dict(run.manifest))
        logged: dict[str, Any] = scalars(point, metrics)
        if point.returns:
            logged["returns"] = self._trackio.Histogram(point.returns)
        self._runs[run.directory].log(logged, step=point.transitions)

    def _start(self, **settings: Any) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):  # how to open its dashboard, for each run
            return self._trackio.init(
                project("TRACKIO_PROJECT"), resume="allow", embed=False, auto_log_cpu=False, auto_log_gpu=False,
                **settings,
            )  # fmt: skip

    def summarize(self, summary: SweepSummary) -> None:
        """See `SweepSummary`."""
        results = summary.results.resolve()
        run = self._start(name=f"{results.name} {short_id(os.fsencode(results))}", group="summary")
        logged = {figure.stem: self._trackio.Image(str(figure)) for figure in summary.figures}
        if summary.markdown:
            logged["table"] = self._trackio.Markdown(summary.markdown)
        run.log(logged)
        self._runs[summary.results] = run
        self.close()

    def close(self) -> None:
        """See `Logger.close`."""
        with contextlib.redirect_stdout(io.StringIO()):
            for run in self._runs.values():
                run.finish()
            if self._runs:
                self._trackio.finish()  # the last one is its current run, which it would finish again, in words, at the exit
        self._runs.clear()
