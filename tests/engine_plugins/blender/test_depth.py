"""Depth in real Blender against its own rays, pixel by pixel."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.blender

CASES = [
    "plain",
    "wide",
    "shifted",
    "fit by width",
    "fit by height",
    "scale 0.01",
    "scale 100",
    "upright",
    "wide pixels",
]


@pytest.mark.parametrize("case", CASES)
def test_depth_is_what_rays_hit(run_inside, case: str) -> None:
    figures = run_inside("depth_cases")[case]
    assert figures["hit"] > 0.5, "the scene fills the picture"
    assert figures["median"] < 1e-5
    assert figures["p99"] < 1e-4
    # Blender's rays are float32: at a silhouette, one or the other may just miss.
    assert figures["same_sky"] > 0.998


def test_scenes_keep_their_size(run_inside) -> None:
    cases = run_inside("depth_cases")
    assert cases["scale 0.01"]["nearest"] == pytest.approx(cases["plain"]["nearest"] * 0.01, rel=1e-3)
    assert cases["scale 100"]["nearest"] == pytest.approx(cases["plain"]["nearest"] * 100, rel=1e-3)
