"""What a client can get wrong, one row each: the error names field, value and remedy, and others are undisturbed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import ServerFactory
from shots import FIRST_FRAME, HEIGHT, PROMPT, RANGE, WIDTH, check_frame, tick_of, ticks

import bridge
from bridge.codecs.msgpack_codec import decode_server_message, encode
from bridge.messages import (
    ClientMessage,
    ErrorMessage,
    Hello,
    Limits,
    Open,
    Opened,
    Plane,
    ServerMessage,
    TickMessage,
    Welcome,
)
from bridge.planes import image_to_plane, plane_from_array
from bridge.protocol.values import tick_to_message
from longvie_server.server import BridgeServer

LIMITS = Limits(max_message_bytes=2**30)


class Raw:
    """A ZeroMQ client without manners: it sends whatever it is told to."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.connect(endpoint)

    def send(self, message: ClientMessage) -> None:
        self.socket.send_multipart(encode(message))

    def receive(self, *kinds: type[ServerMessage]) -> Any:
        while self.socket.poll(20_000):
            message = decode_server_message(self.socket.recv_multipart(), LIMITS)
            if isinstance(message, kinds):
                return message
        raise AssertionError(f"no {kinds} came")

    def hello(self) -> Raw:
        self.send(Hello(1, 1))
        self.receive(Welcome)
        return self

    def open(self, **changes: Any) -> Opened:
        answer = self.ask(**changes)
        assert isinstance(answer, Opened), answer
        return answer

    def ask(self, **changes: Any) -> Opened | ErrorMessage:
        request = Open(
            key="0" * 32, prompt=PROMPT, first_frame=image_to_plane(FIRST_FRAME), track_mode="server", fit=""
        )
        self.send(replace(request, **{"key": np.random.default_rng().bytes(16).hex(), **changes}))
        answer: Opened | ErrorMessage = self.receive(Opened, ErrorMessage)
        return answer

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(linger=0)
        self._context.term()


@pytest.fixture
def raw(fake_server: BridgeServer) -> Any:
    with Raw(fake_server.zeromq_endpoint) as client:
        yield client


def check_error(error: ErrorMessage, *, field: str, words: str) -> None:
    assert field in error.field, error
    assert words in f"{error.problem} {error.value}", error
    assert len(error.remedy) > 10, error


Change = Callable[[TickMessage], TickMessage]


def with_depth(**changes: Any) -> Change:
    return lambda tick: replace(tick, depth=replace(tick.depth, **changes))


def with_pixel(value: float) -> Change:
    def change(tick: TickMessage) -> TickMessage:
        depth = np.frombuffer(tick.depth.data, np.float32).reshape(HEIGHT, WIDTH).copy()
        depth[3, 5] = value
        return replace(tick, depth=plane_from_array(depth))

    return change


BAD_TICKS: dict[str, tuple[Change, str, str]] = {
    "NaN depth": (with_pixel(float("nan")), "tick.depth", "row 3, column 5"),
    "negative depth": (with_pixel(-2.0), "tick.depth", "-2.0"),
    "wrong shape": (with_depth(shape=(WIDTH, HEIGHT)), "tick.depth", f"({WIDTH}, {HEIGHT})"),
    "wrong dtype": (with_depth(dtype="float64"), "tick.depth", "float64"),
    "a length that lies": (with_depth(data=b"123"), "tick.depth", "3 bytes"),
    "a size that lies": (
        lambda t: replace(t, width=10**6, height=10**6, depth=replace(t.depth, shape=(10**6, 10**5))),
        "depth",
        "",
    ),
    "unknown compression": (with_depth(compression="lzma"), "tick.depth.compression", "lzma"),
    "zstd that is none": (with_depth(compression="zstd"), "tick.depth", "zstd"),
    "an index left out": (lambda t: replace(t, index=5), "tick.index", "5"),
    "a mirrored camera": (lambda t: replace(t, pose=(-1.0, *t.pose[1:])), "pose", "mirrors"),
    "a camera with scale": (lambda t: replace(t, pose=(2.0, *t.pose[1:])), "pose", "orthonormal"),
    "half a pose": (lambda t: replace(t, pose=t.pose[:12]), "tick.pose", "12"),
    "no focal length": (lambda t: replace(t, fx_px=0.0), "fx_px", "0.0"),
    "unknown depth kind": (lambda t: replace(t, depth_kind="sonar"), "depth_kind", "sonar"),
    "another aspect": (
        lambda t: replace(t, width=80, height=80, depth=plane_from_array(np.ones((80, 80), np.float32))),
        "fit",
        "80 x 80",
    ),
}


@pytest.mark.parametrize("name", BAD_TICKS)
def test_bad_ticks(raw: Raw, name: str) -> None:
    change, field, words = BAD_TICKS[name]
    opened = raw.hello().open()
    raw.send(change(tick_to_message(tick_of(0), session=opened.session, seq=1)))
    error = raw.receive(ErrorMessage)
    check_error(error, field=field, words=words)
    assert error.session in (opened.session, "")
    assert error.fatal


BAD_OPENS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a first frame that is no image": (
        {"first_frame": Plane("uint8", (HEIGHT, WIDTH, 3), b"GIF89a?", "png")},
        "first_frame",
        "no PNG",
    ),
    "no first frame": ({"first_frame": None}, "first_frame", "missing"),
    "no prompt": ({"prompt": "  "}, "prompt", "empty"),
    "unknown track mode": ({"track_mode": "magic"}, "track_mode", "magic"),
    "unknown model": ({"model": "sora"}, "model", "sora"),
    "unknown fit": ({"fit": "shrink"}, "fit", "shrink"),
    "unknown encoding": ({"frame_encoding": "webp"}, "frame_encoding", "webp"),
    "other numerics": ({"numerics": {"device": "cuda"}}, "numerics", "cuda"),
    "negative seed": ({"seed": -1}, "seed", "-1"),
    "another aspect": (
        {"first_frame": image_to_plane(np.zeros((80, 80, 3), np.uint8))},
        "fit",
        "80 x 80",
    ),
    "a key that can be guessed": ({"key": "1234"}, "key", "1234"),
}


@pytest.mark.parametrize("name", BAD_OPENS)
def test_bad_opens(raw: Raw, name: str) -> None:
    changes, field, words = BAD_OPENS[name]
    error = raw.hello().ask(**changes)
    assert isinstance(error, ErrorMessage)
    check_error(error, field=field, words=words)


def test_a_missing_seed_set_names_its_tick(fake_server: BridgeServer) -> None:
    with bridge.connect(fake_server.zeromq_endpoint) as server:
        session = server.open(prompt=PROMPT, first_frame=FIRST_FRAME, tracks="engine")
        session.send(tick_of(0))
        with pytest.raises(bridge.UsageError, match=r"tick\.seeds: tick 0: tick 0 lacks it"):
            list(session.frames())


def test_more_ticks_than_were_granted(raw: Raw) -> None:
    opened = raw.hello().open(frame_credit=1)
    for index in range(opened.granted_ticks + 300):
        raw.send(tick_to_message(tick_of(index), session=opened.session, seq=index + 1))
    check_error(raw.receive(ErrorMessage), field="tick.index", words="granted")


def test_messages_out_of_number(raw: Raw) -> None:
    opened = raw.hello().open()
    raw.send(tick_to_message(tick_of(0), session=opened.session, seq=3))
    check_error(raw.receive(ErrorMessage), field="seq", words="expected message number 1")


def test_a_tick_that_is_repeated_is_taken_once(fake_server: BridgeServer, raw: Raw) -> None:
    opened = raw.hello().open()
    for seq in (1, 1, 1):
        raw.send(tick_to_message(tick_of(0), session=opened.session, seq=seq))
    raw.send(tick_to_message(tick_of(0), session=opened.session, seq=2))
    check_error(raw.receive(ErrorMessage), field="tick.index", words="expected tick 1")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([b"\xc1"], "header"),
        ([msgpack.packb([1, 2])], "header"),
        ([msgpack.packb({"type": "dance"})], "dance"),
        ([msgpack.packb({"type": "hello", "min_version": "one", "max_version": 1})], "min_version"),
        ([msgpack.packb({"type": "hello"})], "min_version"),
        ([b"", *[b"x"] * 40], "parts"),
        (
            [
                msgpack.packb(
                    {"type": "open", "key": "0" * 32, "first_frame": {"dtype": "uint8", "shape": [1], "part": 9}}
                )
            ],
            "part",
        ),
        ([msgpack.packb({"type": "tick", "session": "s"})], "seq"),
    ],
)
def test_messages_that_cannot_be_read(raw: Raw, parts: list[bytes], words: str) -> None:
    raw.socket.send_multipart(parts)
    error = raw.receive(ErrorMessage)
    assert words in f"{error.field} {error.problem} {error.value}", error
    assert error.fatal
    assert error.remedy


def test_before_hello(raw: Raw) -> None:
    raw.send(Open(key="0" * 32))
    check_error(raw.receive(ErrorMessage), field="type", words="before hello")


def test_wrong_version(raw: Raw) -> None:
    raw.send(Hello(7, 9))
    error = raw.receive(ErrorMessage)
    check_error(error, field="max_version", words="speaks versions 1 to 1")
    assert error.code == "peer.version"


@pytest.mark.parametrize("scheme", ["tcp", "grpc"])
def test_wrong_token(new_server: ServerFactory, scheme: str) -> None:
    server = new_server(listen={"token": "open sesame"})
    url = server.zeromq_endpoint if scheme == "tcp" else f"grpc://127.0.0.1:{server.grpc_port}"
    with pytest.raises(bridge.PeerError, match=r"token: is wrong.*Pass the server.s own: token="):
        bridge.connect(url, token="abracadabra", timeout_s=20)
    with pytest.raises(bridge.PeerError, match="token: is missing"):
        bridge.connect(url, timeout_s=20)
    with bridge.connect(url, token="open sesame", timeout_s=20) as client:
        assert client.models


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.binary(max_size=400), min_size=1, max_size=6))
def test_random_bytes_disturb_nobody(fake_server: BridgeServer, parts: list[bytes]) -> None:
    with Raw(fake_server.zeromq_endpoint) as client:
        client.socket.send_multipart(parts)
        assert client.receive(ErrorMessage).remedy


def test_others_go_on(fake_server: BridgeServer) -> None:
    """A session runs while others around it do everything wrong."""
    stop = threading.Event()

    def vandal() -> None:
        while not stop.is_set():
            with Raw(fake_server.zeromq_endpoint) as client:
                opened = client.hello().open()
                client.send(with_pixel(float("nan"))(tick_to_message(tick_of(0), session=opened.session, seq=1)))
                client.receive(ErrorMessage)

    thread = threading.Thread(target=vandal)
    thread.start()
    try:
        with (
            bridge.connect(fake_server.zeromq_endpoint) as server,
            server.open(prompt=PROMPT, first_frame=FIRST_FRAME, depth_range=RANGE) as session,
        ):
            for tick in ticks(161):
                session.send(tick)
            frames = list(session.frames())
    finally:
        stop.set()
        thread.join()
    assert [frame.index for frame in frames] == list(range(161))
    for frame in frames:
        check_frame(frame)


def test_a_client_that_never_reads_and_one_that_vanishes(new_server: ServerFactory) -> None:
    """It is paused after its credit; another session goes on; when it has vanished, it is dropped after its time."""
    server = new_server(session={"resume_ttl_s": 0.5})
    with Raw(server.zeromq_endpoint) as silent:
        opened = silent.hello().open(frame_credit=1, frame_encoding="raw")
        for index in range(opened.granted_ticks):
            silent.send(tick_to_message(tick_of(index), session=opened.session, seq=index + 1))
        with (
            bridge.connect(server.zeromq_endpoint) as client,
            client.open(prompt=PROMPT, first_frame=FIRST_FRAME, depth_range=RANGE) as session,
        ):
            for tick in ticks(161):
                session.send(tick)
            assert sum(1 for _ in session.frames()) == 161
        # One clip was begun on its one frame of credit, and none after it.
        assert server.metrics.frames._value.get() == 161 + 81
    deadline = threading.Event()
    for _ in range(100):
        if server.metrics.sessions._value.get() == 0:
            break
        deadline.wait(0.1)
    assert server.metrics.sessions._value.get() == 0


def test_client_side_mistakes_are_told_before_anything_is_sent(fake_server: BridgeServer) -> None:
    with bridge.connect(fake_server.zeromq_endpoint) as server:
        with pytest.raises(bridge.UsageError, match=r"first_frame: give exactly one"):
            server.open(prompt=PROMPT)
        with pytest.raises(bridge.UsageError, match=r"first_frame: is no image.*Give an RGB array"):
            server.open(prompt=PROMPT, first_frame="nowhere.png")
        with pytest.raises(bridge.UsageError, match=r"first_frame: must be \(height, width, 3\) uint8 RGB"):
            server.open(prompt=PROMPT, first_frame=np.zeros((4, 4), np.uint8))
        with pytest.raises(bridge.UsageError, match=r"prompt: holds half a character.*Send valid Unicode"):
            server.open(prompt="a \ud83d street", first_frame=FIRST_FRAME)
        with pytest.raises(bridge.UsageError, match=r"tracks: unknown \(got magic\)"):
            server.open(prompt=PROMPT, first_frame=FIRST_FRAME, tracks="magic")
    with pytest.raises(bridge.UsageError, match=r"url: cannot be read \(got gpu-box\)"):
        bridge.connect("gpu-box")
