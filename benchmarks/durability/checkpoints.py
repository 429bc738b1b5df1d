"""Measures what checkpoints cost: the share of a run's time that goes into taking its state and writing it.

`python -m seqeval_rl.benchmarks.durability.checkpoints --out FILE.json`, with the protocol of the suite `medium` and its first
dataset. What is written is what `seqeval run` writes: hashed, synchronized to the disk, and renamed.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from seqeval_rl.api import evaluate
from seqeval_rl.experiments.launchers import local
from seqeval_rl.results import checkpoint
from seqeval_rl.training.trainer import Trainer
from seqeval_rl.utils.files import atomic_write
from seqeval_rl.utils.processes import available_cores


def measure(algorithm: str, dataset: str, protocol: dict[str, Any], directory: Path) -> dict[str, Any]:
    """One run in this process; seconds in all, in `Trainer.states` and in `checkpoint.save`, and a checkpoint's bytes."""
    spent = {"states": 0.0, "save": 0.0}
    count = 0

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal count
            started = time.perf_counter()
            result = function(*arguments)
            spent[name] += time.perf_counter() - started
            count += name == "save"
            return result

        return call

    started = time.perf_counter()
    with (
        mock.patch.object(Trainer, "states", timed("states", Trainer.states)),
        mock.patch.object(checkpoint, "save", timed("save", checkpoint.save)),
        mock.patch.object(local, "WORTH_A_PROCESS", math.inf),  # so that it trains here
    ):
        evaluate(algorithm, dataset, protocol=protocol, out=directory)
    seconds = time.perf_counter() - started
    written = [path.stat().st_size for path in directory.rglob("evaluation-*.pt")]
    return {
        "algorithm": algorithm, "dataset": dataset, "protocol": protocol, "seconds": seconds, "checkpoints": count,
        "bytes": max(written), "states_seconds": spent["states"], "save_seconds": spent["save"],
        "share": (spent["states"] + spent["save"]) / seconds,
    }  # fmt: skip


def main() -> None:
    """The command; ends with 1 where a checkpoint costs more than a hundredth of the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a .json file")
    parser.add_argument("--transitions", type=int, default=40_000, help="of the dataset of 200 000")
    chosen = parser.parse_args()
    dataset = f"bundled/hopper/medium:{chosen.transitions}"
    rows = []
    for algorithm in ("bc", "td3_bc"):
        with tempfile.TemporaryDirectory(prefix="seqeval-checkpoints-") as directory:
            rows.append(measure(algorithm, dataset, {"evaluate_every": 10_000}, Path(directory)))
        print(
            "{algorithm}: {seconds:.0f} s, {checkpoints} checkpoints of {bytes} bytes, share {share:.4f}".format(
                **rows[-1]
            )
        )
    about = {"cores": available_cores(), "python": platform.python_version()}
    atomic_write(chosen.out, json.dumps({**about, "rows": rows}, indent=1) + "\n")
    raise SystemExit(any(row["share"] > 0.01 for row in rows))


if __name__ == "__main__":
    main()
