"""Golden files of the wire: `python tests/golden/wire/make.py` writes them again from the messages below.

For each example: NAME.json (readable; planes' bytes in hex), NAME.msgpack.bin (the parts of the ZeroMQ form after each
other, each behind its length as a little-endian uint32) and NAME.pb.bin (the gRPC envelope). Every language that speaks
the protocol decodes both to what the JSON says.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from pathlib import Path
from typing import Any, Final

from bridge.codecs import msgpack_codec, protobuf_codec
from bridge.messages import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    Ack,
    Cancel,
    ClipDone,
    Closed,
    Cut,
    DepthRangeMessage,
    ErrorMessage,
    Finish,
    FrameMessage,
    Hello,
    Limits,
    Message,
    ModelInfo,
    Notice,
    Open,
    Opened,
    Ping,
    Plane,
    Pong,
    Progress,
    PromptChange,
    Receipt,
    Resume,
    Resumed,
    TickMessage,
    TracksMessage,
    Welcome,
    WorldStateMessage,
)

FOLDER: Final = Path(__file__).resolve().parent
WIRE_NAMES: Final = {cls: name for table in (CLIENT_MESSAGES, SERVER_MESSAGES) for name, cls in table.items()}

_SESSION: Final = "s-0001"
_KEY: Final = "00112233445566778899aabbccddeeff"
_DEPTH: Final = Plane("float32", (2, 3), struct.pack("<6f", 0.5, 1.0, 1.5, 2.0, 1024.0, math.inf))
_INVERSE: Final = Plane("uint16", (2, 3), struct.pack("<6H", 65535, 32768, 21845, 16384, 32, 0), scale=0.5)
_IMAGE: Final = Plane("uint8", (2, 2, 3), bytes(range(10, 130, 10)))
_TRACKS: Final = TracksMessage(
    Plane("float32", (2, 4), struct.pack("<8f", 1.0, -2.0, 3.5, 1.0, 0.0, 0.0, 1.0, 0.0)),
    Plane("uint8", (2,), bytes((0, 2))),
)
_SEEDS: Final = TracksMessage(
    Plane("float32", (1, 4), struct.pack("<4f", 0.25, 0.5, 0.75, 1.0)), Plane("uint8", (1,), bytes((1,)))
)
_POSE: Final = (1.0, 0.0, 0.0, 0.25, 0.0, 0.0, -1.0, 0.5, 0.0, 1.0, 0.0, -0.75, 0.0, 0.0, 0.0, 1.0)
_MODEL: Final = ModelInfo("tiny", 96, 160, 16, 4, {"device": "cpu", "dtype": "float32"})
_STATE: Final = WorldStateMessage(
    model="tiny",
    clip=3,
    next_tick=240,
    shares_tick=True,
    seed=2**63 - 1,
    prompt="un café à l'aube 🌅",
    frames=Plane("uint8", (1, 1, 2, 3), bytes((0, 1, 2, 253, 254, 255))),
    negative_prompt="",
    depth_range=DepthRangeMessage(0.5, math.inf),
)
_LATER: Final = dataclasses.replace(_STATE, anchor=Plane("uint8", (1, 2, 4), bytes((9, 8, 7, 6, 252, 251, 250, 249))))

EXAMPLES: Final[dict[str, Message]] = {
    "hello": Hello(1, 2, "golden", ("zstd", "inverse16"), "sésame"),
    "hello_minimal": Hello(1, 1),
    "open": Open(
        key=_KEY,
        prompt="a street at dusk",
        model="tiny",
        seed=7,
        negative_prompt="blurry",
        first_frame=_IMAGE,
        track_mode="engine",
        depth_range=DepthRangeMessage(0.5, 100.0),
        fit="crop",
        frame_encoding="jpeg",
        jpeg_quality=75,
        frame_credit=324,
        first_tick=40,
        numerics={"device": "cpu", "threads": "2"},
        record=True,
    ),
    "open_minimal": Open(key=_KEY, prompt="a street at dusk", first_frame=_IMAGE),
    "open_zero_is_not_absent": Open(
        key=_KEY, negative_prompt="", track_mode="", frame_encoding="", jpeg_quality=0, frame_credit=0
    ),
    "open_continue": Open(key=_KEY, continue_from=_STATE, first_tick=240),
    "resume": Resume(_SESSION, "secret", _KEY, 17),
    "tick": TickMessage(
        session=_SESSION,
        seq=81,
        index=80,
        time_ns=5_000_000_000,
        fx_px=554.25,
        fy_px=554.5,
        cx_px=1.5,
        cy_px=1.0,
        width=3,
        height=2,
        pose=_POSE,
        depth=_DEPTH,
        depth_kind="device",
        metres_per_unit=0.01,
        near=0.1,
        far=math.inf,
        reversed_z=True,
        bottom_row_first=True,
        background=1.0,
        tracks=_TRACKS,
        seeds=_SEEDS,
        instance_ids=Plane("uint32", (2,), struct.pack("<2I", 1, 4_000_000_000)),
        world_from_instance=Plane("float64", (1, 4, 4), struct.pack("<16d", *_POSE)),
        seed_instances=Plane("uint32", (3,), struct.pack("<3I", 0, 1, 4_000_000_000)),
    ),
    "tick_minimal": TickMessage(_SESSION, 1, 0, -1, 2.0, 2.0, 1.5, 1.0, 3, 2, _POSE, _DEPTH),
    "tick_inverse16": TickMessage(_SESSION, 1, 0, 0, 2.0, 2.0, 1.5, 1.0, 3, 2, _POSE, _INVERSE, background=0.0),
    "prompt": PromptChange(_SESSION, 82, 160, "the rain begins"),
    "cut": Cut(_SESSION, 83, 100, _IMAGE, remeasure=True),
    "finish": Finish(_SESSION, 500),
    "cancel": Cancel(_SESSION, 501),
    "ack": Ack(_SESSION, 243, 405),
    "ping": Ping(2**62 + 1),
    "welcome": Welcome(1, "golden", ("zstd",), Limits(2**20, 2**21, 2, 0.5), (_MODEL, ModelInfo("fake", 8, 16, 16, 1))),
    "welcome_minimal": Welcome(1),
    "opened": Opened(_KEY, _SESSION, "secret", _MODEL, 0, 0, 97, 7),
    "resumed": Resumed(_SESSION, 80, 177),
    "receipt": Receipt(_SESSION, 80, 81, 177),
    "progress": Progress(_SESSION, 2, "denoise", 3, 4, 1.25, 1),
    "progress_minimal": Progress(_SESSION, 0, "queued"),
    "frame": FrameMessage(_SESSION, 12, 11, 687_500_000, 0, _IMAGE),
    "clip_done": ClipDone(_SESSION, 83, 2, 160, 240, {"control": 0.25, "denoise": 1.5}, _LATER),
    "notice": Notice(_SESSION, 84, "depth.saturated", "31 % of the pixels are beyond the range"),
    "closed": Closed(_SESSION, 85, "finished", 241),
    "error": ErrorMessage(
        "usage.value", "must not be negative", "tick.index", "-1", "Count from 0.", _SESSION, "", True
    ),
    "error_minimal": ErrorMessage("peer.token", "is missing"),
    "pong": Pong(-1),
}


def readable(value: Any) -> Any:
    """Return a message's value as JSON has it: every field, None for absent, bytes in hex, infinity as a word."""
    if dataclasses.is_dataclass(value):
        return {field.name: readable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (bytes, memoryview)):
        return value.hex()
    if isinstance(value, tuple):
        return [readable(item) for item in value]
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def render(message: Message) -> dict[str, bytes]:
    """Return the files of an example, by suffix."""
    text = json.dumps({"type": WIRE_NAMES[type(message)], **readable(message)}, indent=2, ensure_ascii=False)
    parts = msgpack_codec.encode(message)
    return {
        ".json": (text + "\n").encode(),
        ".msgpack.bin": b"".join(struct.pack("<I", len(part)) + bytes(part) for part in parts),
        ".pb.bin": protobuf_codec.encode(message),
    }


def split_parts(data: bytes) -> list[bytes]:
    """Return the parts of a .msgpack.bin file."""
    parts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        parts.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return parts


if __name__ == "__main__":
    for name, example in EXAMPLES.items():
        for suffix, content in render(example).items():
            (FOLDER / (name + suffix)).write_bytes(content)
