"""Whether readers who see colours otherwise, and grey printers, can tell the algorithms apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from seqeval_rl.interface.registry import find_registered
from seqeval_rl.plots.analysis.naming import display_name
from seqeval_rl.plots.figures.style import line_styles

# Machado, Oliveira and Fernandes, A physiologically-based model for simulation of color vision deficiency, IEEE TVCG 2009, whole
# loss of one sort of cone; of linear RGB.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# CIE 1976 L*a*b* of sRGB, white point D65.
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
NAMES = ["td3_bc", "iql", "cql", "awac", "bc", "a", "b", "c"]


def lab(colour: str, seen: object) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.asarray(seen) @ linear, 0, 1) / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("cones", SEEN)
def test_the_reference_algorithms_have_colours_apart(cones: str) -> None:
    looks = line_styles(NAMES[:5])
    for one, other in itertools.combinations(looks, 2):
        apart = np.linalg.norm(lab(looks[one].colour, SEEN[cones]) - lab(looks[other].colour, SEEN[cones]))
        # Some 2.3 is a difference that is just seen; lines and markers differ as well.
        assert apart > 10, f"{one} and {other} for {cones}: {apart:.1f}"


@pytest.mark.parametrize("cones", SEEN)
def test_where_colours_of_eight_are_near_line_and_marker_differ(cones: str) -> None:
    looks = line_styles(NAMES)
    for one, other in itertools.combinations(looks, 2):
        apart = np.linalg.norm(lab(looks[one].colour, SEEN[cones]) - lab(looks[other].colour, SEEN[cones]))
        a, b = looks[one], looks[other]
        assert apart > 10 or (a.marker != b.marker and a.line != b.line), f"{one} and {other} for {cones}: {apart:.1f}"


def test_in_grey_line_and_marker_tell_them_apart() -> None:
    looks = line_styles(NAMES)
    for one, other in itertools.combinations(looks, 2):
        a, b = looks[one], looks[other]
        lighter = abs(lab(a.colour, np.eye(3))[0] - lab(b.colour, np.eye(3))[0])
        assert a.marker != b.marker, f"{one} and {other}"
        assert lighter > 10 or a.line != b.line, f"{one} and {other}: {lighter:.1f} of lightness"


def test_figures_call_the_projects_algorithms_as_they_call_themselves() -> None:
    names = {entry.name: entry.algorithm.name for entry in find_registered()[0] if entry.is_ours}
    assert {name: display_name(name) for name in names} == names
