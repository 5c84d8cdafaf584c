"""Files that are cut off, damaged, or somebody else's."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import recording_cases as cases
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from bridge.errors import InvalidValue, UsageError
from bridge.recording import CutEvent, Event, Finish, PromptEvent, Recording, RecordingWriter
from bridge.recording.chunks import ChunkFile
from bridge.tick import WorldState

KILLED_WRITER = """
import os, sys
import recording_cases as cases
from pathlib import Path
from bridge.recording import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]), header=cases.header())
for i in range(int(sys.argv[2])):
    writer.write_tick(cases.tick(i, height=200, width=300, tracks=False))
if sys.argv[3] == "state":
    import numpy as np
    from bridge.tick import WorldState
    writer.write_state(WorldState("fake", 1, 80, True, 7, "x", np.stack([cases.image(i) for i in range(8)])))
os._exit(9)
"""


def _kill_a_writer(path: Path, *, ticks: int, state: bool = False) -> None:
    here = Path(__file__).parent
    root = here.parents[2]
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {str(here)!r}]\n" + KILLED_WRITER
    done = subprocess.run([sys.executable, "-c", code, str(path), str(ticks), "state" if state else ""], check=False)
    assert done.returncode == 9


def _events() -> list[Event]:
    return [
        cases.tick(0, seeds=True),
        *(cases.tick(i) for i in range(1, 30)),
        PromptEvent(80, "snow"),
        CutEvent(30, cases.image(3)),
        *(cases.tick(i) for i in range(30, 60)),
        Finish(),
    ]


@cache
def _whole() -> tuple[bytes, list[object]]:
    events = _events()
    with tempfile.TemporaryDirectory() as folder:
        return cases.write(Path(folder) / "a.mcap", events).read_bytes(), [cases.key(event) for event in events]


@cache
def _header_end() -> int:
    """Return where the first chunk ends: before that, there is no session in the file."""
    whole, _ = _whole()
    at = 8
    while whole[at] != 0x06:
        at += 9 + int.from_bytes(whole[at + 1 : at + 9], "little")
    return at + 9 + int.from_bytes(whole[at + 1 : at + 9], "little")


def test_a_killed_writer_leaves_what_it_had_chunks_for(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    _kill_a_writer(path, ticks=20)
    recording = Recording.open(path)
    ticks = list(recording.ticks())
    # 240 kB of noise per tick: a chunk closes with every fifth, so at most five of twenty are lost.
    assert 15 <= len(ticks) <= 19
    assert recording.tick_count == len(ticks)
    for i, tick in enumerate(ticks):
        assert cases.key(tick) == cases.key(cases.tick(i, height=200, width=300, tracks=False))
    assert [index for index, _ in recording.depths()] == list(range(len(ticks)))
    assert recording.notice is not None
    assert "was not closed" in recording.notice
    assert f"{len(ticks)} ticks and 0 frames were recovered" in recording.notice


def test_a_writer_that_is_killed_at_once_leaves_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    _kill_a_writer(path, ticks=0)
    recording = Recording.open(path)
    assert recording.header.prompt == "a town"
    assert list(recording.events()) == []
    assert recording.notice is not None


def test_a_state_and_all_before_it_survive(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    _kill_a_writer(path, ticks=7, state=True)
    recording = Recording.open(path)
    assert recording.tick_count == 7
    (state,) = recording.states()
    assert state.frames.shape == (8, 6, 10, 3)
    assert state.anchor is None


def test_a_missing_image_of_an_anchor_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A file from which another tool has filtered the second one.
    original = RecordingWriter._write

    def without_grey(self: RecordingWriter, index: int, *messages: object, **options: object) -> None:
        kept = [message for message in messages if (message[0], index) != ("/world_state/anchor", 1)]  # type: ignore[index]
        original(self, index, *kept, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordingWriter, "_write", without_grey)
    frames = np.stack([cases.image(i) for i in range(8)])
    anchor = np.zeros((6, 10, 4), np.uint8)
    with RecordingWriter(tmp_path / "a.mcap", header=cases.header()) as writer:
        writer.write_state(WorldState("fake", 1, 80, True, 7, "x", frames, anchor=anchor))
    with pytest.raises(InvalidValue, match=r"/world_state, tick 80: 2 images of its anchor belong to it, 1 are there"):
        list(Recording.open(tmp_path / "a.mcap").states())


def test_a_file_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.mcap", header=cases.header()) as writer:
        writer.write_tick(cases.tick(0))
        writer.write_finish()
        recording = Recording.open(tmp_path / "a.mcap")
        assert recording.tick_count == 1
        assert recording.notice is not None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_gives_a_true_beginning_or_a_clear_error(data: st.DataObject) -> None:
    whole, keys = _whole()
    length = data.draw(st.integers(0, len(whole) - 1) | st.integers(len(whole) - 4000, len(whole) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.mcap"
        path.write_bytes(whole[:length])
        if length < _header_end():
            with pytest.raises(InvalidValue, match=r"cut\.mcap.*\. \w+"):
                Recording.open(path)
            return
        recording = Recording.open(path)
        got = [cases.key(event) for event in recording.events()]
        assert got == keys[: len(got)]
        assert recording.notice is not None
        assert f"{recording.tick_count} ticks" in recording.notice


def test_cutting_off_the_footer_alone_loses_nothing(tmp_path: Path) -> None:
    whole, keys = _whole()
    path = tmp_path / "a.mcap"
    path.write_bytes(whole[:-9])
    recording = Recording.open(path)
    assert [cases.key(event) for event in recording.events()] == keys
    assert recording.notice is not None


def test_a_file_cut_inside_its_summary_loses_nothing(tmp_path: Path) -> None:
    # The summary repeats the channels: one that ends among them must not hide those that it did not reach.
    whole, keys = _whole()
    path = tmp_path / "a.mcap"
    for length in range(len(whole) - 1600, len(whole), 97):
        path.write_bytes(whole[:length])
        recording = Recording.open(path)
        assert recording.tick_count == 60
        assert [cases.key(event) for event in recording.events()] == keys


def test_a_tail_of_zeros_is_lost_and_nothing_else(tmp_path: Path) -> None:
    # What a file system may leave after the power went: the length is there, the last pages are not.
    whole, keys = _whole()
    cut = int(len(whole) * 0.9)
    path = tmp_path / "a.mcap"
    path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
    recording = Recording.open(path)
    got = [cases.key(event) for event in recording.events()]
    assert got == keys[: len(got)]
    assert len(got) >= 30
    assert recording.notice is not None


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_changed_byte_never_gives_another_value(data: st.DataObject) -> None:
    whole, keys = _whole()
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(len(whole) - 8000, len(whole) - 1))
    value = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bad.mcap"
        path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
        got = []
        # Any other error than this one fails the test.
        with contextlib.suppress(InvalidValue):
            for event in Recording.open(path).events():
                got.append(cases.key(event))
        assert [key for key in keys if key in got] == got


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_refused(noise: bytes, magic: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.mcap"
        path.write_bytes((bytes((137, 77, 67, 65, 80, 48, 13, 10)) if magic else b"") + noise)
        with pytest.raises(InvalidValue, match=r"noise\.mcap"):
            Recording.open(path)


def test_a_file_that_is_no_mcap_says_so(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\x00\x00\x00\x20ftypisom" * 20)
    with pytest.raises(InvalidValue, match=r"no MCAP file \(got .*video\.mp4\)\. Give a recording"):
        Recording.open(path)
    with pytest.raises(InvalidValue, match=r"No such file.*missing\.mcap"):
        Recording.open(tmp_path / "missing.mcap")


def _foreign(path: Path, *, chunking: bool = True, topic: str = "/tf") -> None:
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE, use_chunking=chunking)
        writer.start()
        schema = writer.register_schema("tf2_msgs/TFMessage", "ros1msg", b"")
        channel = writer.register_channel(topic, "ros1", schema)
        writer.add_message(channel, 0, b"data", 0)
        writer.finish()


def test_another_programs_file_is_told_by_its_topics(tmp_path: Path) -> None:
    _foreign(tmp_path / "a.mcap")
    with pytest.raises(InvalidValue, match=r"another program.*/session channel, but /tf.*a\.mcap"):
        Recording.open(tmp_path / "a.mcap")
    # The same name with another schema is not ours either.
    _foreign(tmp_path / "b.mcap", topic="/session")
    with pytest.raises(InvalidValue, match=r"another program"):
        Recording.open(tmp_path / "b.mcap")
    _foreign(tmp_path / "c.mcap", chunking=False)
    with pytest.raises(InvalidValue, match="outside chunks"):
        Recording.open(tmp_path / "c.mcap")


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.recording import sidecar

    monkeypatch.setattr(sidecar, "FORMAT", 2)
    path = cases.write(tmp_path / "a.mcap", [])
    with pytest.raises(InvalidValue, match=r"format 2.*up to 1.*--upgrade longvie-bridge"):
        Recording.open(path)


def test_a_chunk_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    import struct

    path = cases.write(tmp_path / "a.mcap", [cases.tick(0)])
    data = bytearray(path.read_bytes())
    at = data.index(b"\x04\x00\x00\x00zstd") - 12
    struct.pack_into("<Q", data, at, 3)
    path.write_bytes(data)
    with pytest.raises(InvalidValue, match="more than it declares"):
        Recording.open(path)


def test_a_file_without_indexes_is_read_all_the_same(tmp_path: Path) -> None:
    # What `mcap recover` and stream writers leave: chunks alone.
    whole, keys = _whole()
    path = tmp_path / "a.mcap"
    out = bytearray(whole[:8])
    at = 8
    while at < len(whole) - 8:
        opcode, length = whole[at], int.from_bytes(whole[at + 1 : at + 9], "little")
        if opcode in (0x01, 0x06, 0x0F):  # header, chunk, data end
            out += whole[at : at + 9 + length]
        at += 9 + length
    footer = bytes([0x02]) + (20).to_bytes(8, "little") + bytes(20)
    path.write_bytes(bytes(out) + footer + whole[:8])
    recording = Recording.open(path)
    assert recording.notice is None
    assert recording.tick_count == 60
    assert [cases.key(event) for event in recording.events()] == keys
    assert ChunkFile(path).count("/prompt") == 1


def test_a_missing_part_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A file from which another tool has filtered /tracks.
    original = RecordingWriter._write

    def without_tracks(self: RecordingWriter, index: int, *messages: object, **options: object) -> None:
        kept = [message for message in messages if message[0] != "/tracks"]  # type: ignore[index]
        original(self, index, *kept, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordingWriter, "_write", without_tracks)
    path = cases.write(tmp_path / "a.mcap", [cases.tick(4)])
    with pytest.raises(InvalidValue, match=r"/tick, tick 4: .*missing"):
        list(Recording.open(path).events())


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    for name in [name for name in sys.modules if name.split(".")[0] == "mcap" or name.startswith("bridge.recording")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcap", None)
    with pytest.raises(UsageError, match=r"pip install longvie-bridge\[recording\]"):
        importlib.import_module("bridge.recording")
