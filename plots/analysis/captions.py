"""What a figure says about itself: the statistic, how many seeds, and which runs failed or have not finished."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from seqeval_rl.plots.analysis.curves import AXES, Segment
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.naming import display_name, legend_order
from seqeval_rl.plots.analysis.published import CITATION, PublishedCurve
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.results.read import RunResult, damage


def caption(
    panels: list[Panel],
    drawn: list[list[tuple[Group, list[Segment]]]],
    metric: str,
    statistic: Statistic,
    behind: list[dict[str, PublishedCurve]] | None = None,
    seeds_shown: bool = False,
    x: str = "transitions",
) -> str:
    """What the figure shows and what it leaves out, in sentences; `behind`: the published curves of each panel, if asked for."""
    parts = [part for panel in drawn for _, group_parts in panel for part in group_parts]
    groups = [group for panel in panels for group in panel.groups]
    sentences = [_statistic_sentence([part.runs for part in parts], statistic)]
    if seeds_shown:
        sentences.append("Hairlines: single seeds.")
    blocks = any(len(panel.blocks) > 1 for panel in panels)
    switch = any(panel.transitions and panel.online for panel in panels)
    if AXES[x].of_data and (blocks or switch):
        found = ["block boundaries"] * blocks + ["the switch from the log to online interaction"] * switch
        sentences.append(f"Vertical line{'s' if blocks or len(panels) > 1 else ''}: {' and '.join(found)}.")
    if any(group.static for group in groups):
        sentences.append(
            "Static: saw the whole log from the start"
            + ("; drawn where the sequential run had taken as many gradient steps." if AXES[x].of_data else ".")
        )
    if behind is not None:
        sentences.append(_published_sentence(panels, behind))
    empty = [panel.title for panel, of in zip(panels, drawn, strict=True) if not any(parts for _, parts in of)]
    if empty:
        sentences.append(f"No {metric} in the runs on {', '.join(empty)}.")
    if any(not part.whole for part in parts):
        sentences.append("Faded: where not every run has got that far, or none has finished.")
    for status, words in (("failed", "Failed"), ("unfinished", "Unfinished")):
        counts = _counts(groups, status)
        if counts:
            sentences.append(f"{words} runs: {counts}.")
    lost = sum(not np.isfinite(value) for group in groups for run in group.runs for value in run.curve(metric)[1])
    if lost:
        sentences.append(f"Left out: {lost} evaluations whose {metric} is not a finite number.")
    return " ".join(sentences)


def damage_sentence(results: Sequence[RunResult]) -> str:
    """How much of the results could not be read; empty where all could."""
    runs, lines = map(len, damage(results))
    found = [
        f"{number} damaged {what}{'s' if number > 1 else ''}"
        for number, what in ((runs, "run"), (lines, "line"))
        if number
    ]
    return f"Left out: {' and '.join(found)}." if found else ""


_NAMED = 6  # of a list in a caption that are named; the others are counted


def table_notes(results: Sequence[RunResult], groups: Sequence[tuple[str, Group]]) -> str:
    """What a table's caption says at its end, after a blank: number of seeds, and what is left out.

    Args:
        results: all that were read.
        groups: those in the table, each with the title of its panel; one may come more than once.
    """
    seeds = {f"{group.label} on {title}": len(group.runs) for title, group in groups}
    most, fewest = max(seeds.values()), min(seeds.values())
    sentences = [f"Seeds per algorithm and dataset: {most}."]
    if most == 1:
        sentences = ["One seed per algorithm and dataset, so no interval."]
    elif fewest < most:
        fewer = listed([f"{name} ({count})" for name, count in seeds.items() if count < most])
        sentences = [f"Seeds per algorithm and dataset: {fewest} to {most}; fewer than {most}: {fewer}."]
        if fewest == 1:
            sentences.append("No interval where there is one seed.")
    sentences += lost_sentence([group for _, group in groups])
    return "".join(f" {sentence}" for sentence in (*sentences, damage_sentence(results)) if sentence)


def lost_sentence(groups: Sequence[Group]) -> list[str]:
    """How many evaluations of the groups' runs have a score that is not a finite number; empty where none has."""
    runs = {id(run): run for group in groups for run in group.runs}.values()
    lost = sum(not np.isfinite(value) for run in runs for value in run.curve()[1])
    return [f"Left out: {lost} evaluation{'s' if lost > 1 else ''} whose score is not a finite number."] if lost else []


def listed(texts: Sequence[str], separator: str = ", ") -> str:
    """The texts in a row, as long as a caption has room for them; how many others there are is said."""
    more = len(texts) - _NAMED
    return separator.join([*texts[:_NAMED], *([f"and {more} other{'s' if more > 1 else ''}"] if more > 0 else [])])


def _statistic_sentence(runs: list[int], statistic: Statistic) -> str:
    fewest, most = min(runs), max(runs)
    seeds = f"{fewest} seed{'s' if fewest > 1 else ''}" if fewest == most else f"{fewest} to {most} seeds"
    if most == 1:
        return "One seed per curve, so no interval."
    name = "Interquartile mean" if statistic == "iqm" and most >= 4 else "Mean"
    fallback = " (mean below 4)" if name != "Mean" and fewest < 4 else ""
    single = "; none where there is one seed" if fewest == 1 else ""
    return f"{name} over {seeds}{fallback}, shaded: 95 % bootstrap interval over seeds{single}."


def _published_sentence(panels: list[Panel], behind: list[dict[str, PublishedCurve]]) -> str:
    if not any(behind):
        return "None of these datasets has a published curve."
    sentence = f"Thin lines: means of the published runs ({CITATION}), results of others."
    shown = {group.algorithm for panel, curves in zip(panels, behind, strict=True) if curves for group in panel.groups}
    without = [display_name(name) for name in legend_order(shown - {name for curves in behind for name in curves})]
    without += [panel.title for panel, curves in zip(panels, behind, strict=True) if not curves]
    return sentence + (f" Not published: {', '.join(without)}." if without else "")


def _counts(groups: list[Group], status: str) -> str:
    """For example `CQL 1 of 3, IQL 2 of 6`, over all panels."""
    having: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for group in groups:
        having[group.label][0] += len(group.having(status))
        having[group.label][1] += len(group.runs)
    return ", ".join(f"{label} {some} of {every}" for label, (some, every) in having.items() if some)
