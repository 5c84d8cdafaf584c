"""World states: what a clip and a cut make of one, and the same bytes again on the other side of the wire."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bridge.codecs import msgpack_codec, protobuf_codec
from bridge.errors import LimitExceeded, ProtocolError, ShapeMismatch
from bridge.messages import CLIENT_MESSAGES, Limits, Open, Plane
from bridge.protocol.values import state_from_message, state_to_message
from bridge.tick import DepthRange, WorldState

LIMITS = Limits()


def image(*values: int) -> NDArray[np.uint8]:
    """An image of two pixels, one above the other."""
    return np.array(values, np.uint8).reshape(2, 1, 3)


def state(frames: NDArray[np.uint8], anchor: NDArray[np.uint8] | None = None) -> WorldState:
    return WorldState("tiny", 0, 0, False, 7, "rain", frames, anchor=anchor)


def clip(first: int) -> NDArray[np.uint8]:
    """81 frames, each of one number more than the one before."""
    return np.broadcast_to(np.arange(first, first + 81, dtype=np.uint8)[:, None, None, None], (81, 2, 1, 3))


def grey(*values: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).reshape(2, 1)


def test_the_first_clip_sets_the_anchor_and_later_ones_keep_it() -> None:
    start = state(image(1, 2, 3, 4, 5, 6)[None])
    assert start.anchor is None
    first = start.after_clip(clip(100), grey(10, 20))
    assert first.anchor is not None
    assert first.anchor.tolist() == [[[1, 2, 3, 10]], [[4, 5, 6, 20]]]
    assert first.anchor.dtype == np.uint8
    assert first.anchor.flags.c_contiguous
    assert (first.clip, first.next_tick, first.frames[:, 0, 0, 0].tolist()) == (1, 80, list(range(173, 181)))
    second = first.after_clip(clip(0), grey(30, 40))
    assert second.anchor is first.anchor


def test_a_cut_takes_the_anchor_away_and_its_clip_sets_another() -> None:
    first = state(image(1, 2, 3, 4, 5, 6)[None]).after_clip(clip(100), grey(10, 20))
    cut = first.after_cut(at_tick=95, first_frame=image(9, 9, 9, 8, 8, 8))
    assert cut.anchor is None
    later = cut.after_clip(clip(0), grey(50, 60)).anchor
    assert later is not None
    assert later.tolist() == [[[9, 9, 9, 50]], [[8, 8, 8, 60]]]


def test_a_later_state_without_an_anchor_takes_the_frame_that_it_goes_on_from() -> None:
    # As a server of before there were anchors gave it.
    first = replace(state(image(1, 2, 3, 4, 5, 6)[None]).after_clip(clip(100), grey(10, 20)), anchor=None)
    second = first.after_clip(clip(0), grey(30, 40)).anchor
    assert second is not None
    assert second.tolist() == [[[180, 180, 180, 30]], [[180, 180, 180, 40]]]


@pytest.mark.parametrize(
    "anchor",
    [
        np.zeros((2, 1, 3), np.uint8),
        np.zeros((1, 2, 4), np.uint8),
        np.zeros((2, 1, 4), np.float32),
        np.zeros((1, 2, 1, 4), np.uint8),
    ],
)
def test_an_anchor_of_another_shape_is_refused(anchor: NDArray[np.uint8]) -> None:
    with pytest.raises(ShapeMismatch, match=r"must be \(2, 1, 4\) uint8") as caught:
        state(image(1, 2, 3, 4, 5, 6)[None], anchor)
    assert caught.value.field == "state.anchor"
    assert caught.value.value == f"{anchor.shape} {anchor.dtype}"
    assert caught.value.remedy == "Pass on the state exactly as the server gave it."


@st.composite
def states(draw: st.DrawFn) -> WorldState:
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    return WorldState(
        model=draw(st.text(max_size=9)),
        clip=draw(st.integers(0, 2**40)),
        next_tick=draw(st.integers(0, 2**40)),
        shares_tick=draw(st.booleans()),
        seed=draw(st.integers(0, 2**63 - 1)),
        prompt=draw(st.text(max_size=9)),
        frames=draw(hnp.arrays(np.uint8, (draw(st.sampled_from((1, 8))), *size, 3))),
        negative_prompt=draw(st.none() | st.text(max_size=9)),
        depth_range=draw(st.sampled_from((None, DepthRange(0.5, float("inf")), DepthRange(1 / 3, 1e9)))),
        anchor=draw(st.none() | hnp.arrays(np.uint8, (*size, 4))),
    )


@given(states(), st.sampled_from((msgpack_codec, protobuf_codec)), st.sampled_from(("", "zstd")))
def test_a_state_comes_back_over_either_wire(sent: WorldState, codec: object, compression: str) -> None:
    message = Open(key="0" * 32, continue_from=state_to_message(sent, compression=compression))
    if codec is msgpack_codec:
        parts = [bytes(part) for part in msgpack_codec.encode(message)]
        arrived = msgpack_codec.decode(parts, CLIENT_MESSAGES, LIMITS)
    else:
        arrived = protobuf_codec.decode(protobuf_codec.encode(message), CLIENT_MESSAGES, LIMITS)
    assert isinstance(arrived, Open)
    assert arrived.continue_from is not None
    got = state_from_message(arrived.continue_from, LIMITS)
    for name in ("model", "clip", "next_tick", "shares_tick", "seed", "prompt", "negative_prompt", "depth_range"):
        assert getattr(got, name) == getattr(sent, name)
    for one, other in ((got.frames, sent.frames), (got.anchor, sent.anchor)):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


BAD_ANCHORS: dict[str, tuple[Plane, type[Exception], str]] = {
    "of another size": (Plane("uint8", (1, 2, 4), bytes(8)), ShapeMismatch, r"must be \(2, 1, 4\) uint8"),
    "without its grey": (Plane("uint8", (2, 1, 3), bytes(6)), ShapeMismatch, r"must be \(2, 1, 4\) uint8"),
    "of floats": (Plane("float32", (2, 1, 4), bytes(32)), ShapeMismatch, r"must be \(2, 1, 4\) uint8"),
    "too short": (Plane("uint8", (2, 1, 4), bytes(7)), ProtocolError, "needs 8 bytes"),
    "as PNG": (Plane("uint8", (2, 1, 4), bytes(8), "png"), ProtocolError, "unknown compression"),
}


@pytest.mark.parametrize("name", BAD_ANCHORS)
def test_an_anchor_that_is_none_is_refused_by_its_name_on_the_wire(name: str) -> None:
    plane, error, words = BAD_ANCHORS[name]
    message = replace(state_to_message(state(image(1, 2, 3, 4, 5, 6)[None])), anchor=plane)
    with pytest.raises(error, match=words) as caught:
        state_from_message(message, LIMITS)
    assert getattr(caught.value, "field").startswith("continue_from.anchor")  # noqa: B009


def test_an_anchor_over_the_limit_is_refused() -> None:
    sent = state(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(LimitExceeded, match=r"continue_from\.anchor"):
        state_from_message(state_to_message(sent), Limits(max_plane_bytes=8 * 8 * 3))
