"""What went in comes out, bit for bit and in its order."""

from __future__ import annotations

import json
import math
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recording_cases as cases
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridge.errors import InvalidValue, OutOfOrder, ShapeMismatch
from bridge.geometry.camera import Camera, Intrinsics
from bridge.geometry.depth import DepthDeclaration, DepthKind
from bridge.geometry.fit import Fit
from bridge.recording import CutEvent, Finish, PromptEvent, Recording, RecordingWriter, sidecar, topics
from bridge.tick import DepthRange, Frame, Tick, TrackMode, WorldState

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(1e-300, 1e300)
DEPTHS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(0, allow_nan=False, width=32)
)


@st.composite
def declarations(draw: st.DrawFn) -> DepthDeclaration:
    kind = draw(st.sampled_from([DepthKind.PLANAR, DepthKind.RADIAL]))
    return DepthDeclaration(
        kind=kind,
        metres_per_unit=draw(st.sampled_from([1.0, 0.01, 1 / 3])),
        near=draw(FINITE),
        far=draw(st.floats(allow_nan=False)),
        bottom_row_first=draw(st.booleans()),
        background=draw(st.none() | st.floats(allow_nan=False)),
    )


@st.composite
def ticks(draw: st.DrawFn) -> Tick:
    depth = draw(DEPTHS)
    height, width = depth.shape
    lens = Intrinsics(draw(POSITIVE), draw(POSITIVE), draw(FINITE), draw(FINITE), width, height)
    seed = draw(st.integers(0, 2**20))
    return Tick(
        index=draw(st.integers(0, 2**32 - 2)),
        camera=Camera(lens, cases.pose(seed)),
        depth=depth,
        time_ns=draw(st.integers(-(2**63), 2**63)),
        tracks=draw(st.sampled_from([None, cases.track_set(seed)])),
        seeds=draw(st.sampled_from([None, cases.track_set(seed + 1)])),
        instances=draw(st.sampled_from([None, cases.instances(seed, count=seed % 4)])),
        seed_instances=draw(st.none() | hnp.arrays(np.uint32, 2500, elements=st.integers(0, 2**32 - 1))),
        depth_declaration=draw(declarations()),
    )


@settings(max_examples=40, deadline=None)
@given(ticks())
def test_every_tick_comes_back_bit_for_bit(tick: Tick) -> None:
    # Focal lengths of 1e300 make radial depth 0 or NaN in the viewers' plane; the exact one must not care.
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        path = cases.write(Path(folder) / "a.mcap", [tick])
        (back,) = Recording.open(path).events()
    assert cases.key(back) == cases.key(tick)


def test_device_depth_comes_back_as_sent_and_is_shown_as_planar_metres(tmp_path: Path) -> None:
    declaration = DepthDeclaration(
        DepthKind.DEVICE, near=0.1, far=math.inf, reversed_z=True, bottom_row_first=True, metres_per_unit=2.0
    )
    tick = cases.tick(0, declaration=declaration)
    recording = Recording.open(cases.write(tmp_path / "a.mcap", [tick]))
    (back,) = recording.events()
    assert cases.key(back) == cases.key(tick)
    ((index, planar),) = recording.depths()
    # Reversed z with an infinite far plane: z = near / depth, rows from the bottom up.
    assert index == 0
    np.testing.assert_allclose(planar, 0.2 / tick.depth[::-1], rtol=1e-6)


def test_events_keep_their_order(tmp_path: Path) -> None:
    events = [
        PromptEvent(0, "before the first tick"),
        cases.tick(5, seeds=True),
        cases.tick(6),
        PromptEvent(80, "Nacht über\nder Stadt 🌃"),
        CutEvent(7, cases.image(3, height=3), remeasure=True),
        cases.tick(7, seeds=True),
        CutEvent(8, cases.image(4)),
        PromptEvent(8, ""),
        Finish(),
    ]
    recording = Recording.open(cases.write(tmp_path / "a.mcap", events))
    assert [cases.key(event) for event in recording.events()] == [cases.key(event) for event in events]
    assert [tick.index for tick in recording.ticks()] == [5, 6, 7]
    assert recording.tick_count == 3
    assert recording.notice is None


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text(),
    seed=st.integers(0, 2**63 - 1),
    mode=st.sampled_from(TrackMode),
    near=st.none() | st.floats(1e-30, 1e30),
    fit=st.none() | st.sampled_from(Fit),
    negative=st.none() | st.text(),
    numerics=st.dictionaries(st.text(), st.text(), max_size=3),
)
def test_headers_come_back(
    prompt: str,
    seed: int,
    mode: TrackMode,
    near: float | None,
    fit: Fit | None,
    negative: str | None,
    numerics: dict[str, str],
) -> None:
    header = cases.header(
        prompt=prompt,
        seed=seed,
        track_mode=mode,
        depth_range=None if near is None else DepthRange(near, math.inf),
        fit=fit,
        negative_prompt=negative,
        fps=24,
        numerics=numerics,
    )
    with tempfile.TemporaryDirectory() as folder:
        back = Recording.open(cases.write(Path(folder) / "a.mcap", [], opened=header)).header
    for name in (
        "prompt",
        "seed",
        "model",
        "track_mode",
        "depth_range",
        "fit",
        "negative_prompt",
        "fps",
        "numerics",
    ):
        assert getattr(back, name) == getattr(header, name)
    np.testing.assert_array_equal(back.first_frame, header.first_frame)


def test_frames_references_and_states_come_back(tmp_path: Path) -> None:
    state = WorldState(
        model="tiny",
        clip=3,
        next_tick=240,
        shares_tick=True,
        seed=2**63 - 1,
        prompt="rain",
        frames=np.stack([cases.image(i) for i in range(8)]),
        negative_prompt="blur",
        depth_range=DepthRange(0.1, 33.3),
    )
    cut = state.after_cut(at_tick=0, first_frame=cases.image(9))
    anchored = replace(state, anchor=np.dstack((cases.image(10), cases.image(11)[..., 0])))
    frames = [Frame(i, cases.image(20 + i), time_ns=2**60 + i, clip=i // 2) for i in (0, 1, 4)]
    with RecordingWriter(tmp_path / "a.mcap", header=cases.header()) as writer:
        for frame in frames:
            writer.write_frame(frame)
            writer.write_reference(frame.index + 7, cases.image(40 + frame.index, height=3))
        for each in (state, anchored, cut):
            writer.write_state(each)
    recording = Recording.open(tmp_path / "a.mcap")
    back = list(recording.frames())
    assert [(f.index, f.time_ns, f.clip) for f in back] == [(f.index, f.time_ns, f.clip) for f in frames]
    assert [f.image.tobytes() for f in back] == [f.image.tobytes() for f in frames]
    assert [index for index, _ in recording.references()] == [7, 8, 11]
    np.testing.assert_array_equal(next(recording.references())[1], cases.image(40, height=3))
    states = list(recording.states())
    for got, want in zip(states, (state, anchored, cut), strict=True):
        np.testing.assert_array_equal(got.frames, want.frames)
        np.testing.assert_array_equal(got.anchor, want.anchor)
        for name in ("model", "clip", "next_tick", "shares_tick", "seed", "prompt", "negative_prompt", "depth_range"):
            assert getattr(got, name) == getattr(want, name)
    assert (recording.tick_count, recording.frame_count) == (0, 3)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_anchor_comes_back_byte_for_byte(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    count = data.draw(st.sampled_from((1, 8)))
    frames = data.draw(hnp.arrays(np.uint8, (count, *size, 3)))
    anchors = data.draw(st.lists(st.none() | hnp.arrays(np.uint8, (*size, 4)), max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        with RecordingWriter(Path(folder) / "a.mcap", header=cases.header()) as writer:
            for anchor in anchors:
                writer.write_state(WorldState("tiny", 1, 80, True, 7, "rain", frames, anchor=anchor))
        back = [state.anchor for state in Recording.open(Path(folder) / "a.mcap").states()]
    assert [a is None for a in back] == [a is None for a in anchors]
    for got, want in zip(back, anchors, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_recording_of_before_there_were_anchors_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = sidecar.state_line

    def older(state: WorldState) -> bytes:
        line = json.loads(written(state))
        del line["anchor"]
        return json.dumps(line).encode()

    monkeypatch.setattr(sidecar, "state_line", older)
    monkeypatch.delitem(topics.TOPICS, topics.STATE_ANCHOR)
    state = WorldState("tiny", 1, 80, True, 7, "rain", np.stack([cases.image(i) for i in range(8)]))
    with RecordingWriter(tmp_path / "a.mcap", header=cases.header()) as writer:
        writer.write_state(state)
    monkeypatch.undo()
    (back,) = Recording.open(tmp_path / "a.mcap").states()
    assert back.anchor is None
    np.testing.assert_array_equal(back.frames, state.frames)


def test_depths_are_those_of_the_ticks(tmp_path: Path) -> None:
    ticks = [cases.tick(i) for i in range(3, 9)]
    recording = Recording.open(cases.write(tmp_path / "a.mcap", ticks))
    got = list(recording.depths())
    assert [index for index, _ in got] == [3, 4, 5, 6, 7, 8]
    for (_, depth), tick in zip(got, ticks, strict=True):
        np.testing.assert_array_equal(depth, tick.depth)


def test_the_same_session_gives_the_same_bytes(tmp_path: Path) -> None:
    events = [cases.tick(0, seeds=True), PromptEvent(1, "x"), Finish()]
    one, two = (cases.write(tmp_path / name, events).read_bytes() for name in ("a.mcap", "b.mcap"))
    assert one == two


def test_without_compression_the_values_are_the_same(tmp_path: Path) -> None:
    path = cases.write(tmp_path / "a.mcap", [cases.tick(0)], compress=False)
    assert cases.tick(0).depth.tobytes() in path.read_bytes()
    (back,) = Recording.open(path).events()
    assert cases.key(back) == cases.key(cases.tick(0))


def test_a_recording_is_read_one_chunk_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.recording import chunks

    ticks = [cases.tick(i, height=300, width=300, tracks=False) for i in range(12)]
    path = cases.write(tmp_path / "a.mcap", ticks)
    recording = Recording.open(path)
    opened = []
    whole = chunks.breakup_chunk

    def counted(*args: object, **kwargs: object) -> object:
        opened.append(1)
        return whole(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(chunks, "breakup_chunk", counted)
    events = recording.events()
    next(events)
    # 360 kB a tick: the first 1 MiB chunk holds three, and the header lies in one of its own.
    assert len(opened) == 1
    assert len(list(events)) == 11
    assert len(opened) >= 4
    opened.clear()
    assert list(recording.frames()) == []
    assert opened == []


def test_two_threads_may_write(tmp_path: Path) -> None:
    frames = [Frame(i, cases.image(i)) for i in range(30)]
    with RecordingWriter(tmp_path / "a.mcap", header=cases.header()) as writer:
        other = threading.Thread(target=lambda: [writer.write_frame(frame) for frame in frames])
        other.start()
        for i in range(30):
            writer.write_tick(cases.tick(i))
        other.join()
    recording = Recording.open(tmp_path / "a.mcap")
    assert [cases.key(t) for t in recording.ticks()] == [cases.key(cases.tick(i)) for i in range(30)]
    assert [frame.image.tobytes() for frame in recording.frames()] == [frame.image.tobytes() for frame in frames]


def test_ticks_and_frames_are_taken_once_and_in_order(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap", header=cases.header())
    with writer:
        writer.write_tick(cases.tick(3))
        writer.write_frame(Frame(5, cases.image(0)))
        for index in (3, 2, 5):
            with pytest.raises(OutOfOrder, match="tick 4 is next"):
                writer.write_tick(cases.tick(index))
        with pytest.raises(OutOfOrder, match="frame 5"):
            writer.write_frame(Frame(5, cases.image(0)))
    with pytest.raises(OutOfOrder, match="closed"):
        writer.write_tick(cases.tick(4))
    writer.close()
    recording = Recording.open(tmp_path / "a.mcap")
    assert (recording.tick_count, recording.frame_count) == (1, 1)


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = cases.write(tmp_path / "a.mcap", [cases.tick(0)])
    before = path.read_bytes()
    with pytest.raises(InvalidValue, match=r"a\.mcap.*overwrite=True"):
        RecordingWriter(path, header=cases.header())
    assert path.read_bytes() == before
    RecordingWriter(path, header=cases.header(), overwrite=True).close()
    assert Recording.open(path).tick_count == 0
    with pytest.raises(InvalidValue, match="Make its folder first"):
        RecordingWriter(tmp_path / "no" / "a.mcap", header=cases.header())


def test_an_error_inside_the_block_still_closes_the_file(tmp_path: Path) -> None:
    def events() -> Iterator[Tick]:
        yield cases.tick(0)
        raise RuntimeError("engine")

    with pytest.raises(RuntimeError, match="engine"):
        cases.write(tmp_path / "a.mcap", events())
    recording = Recording.open(tmp_path / "a.mcap")
    assert recording.notice is None
    assert recording.tick_count == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"seed": -1}, InvalidValue),
        ({"seed": 2**63}, InvalidValue),
        ({"fps": 0}, InvalidValue),
        ({"fit": "squash"}, InvalidValue),
        ({"prompt": "half \ud83d"}, InvalidValue),
        ({"first_frame": np.zeros((4, 4), np.uint8)}, ShapeMismatch),
        ({"first_frame": np.zeros((4, 4, 3), np.float32)}, ShapeMismatch),
    ],
)
def test_bad_headers_name_their_field(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(change))):
        cases.header(**change)


def test_bad_events_name_their_field() -> None:
    with pytest.raises(InvalidValue, match=r"prompt\.from_tick"):
        PromptEvent(-1, "x")
    with pytest.raises(InvalidValue, match=r"cut\.at_tick"):
        CutEvent(-1, cases.image(0))
    with pytest.raises(ShapeMismatch, match=r"cut\.first_frame"):
        CutEvent(0, np.zeros((4, 4, 4), np.uint8))
