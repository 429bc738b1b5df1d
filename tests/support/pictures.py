"""Figures against the pictures of them that are kept beside the tests: an accident in a layout is seen, not argued about.

`SEQEVAL_REDRAW=1 pytest tests/plots` draws them again; look at each that `git diff` then names.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

from seqeval_rl.plots import save

KEPT = Path(__file__).parent.parent / "plots" / "pictures"
TOLERANCE = 6.0  # root mean square of 0 to 255: a curve that is missing, not an edge that a release smooths


def same_picture(figure: Figure, name: str) -> None:
    """Fail where the figure differs from the kept picture `name`, saying where the drawn one and the difference lie."""
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
