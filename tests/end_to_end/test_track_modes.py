"""Three ways to follow the same points: what does not move looks the same in all, and everything in two of them."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.tick import CLIP_TICKS, DepthRange, TrackMode
from engine_plugins.builtin import BuiltinEngine, make_scene
from longvie_server.control.clip_geometry import ClipGeometry
from longvie_server.control.encode import encode_controls
from longvie_server.session.assembler import ClipAssembler
from longvie_server.session.clip_buffer import BufferPool
from longvie_server.session.reduce import TickReducer

HEIGHT, WIDTH = 88, 160
RANGE = DepthRange(near_m=2.0, far_m=float("inf"))


def first_clip(mode: TrackMode) -> tuple[ClipGeometry, np.ndarray]:
    engine = BuiltinEngine(make_scene("street", 3), width=WIDTH, height=HEIGHT, track_mode=mode)
    reducer = TickReducer(mode, height=HEIGHT, width=WIDTH, fit=None)
    assembler = ClipAssembler(reducer, BufferPool(HEIGHT, WIDTH), first_tick=0, shares_tick=False)
    under = np.zeros(0, np.uint32)
    for tick in engine.ticks(CLIP_TICKS):
        if tick.index == 0 and tick.seed_instances is not None:
            under = tick.seed_instances
        clip = assembler.tick(tick)
        if clip is not None:
            return clip.buffer.filled(), under
    raise AssertionError("81 ticks make a clip")


@pytest.fixture(scope="module")
def clips() -> dict[TrackMode, ClipGeometry]:
    return {mode: first_clip(mode)[0] for mode in TrackMode}


def test_engine_and_instances_agree_on_every_pixel(clips: dict[TrackMode, ClipGeometry]) -> None:
    engine, instances = (
        encode_controls(clips[mode], RANGE, height=HEIGHT, width=WIDTH)
        for mode in (TrackMode.ENGINE, TrackMode.INSTANCES)
    )
    np.testing.assert_array_equal(engine.dense, instances.dense)
    np.testing.assert_array_equal(engine.sparse, instances.sparse)


def test_all_three_agree_on_what_stands_still(clips: dict[TrackMode, ClipGeometry]) -> None:
    _, under = first_clip(TrackMode.INSTANCES)
    still = under == 0
    assert 0.5 < still.mean() < 1.0, "the shot shows both"

    def only_still(geometry: ClipGeometry) -> ClipGeometry:
        return ClipGeometry(geometry.depth_m, geometry.track_uv, geometry.track_depth_m, geometry.track_drawn & still)

    pixels = [encode_controls(only_still(clips[mode]), RANGE, height=HEIGHT, width=WIDTH).sparse for mode in TrackMode]
    np.testing.assert_array_equal(pixels[0], pixels[1])
    np.testing.assert_array_equal(pixels[0], pixels[2])
