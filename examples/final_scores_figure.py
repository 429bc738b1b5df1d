"""A figure of your own: the last score of every run, a row per algorithm, a panel per dataset.

Register the module in the `pyproject.toml` of your package and install the package; then the command
`seqeval plot RESULTS --kind final_scores` draws it, with the options `--width` and `--sort`:

    [project.entry-points."seqeval_rl.figures"]
    final_scores = "final_scores_figure"

In Python importing this file is enough: `seqeval_rl.plots.draw(results, "final_scores")`.
"""

import numpy as np

from seqeval_rl.plots import collect, figure, framed, line_styles


@figure("final_scores", help="the last score of every run")
def final_scores(results, *, width: float = 3.25, sort: bool = False):
    """The last score of every run, a row per algorithm.

    Args:
        width: of each panel in inches.
        sort: highest mean score first.
    """
    panels = collect(results)  # one per dataset, each with groups: the runs of one algorithm with the same settings
    looks = line_styles(group.style for panel in panels for group in panel.groups)

    def draw(figure):
        for place, panel in enumerate(panels):
            ax = figure.add_subplot(1, len(panels), place + 1)
            rows = [(group, [run.curve("score")[1][-1] for run in group.runs]) for group in panel.groups]
            rows.sort(key=lambda row: -np.mean(row[1]) if sort else 0)
            for row, (group, scores) in enumerate(rows):
                ax.plot(scores, [row] * len(scores), **looks[group.style].marker_properties)
            ax.set_yticks(range(len(rows)), [group.label for group, _ in rows])
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.set_xlabel("normalized score")
            ax.set_title(panel.title)

    height = 0.6 + 0.25 * max(len(panel.groups) for panel in panels)
    return framed(width * len(panels), height, "The last score of every run.", draw)
