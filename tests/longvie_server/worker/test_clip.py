"""One clip in this process: what is painted, which seconds count for which stage, and when it is stopped."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
from worker_cases import HEIGHT, WIDTH, expected_frames, make_job

from bridge.errors import InvalidValue, WorldModelFailed
from bridge.tick import DepthRange, WorldState
from longvie_server.control.dense import measure_depth_range
from longvie_server.worker import ClipEvent, ClipJob, Painted, Progress, make_clip
from longvie_server.world_model.fake import FakeWorldModel
from longvie_server.world_model.interface import ControlClip, ModelSpec, StepEvent, StepFrames, StepProgress


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Slow:
    """Takes 1 s to encode, 2 s per denoising step, 4 s per piece of decoding."""

    def __init__(self, clock: Clock, frames: tuple[int, ...] = (1, 80)) -> None:
        self.clock = clock
        self.frames = frames
        self.states: list[WorldState] = []
        self.closed = False

    @property
    def spec(self) -> ModelSpec:
        return FakeWorldModel(HEIGHT, WIDTH).spec

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        self.states.append(state)
        try:
            yield StepProgress("encode", 0, 1)
            self.clock.now_s += 1
            yield StepProgress("denoise", 0, 2)
            for step in (1, 2):
                self.clock.now_s += 2
                yield StepProgress("denoise", step, 2)
            for count in self.frames:
                self.clock.now_s += 4
                yield StepFrames(np.zeros((count, HEIGHT, WIDTH, 3), np.uint8))
            return state
        finally:
            self.closed = True


def test_seconds_count_for_the_stage_that_they_led_to_without_the_callers_own() -> None:
    clock = Clock()
    events: list[ClipEvent] = []

    def listen() -> Generator[ClipEvent, None, None]:
        timings = yield from make_clip(Slow(clock), make_job(), clock=clock)
        told.update(timings)

    told: dict[str, float] = {}
    for event in listen():
        events.append(event)
        clock.now_s += 10
    assert told == {
        "control": 0.0,
        "encode": 1.0,
        "denoise": 4.0,
        "decode": 8.0,
        "total": 13.0 + 10 * len(events),
    }
    assert events[0] == Progress(1, "control", 0, 1)
    assert isinstance(events[1], Painted)
    assert events[2] == Progress(1, "control", 1, 1)


def test_held_ticks_do_not_count_for_the_depth_range() -> None:
    job = make_job()
    job.geometry.depth_m[40:] = 500.0
    model = Slow(Clock())
    painted = next(event for event in make_clip(model, replace(job, measure_ticks=40)) if isinstance(event, Painted))
    assert painted.depth_range == measure_depth_range(job.geometry.depth_m[:40])
    assert painted.depth_range.far_m < 30
    # Half of the lowest and the highest tenth: what a measured range leaves outside.
    assert 0.05 < painted.saturated_fraction <= 0.1
    everything = next(event for event in make_clip(model, job) if isinstance(event, Painted))
    assert everything.depth_range.far_m == pytest.approx(500.0, rel=1e-6)


def test_the_model_gets_the_range_and_a_declared_one_is_kept() -> None:
    model = Slow(Clock())
    job = make_job()
    painted = [event for event in make_clip(model, job) if isinstance(event, Painted)]
    assert model.states[0].depth_range == painted[0].depth_range is not None
    assert (model.states[0].prompt, model.states[0].seed) == (job.state.prompt, job.state.seed)
    declared = replace(job, state=replace(job.state, depth_range=DepthRange(2.0, 4.0)))
    (painted_again,) = [event for event in make_clip(model, declared) if isinstance(event, Painted)]
    assert painted_again.depth_range == model.states[1].depth_range == DepthRange(2.0, 4.0)
    assert painted_again.saturated_fraction > 0.8
    # So much is outside that the range that would fit is told as well.
    assert painted[0].fitting_range is None
    assert painted_again.fitting_range == painted[0].depth_range


def test_the_fake_in_this_process_makes_the_same_pixels() -> None:
    job = make_job()
    events = make_clip(FakeWorldModel(HEIGHT, WIDTH), job)
    frames = np.concatenate([event.frames for event in events if isinstance(event, StepFrames)])
    assert np.array_equal(frames, expected_frames(job))


@pytest.mark.parametrize("counts", [(80,), (1, 81), ()])
def test_a_model_that_gives_another_number_of_frames_is_told_so(counts: tuple[int, ...]) -> None:
    with pytest.raises(WorldModelFailed) as caught:
        list(make_clip(Slow(Clock(), frames=counts), make_job()))
    assert caught.value.value == str(sum(counts))


def test_closing_stops_the_model() -> None:
    model = Slow(Clock())
    clip = make_clip(model, make_job())
    for event in clip:
        if isinstance(event, Progress) and event.stage == "denoise":
            break
    assert not model.closed
    clip.close()
    assert model.closed


@pytest.mark.parametrize("ticks", [0, 82])
def test_measured_ticks_are_of_the_clip(ticks: int) -> None:
    job = make_job()
    with pytest.raises(InvalidValue, match="measure_ticks"):
        ClipJob(1, job.state, job.geometry, ticks)
