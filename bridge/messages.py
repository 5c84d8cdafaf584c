"""The messages of the wire, as values. Field names, types and absence are those of `protos/longvie/bridge/v1`.

Both codecs (`bridge.codecs`) carry exactly these; `protos/README.md` is the normative text. A `Plane` is a block of
numbers or an image that travels beside the message's header and is never copied into it.

Laws: a message is a frozen value; a field that is None is absent; planes are decoded (`bridge.planes`) only where their
content is needed, and checked against declared bounds before anything is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = [
    "CLIENT_MESSAGES",
    "PROTOCOL_VERSION",
    "SERVER_MESSAGES",
    "Ack",
    "Cancel",
    "ClientMessage",
    "ClipDone",
    "Closed",
    "Cut",
    "DepthRangeMessage",
    "ErrorMessage",
    "Finish",
    "FrameMessage",
    "Hello",
    "Limits",
    "Message",
    "ModelInfo",
    "Notice",
    "Open",
    "Opened",
    "Ping",
    "Plane",
    "Pong",
    "Progress",
    "PromptChange",
    "Receipt",
    "Resume",
    "Resumed",
    "ServerMessage",
    "TickMessage",
    "TracksMessage",
    "Welcome",
    "WorldStateMessage",
]

PROTOCOL_VERSION: Final = 1
"""The newest version that this code speaks. A server also accepts the version before its own."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A block of numbers, or an encoded image.

    Args:
        dtype: of the elements as stored: float32, float64, float16, uint8, uint16 or uint32, little-endian.
        shape: of the elements, slowest axis first.
        compression: "" (raw), "zstd", or for images "png" and "jpeg".
        scale: uint16 depth only: the nearest z in metres; the stored value is round(65535 * scale / z), 0 for inf.
        data: the bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview = field(repr=False)
    compression: str = ""
    scale: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server accepts.

    Args:
        max_plane_bytes: of one plane, as sent and as decoded.
        max_message_bytes: of one message with its planes.
        max_sessions: per connection.
        resume_ttl_s: how long a session without a connection is kept.
    """

    max_plane_bytes: int = 64 * 2**20
    max_message_bytes: int = 128 * 2**20
    max_sessions: int = 16
    resume_ttl_s: float = 600.0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a server offers: its name, frame size, frame rate and denoising steps per clip."""

    name: str
    height: int
    width: int
    fps: int
    steps: int
    numerics: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DepthRangeMessage:
    """Near and far of `declared` depth, metres; far may be inf."""

    near_m: float
    far_m: float


@dataclass(frozen=True, slots=True)
class TracksMessage:
    """A track set: points (2500, 4) float32, visibility (2500,) uint8."""

    points: Plane
    visibility: Plane


@dataclass(frozen=True, slots=True)
class WorldStateMessage:
    """`bridge.WorldState` on the wire."""

    model: str
    clip: int
    next_tick: int
    shares_tick: bool
    seed: int
    prompt: str
    frames: Plane
    negative_prompt: str | None = None
    depth_range: DepthRangeMessage | None = None
    anchor: Plane | None = None


# --- client to server -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a connection."""

    min_version: int
    max_version: int
    client: str = ""
    features: tuple[str, ...] = ()
    token: str = ""


@dataclass(frozen=True, slots=True)
class Open:
    """Ask for a session.

    Args:
        key: chosen by the client, unguessable, at least 32 hex digits: names this request, so that a repeated `Open`
            opens nothing twice, and binds `Resume` to the client that opened.
        first_frame: (height, width, 3) uint8; absent with `continue_from`.
        depth_range: absent: measured on the first clip.
        frame_credit: frames that the client takes before it must grant more.
        numerics: refuse to open unless the server's agree on these keys.
    """

    key: str
    prompt: str = ""
    model: str = ""
    seed: int = 0
    negative_prompt: str | None = None
    first_frame: Plane | None = None
    continue_from: WorldStateMessage | None = None
    track_mode: str = "server"
    depth_range: DepthRangeMessage | None = None
    fit: str = ""
    frame_encoding: str = "png"
    jpeg_quality: int = 90
    frame_credit: int = 162
    first_tick: int = 0
    numerics: dict[str, str] = field(default_factory=dict)
    record: bool = False


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a session after the connection was lost."""

    session: str
    token: str
    key: str
    received_seq: int


@dataclass(frozen=True, slots=True)
class TickMessage:
    """One tick (`bridge.Tick`). `pose` is world_from_camera, 16 numbers row-major."""

    session: str
    seq: int
    index: int
    time_ns: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    width: int
    height: int
    pose: tuple[float, ...]
    depth: Plane
    depth_kind: str = "planar"
    metres_per_unit: float = 1.0
    near: float = 0.0
    far: float = 0.0
    reversed_z: bool = False
    bottom_row_first: bool = False
    background: float | None = None
    tracks: TracksMessage | None = None
    seeds: TracksMessage | None = None
    instance_ids: Plane | None = None
    world_from_instance: Plane | None = None
    seed_instances: Plane | None = None


@dataclass(frozen=True, slots=True)
class PromptChange:
    """From the first clip that starts at `from_tick` or later, the prompt is `text`."""

    session: str
    seq: int
    from_tick: int
    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The clip that runs ends before `at_tick`; a new one without history starts there, from its own first frame."""

    session: str
    seq: int
    at_tick: int
    first_frame: Plane
    remeasure: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """No tick follows: generate what is there, then close."""

    session: str
    seq: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop now; frames not yet sent are dropped."""

    session: str
    seq: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `received_seq` has arrived; `granted_frames` frames may be sent in all."""

    session: str
    received_seq: int
    granted_frames: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by a `Pong` with the same nonce."""

    nonce: int


# --- server to client -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answer to `Hello`."""

    version: int
    server: str = ""
    features: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    models: tuple[ModelInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """Answer to `Open`: the session's name, its secret, its frame size, and the first credit."""

    key: str
    session: str
    token: str
    model: ModelInfo
    first_tick: int
    clip: int
    granted_ticks: int
    seed: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Answer to `Resume`: send again what follows `received_seq`."""

    session: str
    received_seq: int
    granted_ticks: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """The tick `index` is accepted; everything up to `received_seq` has arrived; `granted_ticks` may be sent in all."""

    session: str
    index: int
    received_seq: int
    granted_ticks: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the running clip is.

    Args:
        stage: queued, control, encode, denoise or decode.
        step, steps: within the stage.
        eta_s: until the clip is done; negative while unknown.
        queue_place: clips of other sessions that go first.
    """

    session: str
    clip: int
    stage: str
    step: int = 0
    steps: int = 0
    eta_s: float = -1.0
    queue_place: int = 0


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """A generated frame and the tick it shows; `image` is (height, width, 3) uint8."""

    session: str
    seq: int
    index: int
    time_ns: int
    clip: int
    image: Plane


@dataclass(frozen=True, slots=True)
class ClipDone:
    """A clip is complete: its ticks, its seconds per stage, and the state from which any server can go on."""

    session: str
    seq: int
    clip: int
    first_tick: int
    last_tick: int
    timings: dict[str, float]
    state: WorldStateMessage


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know; the session goes on."""

    session: str
    seq: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: "finished", "cancelled" or "failed"; `frames` were sent in all."""

    session: str
    seq: int
    reason: str
    frames: int


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """Something was refused. `fatal` ends the session it names, or the connection where it names none."""

    code: str
    problem: str
    field: str = ""
    value: str = ""
    remedy: str = ""
    session: str = ""
    key: str = ""
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to `Ping`."""

    nonce: int


ClientMessage: TypeAlias = Hello | Open | Resume | TickMessage | PromptChange | Cut | Finish | Cancel | Ack | Ping
ServerMessage: TypeAlias = (
    Welcome | Opened | Resumed | Receipt | Progress | FrameMessage | ClipDone | Notice | Closed | ErrorMessage | Pong
)
Message: TypeAlias = ClientMessage | ServerMessage

CLIENT_MESSAGES: Final[dict[str, type[ClientMessage]]] = {
    "hello": Hello,
    "open": Open,
    "resume": Resume,
    "tick": TickMessage,
    "prompt": PromptChange,
    "cut": Cut,
    "finish": Finish,
    "cancel": Cancel,
    "ack": Ack,
    "ping": Ping,
}
"""Message types by their name on the wire."""

SERVER_MESSAGES: Final[dict[str, type[ServerMessage]]] = {
    "welcome": Welcome,
    "opened": Opened,
    "resumed": Resumed,
    "receipt": Receipt,
    "progress": Progress,
    "frame": FrameMessage,
    "clip_done": ClipDone,
    "notice": Notice,
    "closed": Closed,
    "error": ErrorMessage,
    "pong": Pong,
}
"""Message types by their name on the wire."""
