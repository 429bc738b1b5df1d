"""Figure `ratio`: score for each pair of K, updates per increment, and gamma, transitions per increment."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.captions import damage_sentence, listed
from seqeval_rl.plots.analysis.cross_task import check_common_unit, comparable, place_text, without_references
from seqeval_rl.plots.analysis.grouping import Group, Panel, collect
from seqeval_rl.plots.analysis.metrics import check_share, run_at_share
from seqeval_rl.plots.analysis.naming import display_name, legend_order, metric_label
from seqeval_rl.plots.figures import layout, style
from seqeval_rl.plots.registry import figure
from seqeval_rl.results.read import RunResult, hashable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure


_K, _GAMMA = "updates_per_increment", "increment"
_VARIED = re.compile(rf"\b(?:{_K}|{_GAMMA})=[^,)]+(?:, )?")


@dataclass(frozen=True)
class HeatMap:
    """One algorithm with all else equal; K varies downwards, gamma to the right."""

    algorithm: str
    label: str
    updates: tuple[int, ...]  # K
    increments: tuple[int, ...]  # gamma
    scores: dict[tuple[int, int], float]  # by (K, gamma): mean over datasets of the mean over runs
    runs: dict[tuple[int, int], int]
    datasets: tuple[str, ...]
    left_out: tuple[str, ...]  # datasets on which one of the pairs has no score


def heat_maps(results: Sequence[RunResult], share: float = 1.0) -> list[HeatMap]:
    """Scores at `share` of the data by K and gamma, of each algorithm whose runs differ in one of them.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data, above 0 and at most 1.

    Raises:
        UsageError: no run, a share outside (0, 1], or no algorithm that was run with two pairs on one dataset.
    """
    check_share(share)
    members: dict[tuple[str, Hashable], list[tuple[Panel, Group]]] = defaultdict(list)
    panels = comparable(collect(results))
    check_common_unit(panels)
    for panel in panels:
        for group in panel.groups:
            if not group.control:
                manifest = group.runs[0].manifest
                protocol = {key: value for key, value in group.runs[0].protocol.items() if key not in (_K, _GAMMA)}
                all_else = [protocol, *(manifest.get(key) for key in ("uses_future_data", "suite", "precision"))]
                members[group.algorithm, hashable([group.runs[0].config, *all_else])].append((panel, group))
    maps = [each for groups in members.values() if (each := _heat_map(groups, share)) is not None]
    if not maps:
        raise UsageError(
            f"results: expected an algorithm with several values of {_GAMMA} or {_K} on one dataset, at {100 * share:g} % of it, "
            f"found none. Sweep them: --set protocol.{_GAMMA}=1,10."
        )
    return maps


def _heat_map(members: Sequence[tuple[Panel, Group]], share: float) -> HeatMap | None:
    """None where there is a single pair, or no dataset has all pairs."""
    values: dict[str, dict[tuple[int, int], list[float]]] = defaultdict(dict)
    for panel, group in members:
        pair = (int(group.runs[0].protocol[_K]), int(group.runs[0].protocol[_GAMMA]))
        scores = [run_at_share(run, share) for run in group.runs]
        finite = [score for score in scores if np.isfinite(score)]
        if finite:
            values[panel.title][pair] = finite
    pairs = {pair for of in values.values() for pair in of}
    datasets = tuple(title for title, of in values.items() if of.keys() == pairs)
    if len(pairs) < 2 or not datasets:
        return None
    label = members[0][1].label
    shown = re.sub(r" \(\)$", "", _VARIED.sub("", label)).replace(", )", ")")
    return HeatMap(
        members[0][1].algorithm,
        shown,
        tuple(sorted({updates for updates, _ in pairs})),
        tuple(sorted({increment for _, increment in pairs})),
        {pair: float(np.mean([np.mean(values[title][pair]) for title in datasets])) for pair in pairs},
        {pair: sum(len(values[title][pair]) for title in datasets) for pair in pairs},
        datasets,
        tuple(title for title in values if title not in datasets),
    )


@figure("ratio", help="score by updates and transitions per increment")
def ratio(
    results: Sequence[RunResult], *, share: float = 1.0, width: str | float = "page", caption: bool = True
) -> Figure:
    """Heat map of the score by updates per increment K and transitions per increment gamma, one for each algorithm.

    Each cell contains the score and, where there is room, the number of runs; a pair without a score is blank and crossed.
    The replay ratio is K / gamma.

    Args:
        results: from `seqeval_rl.read_results`.
        share: of the data at which the scores are taken, above 0 and at most 1.
        width: column (3.25 in), page (6.75 in), slide (10 in), or inches; text stays 8 pt.
        caption: write under the figure what it shows.

    Raises:
        UsageError: as `heat_maps`, or an unknown width.
    """
    inches = layout.figure_width(width)
    panels, maps = collect(results), heat_maps(results, share)
    across = min(len(maps), max(1, int(inches / 1.6)), 4)
    down = -(-len(maps) // across)
    cell = (inches - 0.8) / across
    titles = [layout.wrap(each.label, cell - 0.1, 3) for each in maps]
    height = 0.42 * max(len(each.updates) for each in maps) + 0.55
    height += layout.LINE_HEIGHT * max(title.count("\n") for title in titles)

    def draw(figure: Figure) -> None:
        import matplotlib as mpl

        low, high = (limit(score for each in maps for score in each.scores.values()) for limit in (min, max))
        norm = mpl.colors.Normalize(low, high if high > low else low + 1)
        colours = mpl.cm.ScalarMappable(norm, "cividis")  # of even lightness, for colour-blind readers too
        axes = layout.panels(figure, len(maps), across, "increment γ", "updates K")
        for ax, each, title in zip(axes, maps, titles, strict=True):
            _draw_map(ax, each, colours, (cell - 0.5) / len(each.increments))
            ax.set_title(title)
        label = metric_label([comparable(panels)[0].metric])
        figure.colorbar(colours, ax=figure.axes, label=label, fraction=0.05, aspect=12, pad=0.02)

    text = f"{_text(results, maps, share)}{without_references(panels)}{damage_sentence(results)}" if caption else ""
    return layout.framed(inches, down * height + 0.1, text, draw)


def _draw_map(ax: Axes, heat_map: HeatMap, colours: ScalarMappable, side: float) -> None:
    """One algorithm, on cells `side` inches wide."""
    for row, updates in enumerate(heat_map.updates):
        for column, increment in enumerate(heat_map.increments):
            score = heat_map.scores.get((updates, increment))
            if score is None:
                for end in (-0.2, 0.2):
                    ends = [row + end, row - end]
                    ax.plot([column - 0.2, column + 0.2], ends, color=style.LIGHT_GREY, linewidth=0.6)
            else:
                _draw_cell(ax, (column, row), score, heat_map.runs[updates, increment], colours, side)
    ax.set_xlim(-0.5, len(heat_map.increments) - 0.5)
    ax.set_ylim(-0.5, len(heat_map.updates) - 0.5)
    ax.set_xticks(range(len(heat_map.increments)), [layout.format_count(value) for value in heat_map.increments])
    ax.set_yticks(range(len(heat_map.updates)), [layout.format_count(value) for value in heat_map.updates])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _draw_cell(
    ax: Axes, centre: tuple[int, int], score: float, runs: int, colours: ScalarMappable, side: float
) -> None:
    """The cell's colour, and as much of its numbers as has room."""
    from matplotlib.patches import Rectangle

    column, row = centre
    colour: Any = colours.to_rgba(np.asarray(score))
    ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 0.5
    lines = [f"{score:.1f}", f"n={runs}"]
    room = [layout.text_width(line) + 0.04 <= side for line in lines]
    text = "\n".join(lines if all(room) else lines[: room[0]])
    ax.text(column, row, text, ha="center", va="center", color="black" if light else "white", linespacing=1.1)


def _text(results: Sequence[RunResult], maps: Sequence[HeatMap], share: float) -> str:
    """The caption, with a blank at its end."""
    datasets = {title for each in maps for title in each.datasets}
    text = (
        f"Score {place_text(collect(results), share)} by gradient steps (K) and transitions (γ) per increment, mean over "
        f"{len(datasets)} dataset{'s' if len(datasets) > 1 else ''} of the mean over runs; n: runs; the replay ratio is K/γ. "
    )
    left_out = sorted({title for each in maps for title in each.left_out})
    if left_out:
        text += f"Left out, since a pair has no score there: {listed(left_out)}. "
    mapped = {each.algorithm for each in maps}
    single = [display_name(name) for name in legend_order({run.algorithm for run in results} - mapped)]
    if single:
        text += f"Left out, since without several pairs on one dataset: {listed(single)}. "
    if any((k, g) not in each.scores for each in maps for k in each.updates for g in each.increments):
        text += "Crosses: not run, or no run has got there. "
    return text
