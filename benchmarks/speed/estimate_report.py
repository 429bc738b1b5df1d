"""`seqeval bench --estimate`: a sweep's forecast for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import torch

from seqeval_rl.benchmarks.speed.estimate import Estimate
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.results.provenance import describe_provenance


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
        "what": "estimate of a sweep's wall time, nothing of it run before",
        "suite": sweep.name,
        "protocol": sweep.protocol.model_dump(),
        "stacks": list(found.stacks),
        "workers": found.workers,
        "threads": found.threads,
        "seconds": found.seconds,
        **describe_provenance(str(device)),
        "rows": rows,
    }


def duration(seconds: float) -> str:
    """For people: `40 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for unit, size, digits in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _stacks(sizes: list[int]) -> str:
    """For people: `36 jobs of one run`, or `stacks of runs: 2 of 20, 1 of 4`."""
    if max(sizes) == 1:
        return f"{len(sizes)} jobs of one run"
    counts = sorted(Counter(sizes).items(), reverse=True)
    return "stacks of runs: " + ", ".join(f"{count} of {size}" for size, count in counts)


def as_table(report: dict[str, Any]) -> str:
    """The report for people: algorithm by stream, the total, and what it rests on."""
    rows = report["rows"]
    width = max(len("stream"), *(len(row["stream"]) for row in rows))
    name = max(len("algorithm"), *(len(row["algorithm"]) for row in rows))
    worker = "one core" if report["device"] == "cpu" else report["device"]
    lines = [
        f"{report['suite']} on {report['device']}, {report['processor']}; {_stacks(report['stacks'])}, {report['workers']} jobs "
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
        "It rests on: updates through the engine on made data, measured just now, one job at a time, beside whatever else",
        f"runs here; evaluations whose episodes all last as long as the time limit allows ({allowed}), which is less for",
        "agents that fall early; jobs that do not slow each other down.",
        "Not in it: building logs that are not there yet, starting processes, and runs that are finished already.",
    ]
    endless = sorted({row["stream"] for row in rows if row["time_limit"] is None})
    if endless:
        lines.append(f"No time limit is known for {', '.join(endless)}: their evaluations are not in it either.")
    return "\n".join(lines)
