"""Ticks of the built-in engine: seeds, tracks, instances, clips and cuts."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.errors import OutOfOrder
from bridge.geometry.seeds import seed_pixels
from bridge.tick import TrackMode, Visibility
from engine_plugins.builtin import BuiltinEngine, Scene

SIZE = {"width": 144, "height": 80}


def _engine(scene: Scene, mode: TrackMode = TrackMode.ENGINE) -> BuiltinEngine:
    return BuiltinEngine(scene, track_mode=mode, threads=1, **SIZE)


def test_seeds_are_the_unprojected_depth(boxes: Scene) -> None:
    tick = _engine(boxes).tick(0)
    assert tick.seeds is not None
    assert tick.tracks is None
    rows, columns = seed_pixels(144, 80)
    depth = tick.depth[rows, columns]
    hit = np.isfinite(depth)
    assert 100 < hit.sum() < 2400
    # By hand: the camera looks along +x, its right is -y, its down is -z, it stands at z = 1; fx = fy = 72.
    right, down = (columns + 0.5 - 72) / 72, (rows + 0.5 - 40) / 72
    expected = np.stack([np.ones_like(right), -right, -down], axis=1)
    surface = expected[hit] * depth[hit, None] + (0, 0, 1)
    np.testing.assert_allclose(tick.seeds.points[hit, :3], surface, rtol=1e-5, atol=1e-5)
    assert (tick.seeds.points[hit, 3] == 1).all()
    sky = tick.seeds.points[~hit]
    assert (sky[:, 3] == 0).all()
    np.testing.assert_allclose(sky[:, :3], expected[~hit] / np.linalg.norm(expected[~hit], axis=1)[:, None], atol=1e-6)
    assert (tick.seeds.visibility == Visibility.VISIBLE).all()


def test_tracks_follow_a_moving_body(boxes: Scene) -> None:
    engine = _engine(boxes)
    first = engine.tick(0)
    later = engine.tick(8)
    assert first.seeds is not None
    assert later.tracks is not None
    rows, columns = seed_pixels(144, 80)
    on_cube = engine.render(0).instance_ids[rows, columns] == 7
    assert on_cube.sum() > 50
    # At 0 s the cube stands at (8, 0, 0) unturned; at 0.5 s at (8, 1, 0), turned by 0.15 rad.
    c, s = np.cos(0.15), np.sin(0.15)
    local = first.seeds.points[on_cube, :3].astype(np.float64) - (8, 0, 0)
    expected = local @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + (8, 1, 0)
    np.testing.assert_allclose(later.tracks.points[on_cube, :3], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(later.tracks.points[~on_cube], first.seeds.points[~on_cube])


def test_what_the_cube_moves_in_front_of_is_occluded(boxes: Scene) -> None:
    engine = _engine(boxes)
    engine.tick(0)
    rows, columns = seed_pixels(144, 80)
    was_wall = (engine.render(0).instance_ids[rows, columns] == 0) & np.isfinite(engine.render(0).depth[rows, columns])
    later = engine.tick(8)
    covered = was_wall & (engine.render(8).instance_ids[rows, columns] == 7)
    free = was_wall & (engine.render(8).instance_ids[rows, columns] == 0)
    assert covered.sum() > 3
    assert later.tracks is not None
    assert (later.tracks.visibility[covered] == Visibility.OCCLUDED).all()
    # Neighbours of the cube's outline may go either way within a pixel: they do not, since the camera stands still.
    assert (later.tracks.visibility[free] == Visibility.VISIBLE).all()


def test_points_out_of_the_frame_are_occluded_and_never_lost(boxes: Scene) -> None:
    engine = _engine(boxes)
    engine.tick(0)
    far = engine.tick(96, clip_start=False)  # 6 s: the cube is at y = 12, outside the view of +-8 at x = 8
    rows, columns = seed_pixels(144, 80)
    on_cube = engine.render(0).instance_ids[rows, columns] == 7
    assert far.tracks is not None
    assert (far.tracks.visibility[on_cube] == Visibility.OCCLUDED).all()
    assert (far.tracks.visibility != Visibility.LOST).all()


def test_instances_carry_the_same_motion_as_the_engine(boxes: Scene) -> None:
    exact, rigid = _engine(boxes), _engine(boxes, TrackMode.INSTANCES)
    seeds, tracks = exact.tick(0).seeds, exact.tick(5).tracks
    first, later = rigid.tick(0), rigid.tick(5)
    assert first.tracks is None
    assert first.seeds is None
    assert later.seed_instances is None
    assert seeds is not None
    assert tracks is not None
    assert first.seed_instances is not None
    assert first.instances is not None
    assert later.instances is not None
    assert list(first.instances.ids) == [7]
    move = later.instances.world_from_instance[0] @ np.linalg.inv(first.instances.world_from_instance[0])
    expected = seeds.points.astype(np.float64)
    carried = first.seed_instances == 7
    expected[carried] = expected[carried] @ move.T
    np.testing.assert_array_equal(tracks.points, expected.astype(np.float32))


def test_server_mode_sends_depth_alone(boxes: Scene) -> None:
    tick = _engine(boxes, TrackMode.SERVER).tick(0)
    assert (tick.tracks, tick.seeds, tick.instances, tick.seed_instances) == (None, None, None, None)
    np.testing.assert_array_equal(tick.depth, _engine(boxes).tick(0).depth)


def test_shared_tick_carries_both_sets_and_a_cut_only_one(boxes: Scene) -> None:
    engine = BuiltinEngine(boxes, width=32, height=18, threads=1)
    ticks = list(engine.ticks(175, cuts=frozenset({90})))
    assert [tick.index for tick in ticks] == list(range(175))
    begins = [tick.index for tick in ticks if tick.seeds is not None]
    without = [tick.index for tick in ticks if tick.tracks is None]
    assert begins == [0, 80, 90, 170]
    assert without == [0, 90]
    assert ticks[16].time_ns == 1_000_000_000


def test_a_clip_that_was_not_begun_is_refused(boxes: Scene) -> None:
    with pytest.raises(OutOfOrder, match="tick 3"):
        _engine(boxes).tick(3)
    assert _engine(boxes).tick(3, clip_start=True).seeds is not None
