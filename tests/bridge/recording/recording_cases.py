"""Values that recordings are tried with, and what "the same" means for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.camera import Camera, Intrinsics, Pose
from bridge.geometry.depth import PLANAR_METRES, DepthDeclaration
from bridge.recording import CutEvent, Event, Finish, PromptEvent, RecordingWriter, SessionHeader
from bridge.tick import TRACK_COUNT, Instances, Tick, TrackMode, TrackSet

STARTED_NS = 1_700_000_000_123_456_789
NAN_WITH_PAYLOAD = np.array([0x7FC12345], dtype=np.uint32).view(np.float32)[0]


def image(seed: int, *, height: int = 6, width: int = 10) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def header(**changes: object) -> SessionHeader:
    values: dict[str, object] = {
        "prompt": "a town",
        "seed": 7,
        "model": "fake",
        "track_mode": TrackMode.ENGINE,
        "first_frame": image(1),
    }
    return SessionHeader(**{**values, **changes})  # type: ignore[arg-type]


def track_set(seed: int) -> TrackSet:
    rng = np.random.default_rng(seed)
    points = np.ones((TRACK_COUNT, 4), dtype=np.float32)
    points[:, :3] = rng.normal(size=(TRACK_COUNT, 3))
    visibility = rng.integers(0, 3, TRACK_COUNT, dtype=np.uint8)
    points[rng.random(TRACK_COUNT) < 0.2, 3] = 0
    lost = np.flatnonzero(visibility == 2)
    points[lost[:5], 0] = NAN_WITH_PAYLOAD
    points[lost[5:9], 3] = -np.inf
    return TrackSet(points, visibility)


def pose(seed: int) -> Pose:
    rng = np.random.default_rng(seed)
    return Pose.look_at(rng.normal(size=3) * 10, rng.normal(size=3))


def instances(seed: int, *, count: int = 3) -> Instances:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(2**20).astype(np.uint32)[:count]
    return Instances(ids, rng.normal(size=(count, 4, 4)) * 3)


def tick(
    index: int,
    *,
    height: int = 4,
    width: int = 6,
    tracks: bool = True,
    seeds: bool = False,
    declaration: DepthDeclaration = PLANAR_METRES,
) -> Tick:
    rng = np.random.default_rng(index)
    depth = rng.random((height, width), dtype=np.float32)
    lens = Intrinsics(500.1 + index, 490.7, width / 2 + 0.3, height / 2 - 0.1, width, height)
    return Tick(
        index=index,
        camera=Camera(lens, pose(index)),
        depth=depth,
        time_ns=index * 41_666_667,
        tracks=track_set(index) if tracks else None,
        seeds=track_set(index + 10_000) if seeds else None,
        depth_declaration=declaration,
    )


def write(path: Path, events: Iterable[Event], *, opened: SessionHeader | None = None, compress: bool = True) -> Path:
    with RecordingWriter(path, header=opened or header(), started_ns=STARTED_NS, compress=compress) as recording:
        for event in events:
            recording.write(event)
    return path


def key(event: Event) -> object:
    """What two events have in common exactly when they are the same, bit for bit."""
    if isinstance(event, CutEvent):
        return (event.at_tick, event.first_frame.shape, event.first_frame.tobytes(), event.remeasure)
    if isinstance(event, PromptEvent | Finish):
        return event
    return (
        event.index,
        event.time_ns,
        event.camera.intrinsics,
        event.camera.world_from_camera.matrix.tobytes(),
        event.depth_declaration,
        event.depth.shape,
        event.depth.dtype,
        event.depth.tobytes(),
        _track_key(event.tracks),
        _track_key(event.seeds),
        event.instances and (event.instances.ids.tobytes(), event.instances.world_from_instance.tobytes()),
        None if event.seed_instances is None else event.seed_instances.tobytes(),
    )


def _track_key(tracks: TrackSet | None) -> object:
    return tracks and (tracks.points.tobytes(), tracks.visibility.tobytes())
