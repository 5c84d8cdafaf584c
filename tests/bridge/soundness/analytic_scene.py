"""A ground, boxes and sky, ray-cast with numpy: exact depth and exact tracks, some of them on a box that drives."""

from __future__ import annotations

import numpy as np

from bridge.geometry.camera import Camera, Intrinsics, Pose
from bridge.geometry.seeds import seed_pixels
from bridge.tick import Tick, TrackSet

PERIOD_NS = 62_500_000
LENS = Intrinsics.from_fov(fov_x_rad=1.1, width=160, height=96)
# Centre and half size, metres. The last box drives along +y.
BOXES = np.array(
    [
        [[9, -3, 1.5], [1, 1, 1.5]],
        [[12, 2, 2], [1.5, 1, 2]],
        [[7, 3, 0.5], [0.5, 0.7, 0.5]],
        [[16, -6, 4], [2, 2, 4]],
        [[9, -0.5, 0.6], [0.8, 0.5, 0.6]],
    ],
    np.float64,
)
SPEED = 0.03  # metres per tick


def boxes_at(index):
    boxes = BOXES.copy()
    boxes[-1, 0, 1] += SPEED * index
    return boxes


def cast(origin, direction, boxes):
    """Return the distance along unit directions (n, 3), inf for none, and the box hit (n,), -1 for the ground."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(direction[:, 2] < 0, -origin[2] / direction[:, 2], np.inf)
        ground[ground > 200] = np.inf
        nearest, what = ground, np.full(len(direction), -1)
        for number, (centre, half) in enumerate(boxes):
            one, two = (centre - half - origin) / direction, (centre + half - origin) / direction
            enter, leave = np.minimum(one, two).max(axis=1), np.maximum(one, two).min(axis=1)
            hit = (enter > 0) & (enter <= leave) & (enter < nearest)
            nearest, what = np.where(hit, enter, nearest), np.where(hit, number, what)
    return nearest, what


def camera_at(index, *, still=False):
    s = 0.0 if still else index / 40
    return Camera(
        LENS,
        Pose.look_at((0.4 * s, -1.5 + 1.2 * s, 2.2 + 0.3 * s), (9 - s, 0.5 - 0.6 * s, 1.0)),
    )


def pixel_rays(camera, rows, columns):
    lens, pose = camera.intrinsics, camera.world_from_camera.matrix
    ray = np.stack(
        [(columns + 0.5 - lens.cx_px) / lens.fx_px, (rows + 0.5 - lens.cy_px) / lens.fy_px, np.ones(rows.shape)], -1
    )
    cosine = 1 / np.linalg.norm(ray, axis=-1)
    return (ray * cosine[..., None]) @ pose[:3, :3].T, cosine


def depth_at(camera, index):
    lens = camera.intrinsics
    rows, columns = np.indices((lens.height, lens.width))
    direction, cosine = pixel_rays(camera, rows.ravel(), columns.ravel())
    distance, _ = cast(camera.world_from_camera.matrix[:3, 3], direction, boxes_at(index))
    return (distance * cosine).reshape(lens.height, lens.width).astype(np.float32)


def seeds_at(camera, index):
    rows, columns = seed_pixels(camera.intrinsics.width, camera.intrinsics.height)
    direction, _ = pixel_rays(camera, rows, columns)
    origin = camera.world_from_camera.matrix[:3, 3]
    distance, what = cast(origin, direction, boxes_at(index))
    sky = np.isinf(distance)
    points = np.where(sky[:, None], direction, origin + np.where(sky, 0, distance)[:, None] * direction)
    return np.append(points, ~sky[:, None], axis=1), what


def track_set(points, camera, index):
    """Return the set with each point's visibility, from a ray of its own."""
    pose = camera.world_from_camera.matrix
    ray = points[:, :3] - pose[:3, 3] * points[:, 3:]
    length = np.linalg.norm(ray, axis=1)
    distance, _ = cast(pose[:3, 3], ray / length[:, None], boxes_at(index))
    local = ray @ pose[:3, :3]
    lens = camera.intrinsics
    with np.errstate(all="ignore"):
        u = lens.fx_px * local[:, 0] / local[:, 2] + lens.cx_px
        v = lens.fy_px * local[:, 1] / local[:, 2] + lens.cy_px
    framed = (local[:, 2] > 0) & (u > 0) & (u < lens.width) & (v > 0) & (v < lens.height)
    reach = np.where(points[:, 3] == 0, np.inf, length)
    seen = framed & (distance >= reach * (1 - 1e-4))
    return TrackSet(points.astype(np.float32), np.where(seen, 0, 1).astype(np.uint8))


def stream(count=41, *, points=True, still_camera=False):
    """Return the ticks of one clip's beginning."""
    ticks, start, what = [], None, None
    for index in range(count):
        camera = camera_at(index, still=still_camera)
        seeds = tracks = None
        if points and index == 0:
            start, what = seeds_at(camera, 0)
            seeds = track_set(start, camera, 0)
        elif points:
            moved = start.copy()
            moved[what == len(BOXES) - 1, 1] += SPEED * index
            tracks = track_set(moved, camera, index)
        ticks.append(
            Tick(
                index=index,
                camera=camera,
                depth=depth_at(camera, index),
                time_ns=index * PERIOD_NS,
                tracks=tracks,
                seeds=seeds,
            )
        )
    return ticks
