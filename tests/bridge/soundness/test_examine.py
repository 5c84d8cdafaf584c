"""A sound stream gives no finding; each corruption gives its own, first."""

import functools
from dataclasses import replace

import analytic_scene as scene
import numpy as np
import pytest

from bridge.geometry import BLENDER, ROS_BODY, UNITY, UNREAL, Camera, DepthDeclaration, DepthKind, Pose
from bridge.geometry.depth import planar_over_radial
from bridge.geometry.seeds import seed_grid
from bridge.soundness import Severity, examine
from bridge.tick import Instances, TrackSet


@functools.lru_cache(maxsize=1)
def _stream():
    return tuple(scene.stream(25))


def with_points():
    return list(_stream())


def without_points():
    return [replace(tick, tracks=None, seeds=None) for tick in _stream()]


def matrix(tick):
    return tick.camera.world_from_camera.matrix


def posed(tick, pose):
    return replace(tick, camera=Camera(tick.camera.intrinsics, Pose(pose)))


def with_depth(change):
    return lambda tick: replace(tick, depth=np.ascontiguousarray(change(tick.depth), dtype=np.float32))


def with_track_points(tick, change):
    def changed(tracks):
        return tracks and TrackSet(np.ascontiguousarray(change(tracks.points), dtype=np.float32), tracks.visibility)

    return replace(tick, tracks=changed(tick.tracks), seeds=changed(tick.seeds))


def homogeneous(rows, scale=1.0):
    """Return a change of points by a 3 x 3 matrix, and of positions (not directions) by a scale."""
    return lambda points: np.append(
        points[:, :3] @ np.asarray(rows).T * np.where(points[:, 3:] == 0, 1.0, scale), points[:, 3:], axis=1
    )


def scaled_position(pose, scale):
    result = pose.copy()
    result[:3, 3] *= scale
    return result


def unconverted(convention):
    """Return the tick as an engine of this convention has it, pose and points, with depth in metres."""
    world = np.array(convention.world_from_engine, np.float64)
    axes = np.array(convention.engine_camera_from_camera, np.float64)
    per_metre = 1.0 / convention.metres_per_unit

    def change(tick):
        pose = np.eye(4)
        pose[:3, :3] = world.T @ matrix(tick)[:3, :3] @ axes.T
        pose[:3, 3] = world.T @ matrix(tick)[:3, 3] * per_metre
        return with_track_points(posed(tick, pose), homogeneous(world.T, per_metre))

    return change


def in_centimetres(tick):
    moved = posed(tick, scaled_position(matrix(tick), 100.0))
    return with_track_points(moved, homogeneous(np.eye(3), 100.0))


def transposed_rotation(tick):
    pose = matrix(tick).copy()
    pose[:3, :3] = pose[:3, :3].T
    return posed(tick, pose)


COSINE = planar_over_radial(scene.LENS)
OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
# near 0.1, far 300 and, reversed, near 0.1 and no far plane.
DEVICE = with_depth(lambda d: np.where(np.isinf(d), 1.0, 300 / 299.9 * (1 - 0.1 / np.minimum(d, 300))))
REVERSED = with_depth(lambda d: 0.1 / d)


# The corruption, the code that must come first, and words that its sentence or remedy must hold.
BOTH_WAYS = {
    "rows": (with_depth(lambda d: d[::-1]), "rows_mirrored", "bottom_row_first=True"),
    "columns": (with_depth(lambda d: d[:, ::-1]), "columns_mirrored", "left for right"),
    "centimetres": (with_depth(lambda d: d * 100), "depth_scale", "centimetres"),
    "millimetres": (with_depth(lambda d: d * 1000), "depth_scale", "millimetres"),
    "world in centimetres": (in_centimetres, "world_scale", "by 0.01"),
    "radial": (with_depth(lambda d: d / COSINE), "depth_radial", "kind=DepthKind.RADIAL"),
    "device": (DEVICE, "depth_device", "reversed_z=False"),
    "reversed": (REVERSED, "depth_device", "reversed_z=True"),
    "blender": (unconverted(BLENDER), "camera_axes", "BLENDER"),
    "ros body": (unconverted(ROS_BODY), "camera_axes", "ROS_BODY"),
    "inverse": (lambda t: posed(t, np.linalg.inv(matrix(t))), "pose_inverted", "world_from_camera"),
    "view matrix": (
        lambda t: posed(t, np.linalg.inv(matrix(t) @ OPENGL_AXES)),
        "pose_inverted",
        "y up and z backward",
    ),
    "transposed": (transposed_rotation, "pose_transposed", "column vectors"),
}


@pytest.mark.parametrize("case", BOTH_WAYS.values(), ids=BOTH_WAYS.keys())
@pytest.mark.parametrize("stream", [with_points, without_points], ids=["points", "depth alone"])
def test_a_corruption_is_told_first_and_alone(case, stream):
    corrupt, code, words = case
    findings = examine([corrupt(tick) for tick in stream()])
    assert [finding.code for finding in findings] == [code], findings
    assert words in f"{findings[0].sentence} {findings[0].remedy}"
    assert findings[0].figures


POINTS_ALONE = {
    "unity": (unconverted(UNITY), "handedness", "bridge.geometry.UNITY"),
    "points of another handedness": (
        lambda t: with_track_points(t, homogeneous([[1, 0, 0], [0, 0, 1], [0, 1, 0]])),
        "points_handedness",
        "UNITY.points",
    ),
    "points with y turned": (
        lambda t: with_track_points(t, homogeneous(np.diag([1, -1, 1]))),
        "points_handedness",
        "UNREAL.points",
    ),
    "points in centimetres": (
        lambda t: with_track_points(t, homogeneous(np.eye(3), 100.0)),
        "points_scale",
        "Multiply the points by 0.01",
    ),
    "camera in centimetres": (
        lambda t: posed(t, scaled_position(matrix(t), 100.0)),
        "camera_scale",
        "Multiply the camera's position by 0.01",
    ),
    "points in the camera's frame": (
        lambda t: with_track_points(t, lambda points: points @ np.linalg.inv(matrix(t)).T),
        "points_in_camera",
        "world_from_camera",
    ),
    "no unit at all": (with_depth(lambda d: d * 1.7), "depth_scale", "factor of 1.7"),
    "principal point at a pixel's centre": (
        lambda t: replace(t, camera=Camera(replace(scene.LENS, cx_px=79.5, cy_px=47.5), t.camera.world_from_camera)),
        "pixel_centre",
        "0.5",
    ),
}


@pytest.mark.parametrize("case", POINTS_ALONE.values(), ids=POINTS_ALONE.keys())
def test_a_corruption_that_takes_points_to_see(case):
    corrupt, code, words = case
    findings = examine([corrupt(tick) for tick in with_points()])
    assert [finding.code for finding in findings] == [code], findings
    assert words in f"{findings[0].sentence} {findings[0].remedy}"


def test_unreal_as_it_is_makes_two_mistakes():
    findings = examine([unconverted(UNREAL)(tick) for tick in with_points()])
    assert [finding.code for finding in findings] == ["handedness", "world_scale"]
    assert "UNREAL" in findings[0].remedy
    assert "centimetres" in findings[1].sentence


def test_a_sound_stream_gives_none():
    assert examine(with_points()) == []
    assert examine(without_points()) == []
    assert examine([]) == []
    assert examine(with_points()[:1]) == []
    assert examine(without_points()[:1]) == []


def test_a_still_camera_is_sound():
    still = scene.stream(9, still_camera=True)
    assert examine(still) == []
    assert examine([replace(tick, tracks=None, seeds=None) for tick in still]) == []


def test_depth_of_sixteen_bits_is_sound():
    half = [with_depth(lambda d: d.astype(np.float16))(tick) for tick in with_points()]
    steps = with_depth(lambda d: np.where(np.isinf(d), d, 65535 / np.maximum(np.rint(65535 / d), 1)))
    inverse = [steps(tick) for tick in with_points()]
    for ticks in (half, inverse):
        assert examine(ticks) == []
        assert examine([replace(tick, tracks=None, seeds=None) for tick in ticks]) == []


def test_depth_in_declared_units_is_sound():
    def centimetres(tick):
        return replace(
            with_depth(lambda d: d[::-1] * 100)(tick),
            depth_declaration=DepthDeclaration(metres_per_unit=0.01, bottom_row_first=True),
        )

    assert examine([centimetres(tick) for tick in with_points()]) == []


def test_a_declaration_is_corrected_not_repeated():
    turned = DepthDeclaration(bottom_row_first=True)
    findings = examine([replace(tick, depth_declaration=turned) for tick in with_points()])
    assert [finding.code for finding in findings] == ["rows_mirrored"]
    assert "bottom_row_first=False" in findings[0].remedy
    device = DepthDeclaration(kind=DepthKind.DEVICE, near=0.1, far=300.0, reversed_z=True)
    findings = examine([replace(DEVICE(tick), depth_declaration=device) for tick in with_points()])
    assert [finding.code for finding in findings] == ["reversed_z"]
    assert "reversed_z=False" in findings[0].remedy


def test_device_depth_comes_with_its_clip_planes():
    (finding,) = examine([DEVICE(tick) for tick in with_points()])
    near, far = (float(finding.remedy.split(f"{name}=")[1].split(",")[0]) for name in ("near", "far"))
    assert near == pytest.approx(0.1, rel=0.02)
    assert 200 < far < 400


def test_points_that_lie_on_nothing():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(2500, 3))
    ticks = [with_track_points(tick, lambda p: np.append(p[:, :3] + noise, p[:, 3:], axis=1)) for tick in with_points()]
    findings = examine(ticks)
    assert [finding.code for finding in findings] == ["points_off_depth"]


def test_depth_of_another_moment_is_no_geometry_mistake():
    ticks = with_points()
    late = [replace(tick, depth=ticks[(i + 12) % 25].depth) for i, tick in enumerate(ticks)]
    assert [finding.code for finding in examine(late)] == ["points_off_depth"]


def test_points_that_are_seeded_anew_at_every_tick():
    def fresh(tick):
        points, _ = scene.seeds_at(tick.camera, tick.index)
        return tick if tick.tracks is None else replace(tick, tracks=scene.track_set(points, tick.camera, tick.index))

    findings = examine([fresh(tick) for tick in with_points()])
    assert [finding.code for finding in findings] == ["tracks_static"]
    assert findings[0].severity is Severity.ERROR


def test_points_that_never_follow_the_box_that_drives(monkeypatch):
    # A box large enough to matter that comes towards the camera; its points stay behind.
    boxes = scene.BOXES.copy()
    boxes[-1] = [[8, 0, 1.2], [0.8, 2.5, 1.2]]
    monkeypatch.setattr(scene, "BOXES", boxes)
    monkeypatch.setattr(scene, "SPEED", 0.15)
    ticks = scene.stream(13, still_camera=True)
    seeds = ticks[0].seeds
    frozen = [tick if tick.tracks is None else replace(tick, tracks=seeds) for tick in ticks]
    assert examine(ticks) == []
    assert [finding.code for finding in examine(frozen)] == ["tracks_still"]


def test_a_pose_that_is_never_updated():
    first = with_points()[0].camera
    for ticks in (with_points(), without_points()):
        # Half the path seen from the start: nearly all depth changes while the pose does not.
        near = [replace(with_depth(lambda d, s=1 + 0.01 * t.index: d * s)(t), camera=first) for t in ticks]
        assert [finding.code for finding in examine(near)] == ["camera_frozen"]


def test_seeds_in_another_order():
    order = np.arange(2500).reshape(50, 50).T.ravel()

    def reordered(tracks):
        return tracks and TrackSet(tracks.points[order], tracks.visibility[order])

    ticks = [replace(t, tracks=reordered(t.tracks), seeds=reordered(t.seeds)) for t in with_points()]
    findings = examine(ticks)
    assert [finding.code for finding in findings] == ["seeds_order"]
    assert "column by column" in findings[0].sentence


def test_seeds_on_a_grid_of_their_own():
    ticks = with_points()[:1]
    camera, lens = ticks[0].camera, scene.LENS
    uv = 0.25 + 0.5 * seed_grid()  # the middle half of the image
    rows, columns = uv[:, 1] * lens.height - 0.5, uv[:, 0] * lens.width - 0.5
    direction, _ = scene.pixel_rays(camera, rows, columns)
    origin = matrix(ticks[0])[:3, 3]
    distance, _ = scene.cast(origin, direction, scene.boxes_at(0))
    sky = np.isinf(distance)[:, None]
    points = np.append(np.where(sky, direction, origin + np.where(sky, 0, distance[:, None]) * direction), ~sky, axis=1)
    findings = examine([replace(ticks[0], seeds=scene.track_set(points, camera, 0))])
    assert [(finding.code, finding.severity) for finding in findings] == [("seeds_off_grid", Severity.WARNING)]


def test_instances_that_move_are_left_out():
    what = scene.seeds_at(with_points()[0].camera, 0)[1]
    ids = np.where(what == len(scene.BOXES) - 1, 7, 0).astype(np.uint32)

    def instances(index):
        transform = np.eye(4)
        transform[1, 3] = scene.SPEED * index
        return Instances(np.array([7], np.uint32), transform[None])

    ticks = [replace(t, instances=instances(t.index), seed_instances=ids) for t in without_points()]
    assert examine(ticks) == []
    assert [f.code for f in examine([with_depth(lambda d: d[::-1])(t) for t in ticks])] == ["rows_mirrored"]


def test_findings_read_as_sentences():
    (finding,) = examine([with_depth(lambda d: d * 100)(tick) for tick in with_points()])
    text = str(finding)
    assert text.startswith("error: Depth is in centimetres. The camera and the points are in metres (agreement as sent")
    assert text.endswith("Declare DepthDeclaration(metres_per_unit=0.01), or send metres.")
