"""LongVie Bridge: send an engine's ticks, receive generated video.

::

    with bridge.connect("tcp://gpu-box:5555", token=...) as server:
        with server.open(prompt="...", first_frame=image, seed=7) as session:
            for tick in my_engine:
                session.send(tick)
            for frame in session.frames():
                ...

This is the light client: numpy and Pillow; ZeroMQ and gRPC are imported when their URL is used; never torch.
"""

from .client import Server, Session, connect
from .errors import BridgeError, ConnectFailed, ConnectionLost, PeerError, ServerError, TransportError, UsageError
from .geometry.camera import Camera, Intrinsics, Pose
from .geometry.depth import DepthDeclaration, DepthKind
from .session import SessionOptions
from .tick import (
    CLIP_STRIDE,
    CLIP_TICKS,
    FPS,
    TRACK_COUNT,
    TRACK_GRID,
    DepthRange,
    Frame,
    Instances,
    Receipt,
    Tick,
    TrackMode,
    TrackSet,
    Visibility,
    WorldState,
)

__all__ = [
    "CLIP_STRIDE",
    "CLIP_TICKS",
    "FPS",
    "TRACK_COUNT",
    "TRACK_GRID",
    "BridgeError",
    "Camera",
    "ConnectFailed",
    "ConnectionLost",
    "DepthDeclaration",
    "DepthKind",
    "DepthRange",
    "Frame",
    "Instances",
    "Intrinsics",
    "PeerError",
    "Pose",
    "Receipt",
    "Server",
    "ServerError",
    "Session",
    "SessionOptions",
    "Tick",
    "TrackMode",
    "TrackSet",
    "TransportError",
    "UsageError",
    "Visibility",
    "WorldState",
    "connect",
]
__version__ = "0.1.0"
