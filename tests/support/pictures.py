"""Compares figures with the reference pictures in `tests/plots/pictures`, so that an accidental change of layout fails a test.

`SEQEVAL_REDRAW=1 pytest tests/plots` draws the references again; look at each one that `git diff` then lists.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

from seqeval_rl.plots import save

KEPT = Path(__file__).parent.parent / "plots" / "pictures"
TOLERANCE = 6.0  # root mean square error, of 255: finds a missing curve, ignores an edge smoothed differently


def same_picture(figure: Figure, name: str) -> None:
    """Fails where the figure differs from the reference picture `name`; the message names the files to look at."""
    if os.environ.get("SEQEVAL_REDRAW"):
        save(figure, KEPT, name, ["png"], dpi=100)
        return
    kept = KEPT / f"{name}.png"
    assert kept.exists(), f"{kept}: no such picture. Run with SEQEVAL_REDRAW=1, and look at it."
    folder = Path(tempfile.mkdtemp(prefix="pictures-"))
    (drawn,) = save(figure, folder, name, ["png"], dpi=100)
    problem = compare_images(str(kept), str(drawn), TOLERANCE)
    assert problem is None, problem
    drawn.unlink()
    folder.rmdir()
