"""Captions of figures and tables: the statistic, how many seeds, and which runs failed or have not finished."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from seqeval_rl.plots.analysis.curves import CurveSet
from seqeval_rl.plots.analysis.grouping import Group, Panel
from seqeval_rl.plots.analysis.naming import display_name, legend_order
from seqeval_rl.plots.analysis.published import CITATION
from seqeval_rl.plots.analysis.reference import reference_sentence
from seqeval_rl.plots.analysis.statistics import Statistic
from seqeval_rl.results.read import RunResult, damage


def curve_caption(results: Sequence[RunResult], curves: CurveSet) -> str:
    """What the figure shows and what is left out, in sentences."""
    spec, panels, of_data = curves.spec, curves.panels, curves.axis.of_data
    groups = [group for panel in panels for group in panel.groups]
    segments = [segment for panel in curves.segments for _, parts in panel for segment in parts]
    sentences = [spec.note, _statistic_sentence([segment.runs for segment in segments], spec.statistic)]
    if spec.seeds_shown:
        sentences.append("Hairlines: single seeds.")
    if of_data:
        sentences.append(_boundary_sentence(panels))
    if any(group.static for group in groups):
        where = "; drawn where the sequential run had taken as many gradient steps" if of_data else ""
        sentences.append(f"Static: saw the full dataset from the start{where}.")
    if any(group.interleaved for group in groups):
        sentences.append("Interleaved: the transitions of all blocks arrived mixed.")
    if spec.paper_curves:
        sentences.append(_published_sentence(curves))
    drawn = zip(panels, curves.segments, strict=True)
    if spec.reference:
        sentences.append(_reference_sentence(curves))
    empty = [panel.title for panel, of_panel in drawn if not any(parts for _, parts in of_panel)]
    if empty:
        sentences.append(f"No {spec.metric or 'score'} in the runs on {listed(empty)}.")
    if any(not segment.complete for segment in segments):
        sentences.append("Faded: not every run has got that far, or none has finished.")
    for status, words in (("failed", "Failed"), ("unfinished", "Unfinished")):
        counts = _counts(groups, status)
        if counts:
            sentences.append(f"{words} runs: {counts}.")
    without = [] if spec.metric else [panel.title for panel in panels if panel.metric == "return"]
    sentences += [lost_sentence(groups, spec.metric), returns_sentence(without)]
    sentences += [_axis_sentence(curves), damage_sentence(results)]
    return " ".join(sentence for sentence in sentences if sentence)


def _boundary_sentence(panels: Sequence[Panel]) -> str:
    """What the vertical lines are; empty where there are none."""
    blocks = any(len(panel.blocks) > 1 for panel in panels)
    switch = any(panel.transitions and panel.online for panel in panels)
    lines = ["block boundaries"] * blocks + ["the switch from the dataset to online interaction"] * switch
    several = "s" if blocks or len(panels) > 1 else ""
    return f"Vertical line{several}: {' and '.join(lines)}." if lines else ""


def _axis_sentence(curves: CurveSet) -> str:
    if curves.axis.of_data:
        online = any(panel.transitions and panel.online for panel in curves.panels)
        return "Past 100 %: the online phase." if curves.spec.x == "share" and online else ""
    sentences = []
    if curves.spec.x == "wall_time":
        sentences.append(
            "Wall time: of training and evaluation, added up over attempts; the runs of a run group share it."
        )
    if any(len(panel.spans) > 1 for panel in curves.panels):
        sentences.append("Boundaries are not drawn: each run reaches them at its own place.")
    return " ".join(sentences)


def damage_sentence(results: Sequence[RunResult]) -> str:
    """How many runs and lines could not be read; empty if none."""
    runs, lines = map(len, damage(results))
    each = [(number, what) for number, what in ((runs, "run"), (lines, "line")) if number]
    counts = [f"{number} damaged {what}{'s' if number > 1 else ''}" for number, what in each]
    return f"Left out: {' and '.join(counts)}." if counts else ""


# How scores at shares of the data are chosen, see `metrics.score_at_share`.
NEAREST = (
    "Shares of the data: the nearest evaluation, no farther than half the spacing of evaluations and an increment; 100 %: the "
    "last."
)
_NAMED = 6  # names in a list in a caption; the others are counted


def table_notes(results: Sequence[RunResult], groups: Sequence[tuple[str, Group]]) -> str:
    """The end of a table's caption, after a blank: number of seeds, and what is left out.

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
    without = [title for title, group in groups if group.metric == "return"]
    sentences += [lost_sentence([group for _, group in groups]), returns_sentence(without), damage_sentence(results)]
    return "".join(f" {sentence}" for sentence in sentences if sentence)


def returns_sentence(titles: Iterable[str]) -> str:
    """Which datasets have returns in place of scores; empty for none."""
    names = list(dict.fromkeys(titles))
    return f"Returns, not scores, since the task has no reference returns: {listed(names)}." if names else ""


def lost_sentence(groups: Sequence[Group], metric: str | None = None) -> str:
    """How many evaluations of the groups' runs have a value that is not a finite number; empty where none has."""
    runs = {id(run): run for group in groups for run in group.runs}.values()
    lost = sum(not np.isfinite(value) for run in runs for value in run.curve(metric)[1])
    return (
        f"Left out: {lost} evaluation{'s' if lost > 1 else ''} whose {metric or 'score'} is not a finite number."
        if lost
        else ""
    )


def listed(texts: Sequence[str], separator: str = ", ") -> str:
    """The first texts, separated, and how many others there are."""
    more = len(texts) - _NAMED
    others = [f"and {more} other{'s' if more > 1 else ''}"] if more > 0 else []
    return separator.join([*texts[:_NAMED], *others])


def _statistic_sentence(runs: list[int], statistic: Statistic) -> str:
    fewest, most = min(runs), max(runs)
    seeds = f"{fewest} seed{'s' if fewest > 1 else ''}" if fewest == most else f"{fewest} to {most} seeds"
    if most == 1:
        return "One seed per curve, so no interval."
    name = "Interquartile mean" if statistic == "iqm" and most >= 4 else "Mean"
    fallback = " (mean below 4)" if name != "Mean" and fewest < 4 else ""
    single = "; none where there is one seed" if fewest == 1 else ""
    return f"{name} over {seeds}{fallback}, shaded: 95 % bootstrap interval over seeds{single}."


def _published_sentence(curves: CurveSet) -> str:
    if not any(curves.published):
        return "None of these datasets has a published curve."
    sentence = f"Thin lines: means of the published runs ({CITATION}), results of others."
    pairs = list(zip(curves.panels, curves.published, strict=True))
    shown = {group.algorithm for panel, published in pairs if published for group in panel.groups}
    missing = legend_order(shown - {name for published in curves.published for name in published})
    without = [display_name(name) for name in missing] + [panel.title for panel, published in pairs if not published]
    return sentence + (f" Not published: {listed(without)}." if without else "")


def _reference_sentence(curves: CurveSet) -> str:
    groups = [group for panel in curves.reference for group, parts in panel if parts]
    return reference_sentence(groups, "Broad pale lines: reference results,")


def _counts(groups: list[Group], status: str) -> str:
    """For example `CQL 1 of 3, IQL 2 of 6`, over all panels."""
    having: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for group in groups:
        having[group.label][0] += len(group.having(status))
        having[group.label][1] += len(group.runs)
    return ", ".join(f"{label} {some} of {every}" for label, (some, every) in having.items() if some)
