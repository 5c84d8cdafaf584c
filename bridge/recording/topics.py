"""The channels of a recording: one table, which writer and reader share.

For viewers, as Foxglove protobuf messages:

====================== =============================== ===============================================================
/camera/calibration    foxglove.CameraCalibration      lens of the tick; pixel centres at integers, as ROS counts
/tf                    foxglove.FrameTransforms        world -> camera, world -> instance_N
/camera/depth          foxglove.RawImage (32FC1)       planar metres, top row first, inf where nothing was hit
/camera/depth/as_sent  foxglove.RawImage (32FC1)       the engine's own plane, only where it was not planar metres
/camera/reference      foxglove.CompressedImage (png)  the engine's own render, where it gave one
/tracks                foxglove.PointCloud             the running clip's points: x y z w float32, id, visibility
/tracks/seeds          foxglove.PointCloud             the points of the clip that begins at this tick
/session/first_frame   foxglove.CompressedImage (png)  the image that the session started from
/cut/first_frame       foxglove.CompressedImage (png)  the image after a cut
/prompt                foxglove.Log                    a new prompt; sequence = the tick from which it holds
/generated             foxglove.CompressedImage (png)  the frame that shows this tick
/world_state/frames    foxglove.CompressedImage (png)  the frames of a world state; sequence = place in the state
/world_state/anchor    foxglove.CompressedImage (png)  its anchor, where it has one: 0 the frame, 1 its grey as RGB
====================== =============================== ===============================================================

For exact reading, as JSON with a JSON Schema: /session, /tick, /instances, /seed_instances, /cut, /finish,
/generated/info, /world_state. Each is written after the messages above that belong to it, and makes them valid: what
was cut off before its JSON message does not count.

Laws: log time = publish time = the session's start + tick / fps; sequence = the tick's index, unless the table says
otherwise. The order of messages in the file is the order in which things happened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from mcap_protobuf.schema import build_file_descriptor_set

__all__ = ["FORMAT", "TOPICS", "Topic"]

FORMAT: Final = 1
"""Version of this layout, in /session. A reader refuses a newer one."""

CALIBRATION: Final = "/camera/calibration"
TRANSFORMS: Final = "/tf"
DEPTH: Final = "/camera/depth"
DEPTH_AS_SENT: Final = "/camera/depth/as_sent"
REFERENCE: Final = "/camera/reference"
TRACKS: Final = "/tracks"
SEEDS: Final = "/tracks/seeds"
INSTANCES: Final = "/instances"
SEED_INSTANCES: Final = "/seed_instances"
TICK: Final = "/tick"
SESSION: Final = "/session"
FIRST_FRAME: Final = "/session/first_frame"
PROMPT: Final = "/prompt"
CUT: Final = "/cut"
CUT_FIRST_FRAME: Final = "/cut/first_frame"
FINISH: Final = "/finish"
GENERATED: Final = "/generated"
GENERATED_INFO: Final = "/generated/info"
STATE: Final = "/world_state"
STATE_FRAMES: Final = "/world_state/frames"
STATE_ANCHOR: Final = "/world_state/anchor"


@dataclass(frozen=True, slots=True)
class Topic:
    """A channel: its name, how its messages are encoded ("protobuf" or "json"), and its schema."""

    name: str
    message_encoding: str
    schema_name: str
    schema_encoding: str
    schema: bytes


def _foxglove(topic: str, message: Any) -> Topic:
    schema = build_file_descriptor_set(message).SerializeToString()
    return Topic(topic, "protobuf", message.DESCRIPTOR.full_name, "protobuf", schema)


def _json(topic: str, name: str, **properties: Any) -> Topic:
    schema = {"title": name, "type": "object", "properties": properties, "required": list(properties)}
    return Topic(topic, "json", name, "jsonschema", json.dumps(schema).encode())


_INTEGER: Final = {"type": "integer"}
_NUMBER: Final = {"type": "number"}
_NUMBER_OR_INF: Final = {"type": ["number", "string"], "description": 'a number, or "inf"'}
_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_FLAG: Final = {"type": "boolean"}
_BASE64: Final = {"type": "string", "contentEncoding": "base64"}
_INTRINSICS: Final = {
    "type": "object",
    "properties": {
        **{name: _NUMBER for name in ("fx_px", "fy_px", "cx_px", "cy_px")},
        **{name: _INTEGER for name in ("width", "height")},
    },
}
_DECLARATION: Final = {
    "type": "object",
    "properties": {
        "kind": _TEXT,
        **{name: _NUMBER_OR_INF for name in ("metres_per_unit", "near", "far")},
        **{name: _FLAG for name in ("reversed_z", "bottom_row_first")},
        "background": {"type": ["number", "string", "null"]},
    },
}
_DEPTH_RANGE: Final = {"type": ["object", "null"], "properties": {"near_m": _NUMBER, "far_m": _NUMBER_OR_INF}}

TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        _json(
            SESSION,
            "longvie.bridge.Session",
            format=_INTEGER,
            started_ns=_INTEGER,
            prompt=_TEXT,
            negative_prompt=_TEXT_OR_NULL,
            seed=_INTEGER,
            model=_TEXT,
            track_mode=_TEXT,
            depth_range=_DEPTH_RANGE,
            fit=_TEXT_OR_NULL,
            fps=_INTEGER,
            numerics={"type": "object", "additionalProperties": _TEXT},
        ),
        _foxglove(FIRST_FRAME, CompressedImage),
        _foxglove(CALIBRATION, CameraCalibration),
        _foxglove(TRANSFORMS, FrameTransforms),
        _foxglove(DEPTH, RawImage),
        _foxglove(DEPTH_AS_SENT, RawImage),
        _foxglove(REFERENCE, CompressedImage),
        _foxglove(TRACKS, PointCloud),
        _foxglove(SEEDS, PointCloud),
        _json(
            INSTANCES,
            "longvie.bridge.Instances",
            index=_INTEGER,
            ids={"type": "array", "items": _INTEGER},
            world_from_instance={**_BASE64, "description": "(n, 4, 4) little-endian float64"},
        ),
        _json(
            SEED_INSTANCES,
            "longvie.bridge.SeedInstances",
            index=_INTEGER,
            ids={**_BASE64, "description": "(2500,) little-endian uint32"},
        ),
        _json(
            TICK,
            "longvie.bridge.Tick",
            index=_INTEGER,
            time_ns=_INTEGER,
            intrinsics=_INTRINSICS,
            world_from_camera={"type": "array", "items": _NUMBER, "description": "(4, 4) row-major"},
            depth_declaration=_DECLARATION,
            parts={"type": "array", "items": _TEXT, "description": "topics that complete this tick"},
        ),
        _foxglove(PROMPT, Log),
        _foxglove(CUT_FIRST_FRAME, CompressedImage),
        _json(CUT, "longvie.bridge.Cut", at_tick=_INTEGER, remeasure=_FLAG),
        _json(FINISH, "longvie.bridge.Finish", ticks=_INTEGER),
        _foxglove(GENERATED, CompressedImage),
        _json(GENERATED_INFO, "longvie.bridge.Frame", index=_INTEGER, time_ns=_INTEGER, clip=_INTEGER),
        _foxglove(STATE_FRAMES, CompressedImage),
        _foxglove(STATE_ANCHOR, CompressedImage),
        _json(
            STATE,
            "longvie.bridge.WorldState",
            model=_TEXT,
            clip=_INTEGER,
            next_tick=_INTEGER,
            shares_tick=_FLAG,
            seed=_INTEGER,
            prompt=_TEXT,
            negative_prompt=_TEXT_OR_NULL,
            depth_range=_DEPTH_RANGE,
            frames=_INTEGER,
            anchor=_FLAG,
        ),
    )
}
"""Every channel by its name."""
