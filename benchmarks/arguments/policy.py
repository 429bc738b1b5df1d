"""The arguments of `seqeval policy` and `seqeval evaluate`; the comment of a field is its help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg


@dataclass(frozen=True)
class PolicyOf:
    """Print what a run's policy is; write a video of it, or export it for use without this package."""

    run: Annotated[
        Positional[Path], arg(metavar="RUN")
    ]  # directory of one run, for example results/x/hopper/iql/seed-0
    video: Annotated[Path | None, arg(metavar="FILE.mp4|FILE.gif")] = None  # write a video of its episodes
    episodes: int = 3  # of the video
    # write a file that gives the same actions, normalization included, and check it
    export: Literal["torchscript", "onnx"] | None = None
    out: Annotated[Path | None, arg(metavar="FILE")] = None  # with --export: the file; default RUN/policy.pt or .onnx
    # its algorithm, if it is not registered
    algorithm: Annotated[str | None, arg(metavar="MODULE:CLASS")] = None
    # code that the run may name to open its environment; may be given again
    trust_environment: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a finished run once more, in more episodes; recorded next to metrics.jsonl, in second_evaluations.jsonl."""

    run: Annotated[
        Positional[Path], arg(metavar="RUN")
    ]  # directory of one run, for example results/x/hopper/iql/seed-0
    episodes: int = 100  # to evaluate in
    # its algorithm, if it is not registered
    algorithm: Annotated[str | None, arg(metavar="MODULE:CLASS")] = None
    # code that the run may name to open its environment; may be given again
    trust_environment: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()
