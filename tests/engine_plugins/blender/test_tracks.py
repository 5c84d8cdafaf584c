"""The followed grid in real Blender against places worked out by hand."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.blender


@pytest.mark.parametrize("case", ["spinning_cube", "bending_plane", "armature", "instances", "modifier_and_scale"])
def test_points_go_where_the_surface_goes(run_inside, case: str) -> None:
    figures = run_inside("track_cases")[case]
    assert figures["on_thing"] > 100
    assert figures["moved_px"] > 20, "the thing moves, so a point that stays is far off"
    assert figures["worst_px"] < 0.1
    assert figures["lost"] == 0


def test_points_are_lost_with_their_surface(run_inside) -> None:
    figures = run_inside("track_cases")["lost_points"]
    gone, changed, kept = figures["seeded"]
    assert min(gone, changed, kept) > 100
    # Frame 7 of 24 a second is the moment of tick 4. Quads that bend keep their points, whatever diagonal they get.
    for index in range(1, 4):
        assert figures[f"lost at {index}"] == [0, 0, 0]
    for index in range(4, 9):
        assert figures[f"lost at {index}"] == [gone, changed, 0]
