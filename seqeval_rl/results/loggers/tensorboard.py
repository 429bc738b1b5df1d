"""The logger of TensorBoard: an event file in each run's directory, and one of the sweep's figure and table.

`tensorboard --logdir RESULTS` shows the runs under their names, `hopper-medium-v2/td3_bc/seed-0`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.results.loggers.logger import LoggedPoint, LoggedRun, SweepSummary
from seqeval_rl.results.loggers.tracked import flat, installed, scalars

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_SETTINGS = "algorithm", "protocol", "seed", "precision"  # of the manifest, in the table of hyperparameters
_EVENT_FILES = "events.out.tfevents.*"


class TensorBoardLogger:
    """Every metric at its transitions, the returns of the episodes as histograms, settings as hyperparameters and text."""

    def __init__(self) -> None:
        self.check()
        self._writers: dict[Path, SummaryWriter] = {}

    @classmethod
    def check(cls) -> None:
        """Raise `UsageError` where TensorBoard is not installed."""
        installed("tensorboard")

    def log(self, run: LoggedRun, point: LoggedPoint, metrics: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        if run.directory not in self._writers:
            self._writers[run.directory] = self._open(run, point)
        writer = self._writers[run.directory]
        for name, value in scalars(point, metrics).items():
            writer.add_scalar(name, value, point.transitions)
        if point.returns:
            writer.add_histogram("returns", np.array(point.returns), point.transitions)
        writer.flush()

    def _open(self, run: LoggedRun, point: LoggedPoint) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        if not point.index:  # begun again
            for file in run.directory.glob(_EVENT_FILES):
                file.unlink()
        # Of earlier attempts, readers drop what is logged again.
        writer: Any = SummaryWriter(str(run.directory), purge_step=point.transitions)
        writer.add_text("manifest", f"```json\n{json.dumps(dict(run.manifest), indent=1)}\n```", point.transitions)
        settings = {"dataset": run.manifest["dataset"]["name"]}
        settings |= {name: run.manifest[name] for name in _SETTINGS if name in run.manifest}
        for part in hparams(flat(settings), {"score": 0.0}):
            writer.file_writer.add_summary(part, point.transitions)
        return writer

    def summarize(self, summary: SweepSummary) -> None:
        """See `SweepSummary`."""
        from torch.utils.tensorboard import SummaryWriter

        directory = summary.results / "summary"
        for file in directory.glob(_EVENT_FILES):
            file.unlink()
        with SummaryWriter(str(directory)) as writer:
            if summary.markdown:
                writer.add_text("table", summary.markdown)
            for figure in summary.figures:
                from PIL import Image

                with Image.open(figure) as picture:
                    writer.add_image(figure.stem, np.asarray(picture.convert("RGB")), dataformats="HWC")

    def close(self) -> None:
        """See `Logger.close`."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
