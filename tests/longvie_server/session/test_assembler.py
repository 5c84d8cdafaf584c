"""Ticks to clips, checked against the rule itself, for any stream and any cuts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shots import tick_of

from bridge.errors import OutOfOrder
from bridge.messages import Plane
from bridge.tick import CLIP_STRIDE, CLIP_TICKS, TrackMode
from longvie_server.session.assembler import ClipAssembler, CutFrame, PlannedClip
from longvie_server.session.clip_buffer import BufferPool
from longvie_server.session.reduce import TickReducer

HEIGHT, WIDTH = 6, 10
CUT = CutFrame(Plane("uint8", (0, 0, 3), b""), remeasure=False)


def assembler(*, first_tick: int = 0, shares_tick: bool = False) -> ClipAssembler:
    reducer = TickReducer(TrackMode.SERVER, height=HEIGHT, width=WIDTH, fit=None)
    return ClipAssembler(reducer, BufferPool(HEIGHT, WIDTH), first_tick=first_tick, shares_tick=shares_tick)


def run(count: int, cuts: set[int], **options: int) -> list[PlannedClip]:
    made = assembler(**options)  # type: ignore[arg-type]
    first = options.get("first_tick", 0)
    clips = []
    for index in range(first, first + count):
        if index in cuts:
            made.cut(index, CUT)
        clips.append(made.tick(tick_of(index, height=HEIGHT, width=WIDTH)))
    clips.append(made.end())
    return [clip for clip in clips if clip is not None]


def delivered(clips: list[PlannedClip]) -> list[int]:
    """Indices of the frames that a session sends for these clips."""
    return [i for clip in clips for i in range(clip.start + int(clip.shares_tick), clip.last + 1)]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 260), cuts=st.sets(st.integers(1, 259), max_size=5), first=st.sampled_from([0, 17]))
def test_each_tick_is_delivered_once(count: int, cuts: set[int], first: int) -> None:
    cuts = {first + cut for cut in cuts if cut < count}
    clips = run(count, cuts, first_tick=first)
    assert delivered(clips) == list(range(first, first + count))
    for clip, after in itertools.pairwise(clips):
        if after.shares_tick:
            assert after.start == clip.start + CLIP_STRIDE == clip.last
            assert after.cut is None
        else:
            assert after.start == clip.last + 1
            assert after.start in cuts
    for clip in clips:
        assert (clip.start in cuts) == (clip.cut is not None)
        assert 1 <= len(clip.times_ns) <= CLIP_TICKS


def test_a_short_clip_holds_its_last_tick() -> None:
    (clip,) = run(3, set())
    depth = clip.buffer.filled().depth_m
    np.testing.assert_array_equal(depth[2], tick_of(2, height=HEIGHT, width=WIDTH).depth)
    for held in depth[3:]:
        np.testing.assert_array_equal(held, depth[2])


def test_81_ticks_are_one_clip_and_the_shared_tick_alone_is_none() -> None:
    assert [(c.start, c.last) for c in run(81, set())] == [(0, 80)]
    assert [(c.start, c.last, c.shares_tick) for c in run(82, set())] == [(0, 80, False), (80, 81, True)]


def test_a_continued_session_does_not_deliver_its_first_tick() -> None:
    clips = run(5, set(), first_tick=80, shares_tick=True)
    assert delivered(clips) == [81, 82, 83, 84]
    assert run(1, set(), first_tick=80, shares_tick=True) == []


def test_a_cut_right_after_a_full_clip() -> None:
    clips = run(90, {81})
    assert [(c.start, c.last, c.shares_tick) for c in clips] == [(0, 80, False), (81, 89, False)]


def test_a_cut_that_comes_too_late() -> None:
    made = assembler()
    made.tick(tick_of(0, height=HEIGHT, width=WIDTH))
    with pytest.raises(OutOfOrder, match="Announce a cut before you send its tick"):
        made.cut(0, CUT)
