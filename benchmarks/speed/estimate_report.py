"""`seqeval bench --estimate`: an estimate as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import torch

from seqeval_rl.benchmarks.speed.estimate import Estimate
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.results.manifest import describe_provenance


def as_report(found: Estimate, sweep: Sweep, device: torch.device) -> dict[str, Any]:
    """All figures, for a JSON file."""
    rows = [
        {
            **asdict(forecast),
            "env_steps_per_second": forecast.env_steps_per_second,
            "hours": forecast.hours,
        }
        for forecast in found.forecasts
    ]
    return {
        "what": "estimate of the wall time of a sweep of which nothing has been run",
        "suite": sweep.name,
        "protocol": sweep.protocol.model_dump(),
        "groups": list(found.groups),
        "workers": found.workers,
        "threads": found.threads,
        "seconds": found.seconds,
        **describe_provenance(str(device)),
        "rows": rows,
    }


def duration(seconds: float) -> str:
    """In words: `40 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for unit, size, digits in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _groups(sizes: list[int]) -> str:
    """In words: `36 jobs of one run`, or `run groups: 2 of 20, 1 of 4`."""
    if max(sizes) == 1:
        return f"{len(sizes)} jobs of one run"
    counts = sorted(Counter(sizes).items(), reverse=True)
    return "run groups: " + ", ".join(f"{count} of {size}" for size, count in counts)


def as_table(report: dict[str, Any]) -> str:
    """The report as text: algorithm by stream, the total, and what the estimate assumes."""
    rows = report["rows"]
    width = max(len("stream"), *(len(row["stream"]) for row in rows))
    name = max(len("algorithm"), *(len(row["algorithm"]) for row in rows))
    worker = "one core" if report["device"] == "cpu" else report["device"]
    lines = [
        f"{report['suite']} on {report['device']}, {report['processor']}; {_groups(report['groups'])}, {report['workers']} jobs "
        f"at once, {report['threads']} threads each",
        "",
        f"{'stream':<{width}} {'algorithm':<{name}} {'runs':>4} {'updates/run':>12} {'s/update':>9} {'evaluations/run':>16} "
        f"{'env steps/s':>12} {'hours of ' + worker:>18}",
    ]
    for row in rows:
        lines.append(
            f"{row['stream']:<{width}} {row['algorithm']:<{name}} {row['runs']:>4} {row['updates']:>12,} "
            f"{row['cost']['seconds_per_update']:>9.2g} {row['evaluations']:>16,} {row['env_steps_per_second']:>12,.0f} "
            f"{row['hours']:>18.3g}"
        )
    training, evaluation = (sum(row["seconds"][part] for row in rows) for part in ("training", "evaluation"))
    limits = sorted({row["time_limit"] for row in rows if row["time_limit"] is not None})
    allowed = f"{', '.join(map(str, limits))} steps" if limits else "none is known"
    lines += [
        "",
        f"total: at most about {duration(report['seconds'])}; {duration(training)} of work are updates and at most "
        f"{duration(evaluation)} evaluations.",
        "Assumed: updates take as long as those measured just now on synthetic data, one job at a time, with whatever else",
        f"runs here; every evaluation episode lasts as long as the time limit allows ({allowed}), which is too long for",
        "agents that fall early; jobs do not slow each other down.",
        "Not included: building datasets, starting processes. Runs that are finished already are counted again.",
    ]
    endless = sorted({row["stream"] for row in rows if row["time_limit"] is None})
    if endless:
        lines.append(f"No time limit is known for {', '.join(endless)}: their evaluations are not included either.")
    return "\n".join(lines)
