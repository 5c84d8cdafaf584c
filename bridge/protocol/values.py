"""Users' values to wire messages and back: ticks, track sets, world states, depth ranges.

The way in (`..._from_message`) validates: what it returns can be trusted. Errors name the field and the tick.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProtocolError
from ..geometry.camera import Camera, Intrinsics, Pose
from ..geometry.depth import DepthDeclaration, DepthKind
from ..messages import (
    DepthRangeMessage,
    Limits,
    Plane,
    TickMessage,
    TracksMessage,
    WorldStateMessage,
)
from ..planes import (
    array_from_plane,
    depth_from_plane,
    depth_to_plane,
    plane_from_array,
)
from ..tick import TRACK_COUNT, DepthRange, Instances, Tick, TrackSet, WorldState

__all__ = [
    "range_from_message",
    "range_to_message",
    "state_from_message",
    "state_to_message",
    "tick_from_message",
    "tick_to_message",
]


def tick_to_message(
    tick: Tick, *, session: str, seq: int, depth_encoding: str = "float32", compression: str = ""
) -> TickMessage:
    """Return a tick's message. The session keeps it until it is acknowledged, so arrays that may change are copied."""
    lens, declaration = tick.camera.intrinsics, tick.depth_declaration
    instances = tick.instances
    return TickMessage(
        session=session,
        seq=seq,
        index=tick.index,
        time_ns=tick.time_ns,
        fx_px=float(lens.fx_px),
        fy_px=float(lens.fy_px),
        cx_px=float(lens.cx_px),
        cy_px=float(lens.cy_px),
        width=lens.width,
        height=lens.height,
        pose=tuple(tick.camera.world_from_camera.matrix.ravel().tolist()),
        depth=depth_to_plane(_frozen(tick.depth), encoding=depth_encoding, compression=compression),
        depth_kind=declaration.kind.value,
        metres_per_unit=float(declaration.metres_per_unit),
        near=float(declaration.near),
        far=float(declaration.far),
        reversed_z=declaration.reversed_z,
        bottom_row_first=declaration.bottom_row_first,
        background=None if declaration.background is None else float(declaration.background),
        tracks=_tracks_to_message(tick.tracks),
        seeds=_tracks_to_message(tick.seeds),
        instance_ids=None if instances is None else plane_from_array(_frozen(instances.ids)),
        world_from_instance=None if instances is None else plane_from_array(_frozen(instances.world_from_instance)),
        seed_instances=None if tick.seed_instances is None else plane_from_array(_frozen(tick.seed_instances)),
    )


def tick_from_message(message: TickMessage, limits: Limits) -> Tick:
    """Return the tick of a message.

    Raises:
        UsageError: a value is out of range, or an array has the wrong shape; the field is named.
        ProtocolError: a plane is not what it says, or half of a pair is missing.
        LimitExceeded: a plane is over the limit.
    """
    if len(message.pose) != 16:
        raise ProtocolError(
            "must hold 16 numbers",
            field="tick.pose",
            value=len(message.pose),
            remedy="Send world_from_camera, row-major.",
        )
    if message.depth_kind not in DepthKind._value2member_map_:
        raise ProtocolError(
            "unknown", field="tick.depth_kind", value=message.depth_kind, remedy="Use planar, radial or device."
        )
    lens = Intrinsics(message.fx_px, message.fy_px, message.cx_px, message.cy_px, message.width, message.height)
    declaration = DepthDeclaration(
        kind=DepthKind(message.depth_kind),
        metres_per_unit=message.metres_per_unit,
        near=message.near,
        far=message.far,
        reversed_z=message.reversed_z,
        bottom_row_first=message.bottom_row_first,
        background=message.background,
    )
    seeds_under = message.seed_instances
    return Tick(
        index=message.index,
        camera=Camera(lens, Pose(np.array(message.pose).reshape(4, 4))),
        depth=depth_from_plane(message.depth, height=message.height, width=message.width, limits=limits),
        time_ns=message.time_ns,
        tracks=_tracks_from_message(message.tracks, "tick.tracks", limits),
        seeds=_tracks_from_message(message.seeds, "tick.seeds", limits),
        instances=_instances_from_message(message, limits),
        seed_instances=None
        if seeds_under is None
        else array_from_plane(
            seeds_under, name="tick.seed_instances", dtype="uint32", shape=(TRACK_COUNT,), limits=limits
        ),
        depth_declaration=declaration,
    )


def range_to_message(depth_range: DepthRange | None) -> DepthRangeMessage | None:
    """Return a depth range's message; None stays None."""
    return None if depth_range is None else DepthRangeMessage(float(depth_range.near_m), float(depth_range.far_m))


def range_from_message(message: DepthRangeMessage | None) -> DepthRange | None:
    """Return a message's depth range; None stays None. Raises InvalidValue."""
    return None if message is None else DepthRange(message.near_m, message.far_m)


def state_to_message(state: WorldState, *, compression: str = "") -> WorldStateMessage:
    """Return a world state's message."""
    return WorldStateMessage(
        model=state.model,
        clip=state.clip,
        next_tick=state.next_tick,
        shares_tick=state.shares_tick,
        seed=state.seed,
        prompt=state.prompt,
        frames=plane_from_array(state.frames, compression=compression),
        negative_prompt=state.negative_prompt,
        depth_range=range_to_message(state.depth_range),
        anchor=None if state.anchor is None else plane_from_array(state.anchor, compression=compression),
    )


def state_from_message(message: WorldStateMessage, limits: Limits) -> WorldState:
    """Return a message's world state.

    Raises:
        UsageError: a value is out of range or a shape is wrong.
        ProtocolError, LimitExceeded: its frames or its anchor are not what they say.
    """
    frames = _plane(message.frames, "continue_from.frames", "uint8", (-1, -1, -1, 3), limits)
    height, width = frames.shape[1:3]
    anchor = message.anchor
    return WorldState(
        model=message.model,
        clip=message.clip,
        next_tick=message.next_tick,
        shares_tick=message.shares_tick,
        seed=message.seed,
        prompt=message.prompt,
        frames=frames,
        negative_prompt=message.negative_prompt,
        depth_range=range_from_message(message.depth_range),
        anchor=None if anchor is None else _plane(anchor, "continue_from.anchor", "uint8", (height, width, 4), limits),
    )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that nobody will change: itself if it is read-only, else a copy."""
    if not array.flags.writeable:
        return array
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _tracks_to_message(tracks: TrackSet | None) -> TracksMessage | None:
    if tracks is None:
        return None
    return TracksMessage(plane_from_array(_frozen(tracks.points)), plane_from_array(_frozen(tracks.visibility)))


def _tracks_from_message(message: TracksMessage | None, name: str, limits: Limits) -> TrackSet | None:
    if message is None:
        return None
    return TrackSet(
        array_from_plane(message.points, name=f"{name}.points", dtype="float32", shape=(TRACK_COUNT, 4), limits=limits),
        array_from_plane(
            message.visibility, name=f"{name}.visibility", dtype="uint8", shape=(TRACK_COUNT,), limits=limits
        ),
    )


def _instances_from_message(message: TickMessage, limits: Limits) -> Instances | None:
    ids, transforms = message.instance_ids, message.world_from_instance
    if ids is None and transforms is None:
        return None
    if ids is None or transforms is None:
        raise ProtocolError(
            "come in pairs",
            field="tick.instance_ids" if ids is None else "tick.world_from_instance",
            remedy="Send instance_ids and world_from_instance together.",
        )
    return Instances(
        _plane(ids, "tick.instance_ids", "uint32", (-1,), limits),
        _plane(transforms, "tick.world_from_instance", "float64", (-1, 4, 4), limits),
    )


def _plane(plane: Plane, name: str, dtype: str, shape: tuple[int, ...], limits: Limits) -> NDArray[Any]:
    return array_from_plane(plane, name=name, dtype=dtype, shape=shape, limits=limits)
