"""The gRPC form: strictness, merging, limits and views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bridge.codecs.protobuf_codec import (
    MAX_HEADER_BYTES,
    decode_client_message,
    decode_server_message,
    encode,
    message_class,
)
from bridge.errors import InvalidValue, LimitExceeded, ProtocolError
from bridge.messages import Ack, Cut, Finish, FrameMessage, Limits, Open, Ping, Plane, PromptChange, TickMessage

LIMITS = Limits()
IMAGE = Plane("uint8", (1, 2, 3), b"abcdef")


def client(**members: Any) -> Any:
    return message_class("ClientEnvelope")(**members)


def test_by_hand() -> None:
    # Member 3 (ping), 2 bytes: field 1, varint 7.
    assert encode(Ping(7)) == b"\x1a\x02\x08\x07"
    assert decode_client_message(b"\x1a\x02\x08\x07", LIMITS) == Ping(7)


def test_planes_by_hand() -> None:
    data = encode(FrameMessage("s", 1, 2, 3, 4, IMAGE))
    assert data.endswith(b"\x1a\x06abcdef")
    assert data.count(b"abcdef") == 1
    assert message_class("ServerEnvelope").FromString(data).frame.image.data == b"abcdef"


def test_planes_are_views_of_what_arrived() -> None:
    data = encode(FrameMessage("s", 1, 2, 3, 4, IMAGE))
    message = decode_server_message(data, LIMITS)
    assert isinstance(message, FrameMessage)
    assert isinstance(message.image.data, memoryview)
    assert message.image.data.obj is data


def test_a_view_of_an_array_is_a_plane() -> None:
    array = np.arange(6, dtype="<f4")
    data = encode(Cut("s", 1, 2, Plane("float32", (6,), array.data.cast("B"))))
    message = decode_client_message(data, LIMITS)
    assert isinstance(message, Cut)
    assert np.frombuffer(message.first_frame.data, "<f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_absent_is_the_default_and_zero_is_zero() -> None:
    absent = decode_client_message(client(open={"key": "k"}).SerializeToString(), LIMITS)
    assert absent == Open(key="k")
    assert isinstance(absent, Open)
    assert (absent.frame_credit, absent.track_mode, absent.negative_prompt) == (162, "server", None)
    zero = client(open={"key": "k", "frame_credit": 0, "track_mode": "", "negative_prompt": ""})
    assert decode_client_message(zero.SerializeToString(), LIMITS) == Open(
        key="k", frame_credit=0, track_mode="", negative_prompt=""
    )


def test_a_message_in_pieces_is_one_message() -> None:
    """Protobuf's rule: what is sent twice merges, the later value wins."""
    first = client(cut={"session": "a", "seq": 1, "first_frame": {"dtype": "uint8", "shape": [6], "data": b"zzzzzz"}})
    second = client(cut={"session": "b", "at_tick": 5, "first_frame": {"data": b"abcdef"}})
    data = first.SerializeToString() + second.SerializeToString()
    expected = Cut("b", 1, 5, Plane("uint8", (6,), b"abcdef"))
    assert decode_client_message(data, LIMITS) == expected
    merged = message_class("ClientEnvelope").FromString(data).SerializeToString()
    assert decode_client_message(merged, LIMITS) == expected


def test_unknown_fields_are_ignored() -> None:
    inner = b"\x0a\x01s\x10\x05" + b"\xf8\x07\x2a" + b"\xfa\x07\x03new" + b"\xfd\x07\x00\x00\x00\x00"
    data = b"\x4a" + bytes([len(inner)]) + inner + b"\xfa\x07\x05later"
    assert decode_client_message(data, LIMITS) == Finish("s", 5)


@pytest.mark.parametrize("data", [b"", b"\xfa\x07\x03new"])
def test_unknown_message(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="unknown message") as caught:
        decode_client_message(data, LIMITS)
    assert caught.value.field == "envelope"
    assert "hello" in caught.value.remedy


def test_two_messages_in_one_envelope() -> None:
    with pytest.raises(ProtocolError, match="two messages") as caught:
        decode_client_message(encode(Ping(1)) + encode(Finish("s", 1)), LIMITS)
    assert caught.value.value == "ping, finish"


def test_a_missing_plane_is_named() -> None:
    with pytest.raises(ProtocolError, match="missing") as caught:
        decode_client_message(client(cut={"session": "s", "seq": 1}).SerializeToString(), LIMITS)
    assert caught.value.field == "cut.first_frame"


def test_half_a_track_set_is_named() -> None:
    tick = client(tick={"session": "s", "depth": {"dtype": "float32"}, "seeds": {"points": {"dtype": "float32"}}})
    with pytest.raises(ProtocolError) as caught:
        decode_client_message(tick.SerializeToString(), LIMITS)
    assert caught.value.field == "tick.seeds.visibility"


@pytest.mark.parametrize("shape", [[-1], [1, 1, 1, 1, 1], [2**20, 2**20], [2**62, 2**62]])
def test_a_shape_that_is_none(shape: list[int]) -> None:
    cut = client(cut={"session": "s", "first_frame": {"dtype": "uint8", "shape": shape}})
    with pytest.raises(ProtocolError) as caught:
        decode_client_message(cut.SerializeToString(), LIMITS)
    assert caught.value.field == "cut.first_frame.shape"


def test_text_that_is_no_unicode() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_client_message(b"\x4a\x03\x0a\x01\xff", LIMITS)
    assert caught.value.field == "finish"


def test_a_message_over_the_limit() -> None:
    data = encode(Cut("s", 1, 2, Plane("uint8", (64,), bytes(64))))
    with pytest.raises(LimitExceeded) as caught:
        decode_client_message(data, Limits(max_message_bytes=len(data) - 1))
    assert str(len(data) - 1) in str(caught.value)
    assert isinstance(decode_client_message(data, Limits(max_message_bytes=len(data))), Cut)


@pytest.mark.parametrize(
    "data",
    [
        b"\xfa\x07\x81\x80\x40" + bytes(MAX_HEADER_BYTES + 1),  # an unknown field of the envelope
        encode(PromptChange("s", 1, 2, "x" * MAX_HEADER_BYTES)),
        # A shape of one byte per number, which would unfold into eight.
        encode(Cut("s", 1, 2, Plane("uint8", tuple([1] * MAX_HEADER_BYTES), b""))),
    ],
    ids=["unknown", "text", "shape"],
)
def test_only_planes_may_be_large(data: bytes) -> None:
    with pytest.raises(LimitExceeded) as caught:
        decode_client_message(data, LIMITS)
    assert str(MAX_HEADER_BYTES) in str(caught.value)
    large = encode(Cut("s", 1, 2, Plane("uint8", (2 * MAX_HEADER_BYTES,), bytes(2 * MAX_HEADER_BYTES))))
    assert isinstance(decode_client_message(large, LIMITS), Cut)


@pytest.mark.parametrize("data", [b"\x08\x01" * 4097, b"\x42\x00" * 4097], ids=["unknown", "pieces"])
def test_fields_are_counted(data: bytes) -> None:
    with pytest.raises(LimitExceeded, match="4096 fields"):
        decode_client_message(data, LIMITS)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (PromptChange("s", 1, 2, "\ud800"), "PromptChange.text"),
        (Ack("s", 2**63, 1), "Ack.received_seq"),
    ],
)
def test_what_does_not_fit_is_not_sent(message: Any, field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        encode(message)
    assert caught.value.field == field


def test_only_the_other_sides_messages_are_read() -> None:
    tick = TickMessage("s", 1, 0, 0, 1.0, 1.0, 1.0, 1.0, 3, 2, (0.0,) * 16, IMAGE)
    with pytest.raises(ProtocolError):
        decode_server_message(encode(tick), LIMITS)
