"""The pipe between a worker and its parent: msgpack maps, each after its length; never a plane, never a pickle.

Parent to worker: `PlanesAt` once, then `RunClip`, `PaintAhead`, `CancelClip`, `Close`. Worker to parent: `Ready` or
`LoadFailed`, `PlanesAttached`, then per job `Painted`, `Progress`, `FramesWritten` and `Done`, `Failed` or `Cancelled`.
From a worker's first process to its others (`ranks`): `PlanesAt` once, `RunClip`, `PaintAhead`, `GoOn`, `CancelClip`,
`Close`.
The end of a pipe is the end of the process behind it.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import msgpack

from bridge.errors import BridgeError, LimitExceeded, ProtocolError, error_from_code
from bridge.tick import DepthRange

from ..world_model.interface import ModelSpec
from .events import Cancelled, Done, Failed, LoadFailed, Painted, Progress, Ready

__all__ = [
    "CancelClip",
    "Close",
    "FramesWritten",
    "GoOn",
    "Message",
    "PaintAhead",
    "PlanesAt",
    "PlanesAttached",
    "RawStream",
    "RunClip",
    "read_message",
    "write_message",
]

_LENGTH: Final = struct.Struct("<I")
_LARGEST: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class PlanesAt:
    """The parent's shared memory block for frames of this size is ready under this name."""

    name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class PlanesAttached:
    """The worker has the block open; its name is needed no more."""


@dataclass(frozen=True, slots=True)
class RunClip:
    """Make the clip whose arrays lie in the block.

    `history` is how many frames its state has, `anchor` whether it has an anchor.
    """

    job_id: int
    measure_ticks: int
    model: str
    clip: int
    next_tick: int
    shares_tick: bool
    seed: int
    prompt: str
    negative_prompt: str | None
    depth_range: DepthRange | None
    history: int
    anchor: bool


@dataclass(frozen=True, slots=True)
class PaintAhead:
    """The geometry of the job that comes after the running one lies in the block: its control videos can be painted."""

    job_id: int
    measure_ticks: int
    depth_range: DepthRange | None


@dataclass(frozen=True, slots=True)
class CancelClip:
    """Stop the job, if it is still the running one."""

    job_id: int


@dataclass(frozen=True, slots=True)
class GoOn:
    """Among the processes of one worker: take the clip's next step."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Close:
    """Stop what is running and end."""


@dataclass(frozen=True, slots=True)
class FramesWritten:
    """The frames `first` .. `first + count - 1` of the clip lie in the block."""

    job_id: int
    first: int
    count: int


Message: TypeAlias = (
    PlanesAt
    | PlanesAttached
    | RunClip
    | PaintAhead
    | CancelClip
    | GoOn
    | Close
    | Ready
    | LoadFailed
    | Painted
    | Progress
    | FramesWritten
    | Done
    | Failed
    | Cancelled
)
_KINDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in Message.__args__}


class RawStream(Protocol):
    """An unbuffered pipe end, as `io.FileIO`: both calls may do less than they were asked for."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes; none at the end."""
        ...

    def write(self, data: memoryview, /) -> int | None:
        """Write some of the data and return how much."""
        ...


def write_message(stream: RawStream, message: Message) -> None:
    """Write a message.

    Raises:
        LimitExceeded: it is longer than 16 MiB.
        OSError: nobody reads the pipe any more.
    """
    fields = {field.name: _plain(getattr(message, field.name)) for field in dataclasses.fields(message)}
    body = msgpack.packb({"kind": type(message).__name__, **fields})
    if len(body) > _LARGEST:
        raise LimitExceeded(
            f"the message is longer than {_LARGEST} bytes",
            field=type(message).__name__,
            value=len(body),
            remedy="Shorten the prompt.",
        )
    rest = memoryview(_LENGTH.pack(len(body)) + body)
    while rest:
        rest = rest[stream.write(rest) or 0 :]


def read_message(stream: RawStream) -> Message | None:
    """Return the next message, or None at the end of the pipe, in the middle of a message as well.

    Raises:
        ProtocolError: what was read is no message.
    """
    head = _read(stream, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _LARGEST:
        raise _unreadable(f"a length of {length} bytes")
    body = _read(stream, length)
    if body is None:
        return None
    try:
        fields = msgpack.unpackb(body)
        kind = _KINDS[fields.pop("kind")]
        message: Message = kind(**{name: _FIELDS.get(name, _same)(value) for name, value in fields.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(f"{type(error).__name__}: {error}") from error
    return message


def _read(stream: RawStream, count: int) -> bytes | None:
    parts = []
    while count:
        part = stream.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _unreadable(value: str) -> ProtocolError:
    return ProtocolError(
        "what came through the worker's pipe is no message",
        field="worker",
        value=value,
        remedy="Run one version of longvie_server on both sides, and let nothing else write to the worker's output.",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, DepthRange):
        return [value.near_m, value.far_m]
    if isinstance(value, ModelSpec):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {**fields, "numerics": dict(value.numerics)}
    if isinstance(value, BridgeError):
        return {
            "code": value.code,
            "problem": value.problem,
            "field": value.field,
            "value": value.value,
            "remedy": value.remedy,
        }
    return value


def _same(value: Any) -> Any:
    return value


def _depth_range(value: list[float] | None) -> DepthRange | None:
    return None if value is None else DepthRange(*value)


def _spec(value: dict[str, Any]) -> ModelSpec:
    return ModelSpec(**value)


def _error(value: dict[str, str]) -> BridgeError:
    return error_from_code(**value)


_FIELDS: Final[dict[str, Callable[[Any], Any]]] = {
    "depth_range": _depth_range,
    "fitting_range": _depth_range,
    "spec": _spec,
    "error": _error,
}
