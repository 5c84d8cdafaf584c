"""Messages through the pipe: each one comes back as it went in; whatever else comes is told apart from an end."""

from __future__ import annotations

import io
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import InvalidValue, LimitExceeded, ProtocolError
from bridge.tick import DepthRange
from longvie_server.worker.events import Cancelled, Done, Failed, LoadFailed, Painted, Progress, Ready
from longvie_server.worker.messages import (
    CancelClip,
    Close,
    FramesWritten,
    Message,
    PaintAhead,
    PlanesAt,
    PlanesAttached,
    RunClip,
    read_message,
    write_message,
)
from longvie_server.world_model.interface import ModelSpec

SPEC = ModelSpec(name="tiny", height=96, width=160, steps=4, numerics={"device": "cpu", "threads": "2"})
RUN = RunClip(
    7, 81, "tiny", 3, 240, True, 2**63 - 1, "ein Weg, bergauf ⛰", None, DepthRange(0.1, float("inf")), 8, True
)
MESSAGES: list[Message] = [
    PlanesAt("longvie-1-abcd", 96, 160),
    PlanesAttached(),
    RUN,
    PaintAhead(8, 40, None),
    CancelClip(7),
    Close(),
    Ready(SPEC),
    Painted(7, DepthRange(1 / 3, 30.0), 0.25),
    Painted(8, DepthRange(1.0, 2.0), 0.5, fitting_range=DepthRange(3.0, float("inf"))),
    Progress(7, "denoise", 2, 4),
    FramesWritten(7, 1, 4),
    Done(7, {"control": 0.1, "total": 2.5}),
    Cancelled(7),
]


class Slow(io.BytesIO):
    """A pipe that gives and takes a byte at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1))

    def write(self, data: object, /) -> int:
        return super().write(bytes(memoryview(data)[:1]))  # type: ignore[call-overload]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("pipe_type", [io.BytesIO, Slow])
def test_a_message_comes_back_as_it_went_in(message: Message, pipe_type: type[io.BytesIO]) -> None:
    pipe = pipe_type()
    write_message(pipe, message)
    write_message(pipe, CancelClip(1))
    pipe.seek(0)
    assert read_message(pipe) == message
    assert read_message(pipe) == CancelClip(1)
    assert read_message(pipe) is None


@pytest.mark.parametrize("kind", [Failed, LoadFailed])
def test_an_error_keeps_its_type_and_its_words(kind: type[Failed] | type[LoadFailed]) -> None:
    error = InvalidValue("is wrong", field="seed", value=-1, remedy="Choose another.")
    pipe = io.BytesIO()
    write_message(pipe, Failed(1, error) if kind is Failed else LoadFailed(error))
    pipe.seek(0)
    message = read_message(pipe)
    assert isinstance(message, kind)
    assert type(message.error) is InvalidValue
    assert str(message.error) == str(error)


def test_an_end_in_the_middle_of_a_message_is_an_end() -> None:
    pipe = io.BytesIO()
    write_message(pipe, RUN)
    whole = pipe.getvalue()
    for length in range(len(whole)):
        assert read_message(io.BytesIO(whole[:length])) is None


def framed(body: bytes) -> io.BytesIO:
    return io.BytesIO(len(body).to_bytes(4, "little") + body)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Sesame"},
        {"kind": "Close", "more": 1},
        {"kind": "CancelClip"},
        {"no": "kind"},
        [1, 2],
        {"kind": "Painted", "job_id": 1, "depth_range": [-1.0, 2.0], "saturated_fraction": 0.0},
        {"kind": "Failed", "job_id": 1, "error": 3},
    ],
)
def test_what_is_no_message_is_refused(body: object) -> None:
    with pytest.raises(ProtocolError):
        read_message(framed(msgpack.packb(body)))


@given(st.binary(max_size=64))
def test_random_bytes_are_refused_or_an_end(data: bytes) -> None:
    for pipe in (io.BytesIO(data), framed(data)):
        with suppress(ProtocolError):
            assert read_message(pipe) is None


def test_lengths_are_checked_before_anything_is_read_and_on_the_way_out() -> None:
    class Untouchable(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size == 4
            return super().read(size)

    with pytest.raises(ProtocolError):
        read_message(Untouchable(b"\xff\xff\xff\xff"))
    pipe = io.BytesIO()
    with pytest.raises(LimitExceeded):
        write_message(pipe, PlanesAt("x" * 2**24, 1, 1))
    assert pipe.getvalue() == b""
