"""The logger of Weights & Biases: one of its runs for each run, and one for the sweep's figure and table.

Its own environment variables hold: `WANDB_MODE=offline` needs neither a network nor a login, `WANDB_PROJECT` and `WANDB_ENTITY`
say where. Its files are in `RESULTS/wandb`, unless `WANDB_DIR` says otherwise.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqeval_rl.errors import UsageError
from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun, SweepSummary
from seqeval_rl.results.loggers.tracked import group, installed, project, results_of, run_id, scalars, short_id, tags

_OFF = "offline", "disabled", "dryrun"  # modes that need no login
_LONGEST_TAG, _LONGEST_GROUP = 64, 128  # characters that W&B takes
_TIMEOUT = 30  # seconds for its server to answer at a run's start; after that training continues without it


class WandbLogger:
    """Every metric at its transitions, the returns of the episodes as histograms, the manifest as config."""

    def __init__(self) -> None:
        self._wandb = installed("wandb")
        self._runs: dict[Path, Any] = {}

    @classmethod
    def check(cls) -> None:
        """Raise `UsageError` where W&B is not installed, or would ask for a login."""
        wandb = installed("wandb")
        settings = wandb.setup(wandb.Settings(silent=True)).settings
        if settings.mode not in _OFF and not wandb.login(prompt=False, verify=False):
            raise UsageError(
                "--logger wandb: expected a login to Weights & Biases, found none. Run wandb login, set WANDB_API_KEY, "
                "set WANDB_MODE=offline to write files only, or leave this logger out."
            )

    def log(self, run: LoggedRun, point: LoggedPoint, metrics: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        if run.directory not in self._runs:
            self._runs[run.directory] = self._start(
                results_of(run), id=run_id(run), name=run.name, group=group(run)[-_LONGEST_GROUP:],
                tags=[tag[:_LONGEST_TAG] for tag in tags(run)], config=dict(run.manifest),
            )  # fmt: skip
        logged: dict[str, Any] = {"transitions": point.transitions, **scalars(point, metrics)}
        if point.returns:
            logged["returns"] = self._wandb.Histogram(point.returns)
        # W&B leaves out what a resumed run logs a second time: its steps only increase.
        self._runs[run.directory].log(logged, step=point.transitions)

    def _start(self, results: Path, **settings: Any) -> Any:
        own = self._wandb.Settings(console="off", silent=True, init_timeout=_TIMEOUT)
        run = self._wandb.init(
            project=project("WANDB_PROJECT"), dir=os.environ.get("WANDB_DIR") or str(results), resume="allow",
            reinit="create_new", settings=own, **settings,
        )  # fmt: skip
        run.define_metric("transitions")
        run.define_metric("*", step_metric="transitions")
        return run

    def summarize(self, summary: SweepSummary) -> None:
        """See `SweepSummary`."""
        results = summary.results.resolve()
        run = self._start(results, id=short_id(os.fsencode(results)), name=results.name, group="summary")
        logged = {figure.stem: self._wandb.Image(str(figure)) for figure in summary.figures}
        if summary.markdown:
            logged["table"] = self._wandb.Html(f"<pre>{html.escape(summary.markdown)}</pre>", inject=False)
        run.log(logged)
        run.finish()

    def close(self) -> None:
        """See `Logger.close`."""
        for run in self._runs.values():
            run.finish()
        self._runs.clear()
