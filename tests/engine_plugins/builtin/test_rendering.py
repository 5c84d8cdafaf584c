"""Depth, ids and colour against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.errors import InvalidValue
from engine_plugins.builtin import Renderer, Scene


def test_depth_of_a_box_at_a_known_pose(boxes: Scene) -> None:
    # fov 90 degrees and width 64 make fx = 32. The cube's near face is x = 7 at tick 0, y -1..1, z 0..2: with the eye
    # at z = 1 it covers 32 / 7 = 4.57 px to each side of the middle, so ten pixel centres (4.5 is the outermost).
    view = Renderer(boxes, width=64, height=48).look(0)
    assert view.camera.intrinsics.fx_px == pytest.approx(32.0)
    expected = np.full((48, 64), np.inf)
    # The wall's face at x = 12 spans y -4..4, 10.67 px to each side: 22 centres; its top, z = 4, is 8 px above the
    # middle, its foot, z = 0, 2.67 px below.
    expected[16:27, 21:43] = 12.0
    expected[19:29, 27:37] = 7.0
    np.testing.assert_allclose(view.depth, expected, rtol=1e-6)
    np.testing.assert_array_equal(view.instance_ids, np.where(expected == 7.0, 7, 0))


def test_depth_is_planar_not_radial(boxes: Scene) -> None:
    view = Renderer(boxes, width=64, height=48).look(0)
    face = view.depth[17, 21:43]  # above the cube's edge, off the axis: all of one plane, so all of one depth
    np.testing.assert_allclose(face, 12.0, rtol=1e-6)


def test_moving_cube_is_where_its_motion_says(boxes: Scene) -> None:
    # Tick 8 is 0.5 s: the cube's middle is at (8, 1), turned by 0.15 rad. The camera's right is -y, so it moves left.
    # The face's plane is n . (p - c) = -1 with n = (cos 0.15, sin 0.15): at y = 0, x = 8 - (1 - sin 0.15) / cos 0.15.
    renderer = Renderer(boxes, width=65, height=49)  # odd sizes have a pixel on the axis
    depth = renderer.look(8).depth[24, 32]
    assert depth == pytest.approx(8.0 - (1.0 - np.sin(0.15)) / np.cos(0.15), rel=1e-5)


def test_render_has_the_depth_of_look_and_colours(boxes: Scene) -> None:
    renderer = Renderer(boxes, width=64, height=48)
    frame, view = renderer.render(3), renderer.look(3)
    np.testing.assert_array_equal(frame.depth, view.depth)
    np.testing.assert_array_equal(frame.instance_ids, view.instance_ids)
    assert frame.rgb.shape == (48, 64, 3)
    assert frame.rgb.dtype == np.uint8
    sky, wall = frame.rgb[2, 32].astype(int), frame.rgb[17, 34].astype(int)
    assert sky[2] > sky[0]  # blue above
    assert abs(wall - sky).max() > 10


def test_edges_are_smoothed_but_flat_surfaces_are_not_touched(boxes: Scene) -> None:
    frame = Renderer(boxes, width=64, height=48).render(0)
    # The wall ends 10.67 px from the middle: column 42 is two thirds wall and one third sky, 43 is sky.
    wall, edge, sky = (frame.rgb[17, column].astype(int) for column in (34, 42, 43))
    share = np.linalg.norm(edge - sky) / np.linalg.norm(wall - sky)
    assert 0.4 < share < 0.95
    np.testing.assert_array_equal(wall, frame.rgb[17, 30])


def test_shadow_darkens(boxes: Scene) -> None:
    lit = Renderer(boxes, width=64, height=48, shadows=False).render(0).rgb.astype(int)
    shaded = Renderer(boxes, width=64, height=48).render(0).rgb.astype(int)
    assert (shaded <= lit + 1).all()


@pytest.mark.parametrize(("width", "height"), [(0, 48), (64, -1)])
def test_size_must_be_positive(boxes: Scene, width: int, height: int) -> None:
    with pytest.raises(InvalidValue, match="size"):
        Renderer(boxes, width=width, height=height)


def test_negative_tick_is_refused(boxes: Scene) -> None:
    with pytest.raises(InvalidValue, match="index"):
        Renderer(boxes, width=8, height=8).look(-1)
